"""The items that an analysis asks again: drawn by a seed, those that the model answers right first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_probe.results.outcome import ItemKey


def drawn_items(items: Mapping[ItemKey, bool], fewest: int, most: int, draw: str) -> dict[str, list[ItemKey]]:
    """Return by dataset at most so many of *items*, which says of each whether it was answered right.

    Right ones come in the order that the text *draw* gives; others follow where fewer than *fewest* are right.
    """

    def place(item: ItemKey) -> bytes:
        return hashlib.sha256("\0".join((draw, *item)).encode("utf-8", "replace")).digest()

    by_dataset: dict[str, list[ItemKey]] = {}
    for item in sorted(items, key=place):
        by_dataset.setdefault(item[0], []).append(item)
    chosen = {}
    for dataset, drawn in by_dataset.items():
        right = [item for item in drawn if items[item]]
        others = [item for item in drawn if not items[item]]
        chosen[dataset] = [*right, *others[: max(0, fewest - len(right))]][:most]
    return chosen
