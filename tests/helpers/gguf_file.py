"""The header of a ``.gguf`` file, written by hand as the format's description says."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def gguf(values: Mapping[str, int | str], *, tensors: int = 0, keys: int | None = None) -> bytes:
    """Return a header with *values*; *tensors* and *keys* are the counts that it states, true or not."""
    data = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values) if keys is None else keys)
    for key, value in values.items():
        data += struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, int):
            data += struct.pack("<IQ", 10, value)
        else:
            data += struct.pack("<IQ", 8, len(value)) + value.encode()
    return data
