"""Files written atomically, and values in JSON's types."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def atomic_write_text(path: Path, text: str) -> None:
    """Write *text* to *path* as UTF-8, so that a reader sees the old file or the new one, never half of it."""
    # A lone surrogate, which UTF-8 cannot encode, becomes its escape sequence in JSON.
    atomic_write_bytes(path, text.encode("utf-8", "backslashreplace"))


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write *content* to *path*, so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
