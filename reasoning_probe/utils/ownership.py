"""Who may write a file: whether it can hold what another user of the machine put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def writable_by_others(path: Path) -> bool:
    """Tell whether another user than this one and root may write *path*, as far as its owner and mode say.

    A group that has nobody but its user in it, as many systems make for each, is no other user. Where files have no
    owner and mode of this kind, as on Windows, the answer is no. Raises ``OSError`` for a path that is not there.
    """
    if not hasattr(os, "geteuid"):
        return False
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status.st_gid, status.st_uid)


def _is_private_group(group: int, user: int) -> bool:
    """Tell whether *group* is the one of *user* alone: of the same name, without other members."""
    import grp
    import pwd

    try:
        owner, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(members.gr_mem) <= {owner.pw_name}
    return owner.pw_gid == group and members.gr_name == owner.pw_name and alone
