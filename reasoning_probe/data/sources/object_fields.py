"""Fields that hold objects, as rows have them: an item's tags, parts and donors, or what other data sets call so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoning_probe.data.sources.records import OBJECT_FIELDS, Number


def is_foreign(name: str, value: Any) -> bool:
    """Tell whether the field *name* holds something else than an item's object of that name."""
    return name in OBJECT_FIELDS and not isinstance(value, Mapping)


def moved_parts(item_row: Mapping[str, Any], question: Any) -> dict[str, Any]:
    """Return the parts of *item_row*, whose spans count from the start of *question*, by where that stands now.

    A context may stand before the row's question. Parts that are none are left as they are.
    """
    parts, text = item_row.get("parts"), item_row.get("question")
    if not isinstance(parts, Mapping) or not isinstance(question, str) or not isinstance(text, str):
        return {}
    offset = text.rfind(question.strip()) - question.find(question.strip())
    return {"parts": {name: _moved(spans, offset) for name, spans in parts.items()}} if offset else {}


def _moved(value: Any, offset: int) -> Any:
    if isinstance(value, list):
        return [_moved(entry, offset) for entry in value]
    return Number(int(value) + offset) if isinstance(value, Number) and value.isdecimal() and len(value) < 10 else value
