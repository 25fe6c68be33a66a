"""Checks of a ``.gguf`` file: its header is read once with every length held against the size of the file.

The library gguf believes the lengths that it reads, so that a short file can keep it busy for ever. The format is that
of ``docs/gguf.md`` in ggml: counts of tensors and of keys, then each key with a typed value, then each tensor's name,
shape, type and place.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.config_checks import MOST_EXPERTS, MOST_LAYERS
from reasoning_probe.utils.regular_files import open_regular
from reasoning_probe.utils.text import one_line

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
MOST_ENTRIES = 20_000_000
"""Keys, tensors and entries of lists in one file; vocabularies with their merges have a million."""


class _Damaged(ValueError):
    """A header whose lengths do not fit its file."""


def check_gguf(path: Path, name: str) -> None:
    """Raise :class:`ModelError` if the header of the ``.gguf`` file *path* promises more than the file can hold."""
    try:
        with open_regular(path) as file:
            size = path.stat().st_size
            header = _Header(file, size)
            counts = header.counts()
    except OSError as error:
        raise ModelError(f"cannot load the model {name}: cannot read {path.name} ({error.strerror})") from None
    except (_Damaged, struct.error, MemoryError, OverflowError, UnicodeDecodeError) as error:
        raise ModelError(
            f"cannot load the model {name}: {path.name} is not a .gguf file, or is incomplete ({one_line(error, 80)}):"
            " download it again"
        ) from None
    for key, value in counts.items():
        most = MOST_LAYERS if key.endswith(".block_count") else MOST_EXPERTS if key.endswith(".expert_count") else 2**31
        if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value <= most:
            raise ModelError(
                f"cannot load the model {name}: {one_line(key, 60)} in {path.name} is {value:,}, and no model has more"
                f" than {most:,}"
            )


class _Header:
    """The header of a ``.gguf`` file of *size* bytes, read from *file*."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.entries = file, size, 0
        if file.read(4) != _MAGIC:
            raise _Damaged("it does not begin with GGUF")
        version = file.read(4)
        self.order = ">" if version[2:] != b"\0\0" and version[:2] == b"\0\0" else "<"
        self.version = struct.unpack(f"{self.order}I", version)[0]
        if self.version not in (2, 3):
            raise _Damaged(f"version {self.version}")

    def counts(self) -> dict[str, Any]:
        """Return the keys whose values are how many of something the model has."""
        tensors, keys = self.number("Q"), self.number("Q")
        self.room(tensors, 24)
        self.room(keys, 12)
        counts = {}
        for _ in range(keys):
            key = self.text()
            value = self.value(self.number("I"))
            if key.endswith(("_count", "_length", "vocab_size")):
                counts[key] = value
        for _ in range(tensors):
            self.text()
            dimensions = self.number("I")
            self.room(dimensions, 8)
            if dimensions > 8:
                raise _Damaged(f"a tensor of {dimensions} dimensions")
            elements = 1
            for _ in range(dimensions):
                elements *= self.number("Q")
            if elements > 16 * self.size:
                raise _Damaged(f"a tensor of {elements:,} numbers in a file of {self.size:,} bytes")
            self.number("I")
            self.number("Q")
        return counts

    def number(self, kind: str) -> Any:
        data = self.file.read(struct.calcsize(kind))
        return struct.unpack(self.order + kind, data)[0]

    def text(self) -> str:
        length = self.number("Q")
        self.room(length, 1)
        return self.file.read(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """Read a value of the type *kind*; return it if it is a number."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _TEXT:
            self.file.seek(self.room(self.number("Q"), 1), 1)
            return None
        if kind != _LIST or depth > 3:
            raise _Damaged(f"a value of the type {kind}")
        inner, length = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.file.seek(self.room(length, struct.calcsize(_SCALARS[inner])), 1)
            return None
        self.room(length, 8)
        for _ in range(length):
            self.value(inner, depth + 1)
        return None

    def room(self, count: int, each: int) -> int:
        """Return the bytes of *count* entries of at least *each*; raise if the rest of the file is shorter."""
        self.entries += count if each > 1 else 1
        if count * each > self.size - self.file.tell() or self.entries > MOST_ENTRIES:
            raise _Damaged(f"{count:,} entries in a file of {self.size:,} bytes")
        return count * each
