"""Packed files of data: how large they are unpacked, before the library ``datasets`` unpacks them.

``datasets`` unpacks what is packed by its content, whatever its name is, onto the disk and then into memory, where a
megabyte can become a gigabyte.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.utils.regular_files import open_regular
from reasoning_probe.utils.text import quoted

LARGEST = 1_000_000_000
"""Bytes of a file's data when it is unpacked."""

MOST_TIMES = 100
"""How many times larger than its file unpacked data may be; texts become 3 to 20 times larger."""

SPARE = 10_000_000
"""Bytes that may be unpacked from any file, however small."""

_CHUNK = 1 << 20
_STREAMS: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_OTHERS = (b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"\x04\x22\x4d\x18")
"""How files begin that the standard library cannot unpack: rar, zstd, 7z, lz4."""


def check_packed(path: Path, source: str) -> None:
    """Raise :class:`DatasetError`, one line, if the file *path* is far larger unpacked, or if that cannot be told."""
    try:
        with open_regular(path) as file:
            most = min(LARGEST, MOST_TIMES * path.stat().st_size + SPARE)
            unpacked = _unpacked_size(file, most)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError):
        unpacked = None
    if unpacked is None:
        raise DatasetError(f"{source}: {quoted(path.name)} is compressed in an unsupported way: unpack it")
    if unpacked > most:
        raise DatasetError(
            f"{source}: {quoted(path.name)} holds more than {most:,} bytes when it is unpacked: unpack it first"
        )


def _unpacked_size(file: BinaryIO, most: int) -> int | None:
    """Return how many bytes *file* has unpacked, or more than *most*; ``None`` where that cannot be told."""
    start = file.read(8)
    file.seek(0)
    if start.startswith(_OTHERS) or tarfile.is_tarfile(file):
        return None
    file.seek(0)
    for magic, opener in _STREAMS.items():
        if start.startswith(magic):
            stream, size = cast(BinaryIO, opener(file)), 0
            while size <= most and (chunk := stream.read(_CHUNK)):
                size += len(chunk)
            return size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:  # it unpacks no more of an entry than the archive says
            return sum(entry.file_size for entry in archive.infolist())
    return 0
