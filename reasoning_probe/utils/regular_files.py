"""Regular files: the only ones that are read, since a pipe or a device may never end and a socket never begin."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class IrregularFileError(OSError):
    """A pipe, a device or a socket in place of a file; ``strerror`` says which."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open the file *path* for reading bytes, without waiting for anybody to write it.

    The descriptor is looked at, not the path, which may be another file by the time it is opened. Raises ``OSError``:
    ``IsADirectoryError`` for a folder, :class:`IrregularFileError` for anything else that is no file. A name with a NUL
    or half of a surrogate pair, which no system takes, is an ``OSError``, too.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError:
        raise OSError(errno.EINVAL, "no file has such a name", os.fspath(path)) from None
    try:
        check_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(mode: int, path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` as :func:`open_regular` does if *mode*, the ``st_mode`` of *path*, is not that of a file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise IrregularFileError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of the file *path*, at most *most* + 1 bytes of it, so that a longer one is noticed.

    Raises ``OSError``.
    """
    with open_regular(path) as file:
        return file.read(most + 1)


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of the file *path*. Raises ``OSError``."""
    with open_regular(path) as file:
        return file.read()


def memory_for_a_file() -> int:
    """Return how many bytes a file may have that is read as a whole: a third of the machine's memory.

    What is made of its content takes as much again. Without a figure of the system it is 4 GB.
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3
    except (AttributeError, ValueError, OSError):  # on Windows
        return 4_000_000_000


def is_inside(path: Path, folder: Path) -> bool:
    """Tell whether *path*, its links followed, lies in *folder*, or where the hub's cache keeps a folder's files.

    In that cache ``models--x/snapshots/REVISION/FILE`` is a link to ``models--x/blobs/DIGEST``. What is no path, or
    leads in a circle, lies nowhere.
    """
    try:
        real, home = path.resolve(), folder.resolve()
    except (ValueError, OSError, RuntimeError):
        return False
    if real.is_relative_to(home):
        return True
    blobs = home.parent.parent / "blobs"
    return home.parent.name == "snapshots" and real.parent == blobs
