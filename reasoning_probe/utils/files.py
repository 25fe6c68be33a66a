"""Files read and written safely: atomically, through no link that somebody prepared; and values in JSON's types."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

READER_S = 5.0
"""Seconds that a named pipe may be without a reader before writing into it is given up."""

LOCK_S = 10.0
"""Seconds to wait for another process that reads or writes the files of the same folder."""

_POLL_S = 0.02
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _BINARY

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_WAITING | getattr(os, "O_CLOEXEC", 0)
_STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


# -- writing ------------------------------------------------------------------------------------------------------


def atomic_write_text(path: Path, text: str) -> None:
    """Write *text* to *path* as UTF-8, so that a reader sees the old file or the new one, never half of it."""
    atomic_write_bytes(path, encode(text))


def encode(text: str) -> bytes:
    """Return *text* in UTF-8; a lone surrogate, which UTF-8 cannot encode, becomes its escape sequence in JSON."""
    return text.encode("utf-8", "backslashreplace")


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write *content* to *path*, so that a reader sees the old file or the new one, never half of it.

    The content goes into a new file of a random name beside *path*, which then replaces it: a link at *path* is
    replaced, too, and never followed. A stream such as ``/dev/stdout`` or a named pipe is written into. Raises
    ``OSError``, with the file's name, for a folder, a socket, a disk and for what the system refuses.
    """
    if is_stream(path):
        _write_into_stream(path, content)
        return
    _check_replaceable(path)
    draft = path.with_name(f".reasoning-probe-{secrets.token_hex(8)}.draft")
    try:
        with open(os.open(draft, _NEW, 0o666), "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None  # the user knows no draft
        raise
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def append_text(path: Path, text: str) -> None:
    """Append *text* to *path*, a file or a stream, as UTF-8. Raises ``OSError``."""
    if is_stream(path):
        _write_into_stream(path, encode(text))
        return
    with path.open("ab") as file:
        file.write(encode(text))


def make_folder(path: Path, inside: Path | None = None) -> None:
    """Make the folder *path* with its parents where it is not there.

    Raises ``OSError`` where it is a link, or where one of the folders between it and *inside* is, which somebody may
    have prepared.
    """
    for folder in (path, *path.parents):
        if folder == inside:
            break
        if folder.is_symlink():
            reason = "it is a link, which is not followed: remove it, or name another folder"
            raise OSError(errno.ELOOP, reason, str(folder))
        if inside is None:
            break
    path.mkdir(parents=True, exist_ok=True)


def is_stream(path: Path) -> bool:
    """Tell whether *path* is to be written into, since it is no file that another could replace.

    That is a device, a named pipe, and whatever the system's own folders hold: ``/dev/stdout`` leads to a file where
    the shell redirects the output.
    """
    if _in_system_folder(path):
        return True
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _in_system_folder(path: Path) -> bool:
    folder = os.path.realpath(path.parent) + "/"
    return folder.startswith(("/dev/", "/proc/", "/sys/")) and not folder.startswith("/dev/shm/")


def _check_replaceable(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # there is nothing yet, or opening the draft says what is wrong
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise OSError(errno.EINVAL, "it is a socket or a disk: name a file", str(path))


def _write_into_stream(path: Path, content: bytes) -> None:
    number = _open_descriptor_of(path)
    try:
        if number is not None:  # a second opening would write over what the shell's redirection holds already
            sys.stdout.flush()
            sys.stderr.flush()
            descriptor = os.dup(number)
        else:
            descriptor = _open_for_writing(path)
        with open(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        error.filename = str(path)
        raise


def _open_descriptor_of(path: Path) -> int | None:
    """Return which of this process's open descriptors *path* stands for: 1 for ``/dev/stdout``, 3 for ``/dev/fd/3``."""
    place = os.path.join(os.path.realpath(path.parent), path.name)
    match = re.fullmatch(rf"/(?:proc/{os.getpid()}|dev)/fd/([0-9]+)", place)
    return int(match[1]) if match else _STANDARD_STREAMS.get(place)


def _open_for_writing(path: Path) -> int:
    """Return a descriptor of the device or pipe *path*. Raises ``OSError`` for a pipe that nobody reads."""
    deadline = time.monotonic() + READER_S
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | _NO_WAITING | _BINARY)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
            if time.monotonic() > deadline:
                raise OSError(errno.ENXIO, "nobody reads this pipe", str(path)) from None
            time.sleep(_POLL_S)
        else:
            break
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISBLK(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a socket or a disk: name a file", str(path))
    os.set_blocking(descriptor, True)
    return descriptor


# -- locking ----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of *folder* among processes that read (*shared*) or write several of its files as one.

    It is a lock of the folder itself, which leaves no file behind and ends with the process. Where the system has none,
    or another process keeps it for :data:`LOCK_S` seconds, the block runs without it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    try:
        descriptor = os.open(folder, _FOLDER)
    except (OSError, ValueError):  # ValueError for a name that no system takes
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_S
        while not _flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int, operation: int) -> bool:
    """Tell whether there is nothing to wait for: the lock is taken, or the file system has none."""
    import fcntl

    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


# -- JSON ---------------------------------------------------------------------------------------------------------


def to_json(value: Any, indent: int | None = None) -> str:
    """Return *value* as JSON text without separators at which a reader may split a line."""
    text = json.dumps(to_json_types(value), ensure_ascii=False, allow_nan=False, indent=indent)
    for separator in ("\x85", "\u2028", "\u2029"):  # str.splitlines and other readers split lines at these
        text = text.replace(separator, f"\\u{ord(separator):04x}")
    return text


def to_json_types(value: Any) -> Any:
    """Return *value* in JSON's types: other libraries' numbers as Python's, infinities and NaN as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): to_json_types(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_types(entry) for entry in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return to_json_types(value.item()) if hasattr(value, "item") else str(value)
