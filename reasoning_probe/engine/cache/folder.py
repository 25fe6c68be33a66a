"""The folder of the outcome store: marked, written by its user alone, on a file system that has locks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from reasoning_probe.utils.ownership import writable_by_others
from reasoning_probe.utils.regular_files import IrregularFileError, check_regular, open_regular

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)
"""The errors of a file system that has no locks."""


JOURNAL = "-journal"
"""How the name of a rollback journal ends."""

_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""What a rollback journal begins with, and the name of a super-journal at its end ends with."""


def make_folder(folder: Path) -> None:
    """Create the cache *folder*, marked so that git and backups skip it. Raises ``OSError``."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    folder.chmod(folder.stat().st_mode & ~0o022)  # whatever the umask is: nobody else stores answers here
    (folder / ".gitignore").write_text("# made by reasoning-probe\n*\n", encoding="utf-8")
    tag = "Signature: 8a477f597d28d172789f06886806bc55\n# made by reasoning-probe, see https://bford.info/cachedir/\n"
    (folder / "CACHEDIR.TAG").write_text(tag, encoding="utf-8")


def check_private(path: Path) -> None:
    """Raise ``OSError``, one line, if another user may write the store *path*, its log or its folder, or for a link."""
    check_files(path)
    for each in (path.parent, *_files(path)):
        if each.exists() and writable_by_others(each):
            raise PermissionError(
                f"another user may write {each}: chmod go-w it, make it your own, or name another folder with"
                " --probe-cache"
            )


def _files(path: Path) -> list[Path]:
    """Return the files that SQLite may open for the store *path*."""
    return [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm", JOURNAL)]


def check_files(path: Path) -> None:
    """Raise ``OSError``, one line, if a link, a pipe or a device lies in place of a file of the store *path*.

    It would be written elsewhere, or waited for.
    """
    for file in filter(os.path.lexists, _files(path)):
        if file.is_symlink():
            raise OSError(errno.ELOOP, "it is a link, which is not followed: name another folder with --probe-cache")
        try:
            check_regular(os.lstat(file).st_mode, file)
        except FileNotFoundError:  # another session has just closed the store
            continue


def names_another_journal(path: Path) -> bool:
    """Tell whether a rollback journal beside the store *path* names a super-journal, as one that was prepared may.

    SQLite would delete that file, whatever it is, when it opens the store. A journal of ours, which lies there while a
    store is made, names none: its last record would end in these bytes (https://www.sqlite.org/fileformat.html).
    """
    try:
        with open_regular(path.with_name(path.name + JOURNAL)) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_MAGIC)))
            return file.read() == _MAGIC
    except FileNotFoundError:
        return False


def check_locks(folder: Path) -> None:
    """Raise ``OSError`` if the file system of *folder* has no locks, for which SQLite would wait in vain.

    Some network file systems have none. The file that is locked is not the store's: closing it would release the locks
    of another connection to the store in this process.
    """
    try:
        import fcntl
    except ImportError:  # Windows has other locks, which every file system has
        return
    try:
        with open_regular(folder / "CACHEDIR.TAG") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_UN)
    except (FileNotFoundError, IsADirectoryError, IrregularFileError, PermissionError, BlockingIOError):
        return  # what SQLite makes of its own file counts
    except OSError as error:
        if error.errno in NO_LOCKS:
            reason = f"its file system has no locks ({error.strerror}): name a local folder"
            raise OSError(error.errno, reason) from None
