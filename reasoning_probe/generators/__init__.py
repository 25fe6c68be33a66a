"""Generated questions: as many as asked for, seeded, no question twice, each answered by construction.

The first 200 items of 400 are the 200 items of the same seed, so a larger run extends a smaller one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from reasoning_probe.generators import arithmetic, logic, multi_step
from reasoning_probe.items import Item, ItemError

_SOURCES = {"arithmetic": arithmetic.items, "multi_step": multi_step.items, "logic": logic.items}

NAMES = tuple(_SOURCES)
"""The datasets that can be generated."""

_PATIENCE = 1_000  # draws in a row without a new question before a generator counts as exhausted


def generate(name: str, n: int, seed: int = 0) -> tuple[Item, ...]:
    """Return *n* items of the dataset *name*, the same ones for the same *seed*.

    Raises :class:`~reasoning_probe.items.ItemError` for an unknown name, for fewer than one item, and where more
    are asked for than exist.
    """
    if name not in _SOURCES:
        raise ItemError(f"there is no generator for {name!r}: use one of {', '.join(NAMES)}")
    if n < 1:
        raise ItemError(f"cannot generate {n} items: ask for at least 1")
    items = tuple(islice(_distinct(_SOURCES[name](random.Random(seed))), n))
    if len(items) < n:
        raise ItemError(f"cannot generate {n} different {name} items: ask for {len(items)} or fewer")
    return items


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items whose question is new, until none was for a long while."""
    seen: set[str] = set()
    since = 0
    for item in items:
        since += 1
        if item.question not in seen:
            seen.add(item.question)
            since = 0
            yield item
        elif since > _PATIENCE:
            return
