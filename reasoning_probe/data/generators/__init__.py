"""Generated questions: as many as asked for, seeded, no question twice, each answered by construction.

The first 200 items of 400 are the 200 items of the same seed, so a larger run extends a smaller one. How hard they are
:mod:`~reasoning_probe.data.generators.difficulty` says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from reasoning_probe.data.generators import (
    arithmetic,
    arithmetic_steps,
    logic,
    logic_chains,
    multi_step,
    multi_step_stories,
)
from reasoning_probe.data.generators.difficulty import Spec, is_spec, parse
from reasoning_probe.data.items import Item, ItemError

__all__ = ["NAMES", "Spec", "generate", "generate_spec", "is_spec", "parse"]

_SOURCES = {"arithmetic": arithmetic.items, "multi_step": multi_step.items, "logic": logic.items}
_HARDER = {"arithmetic": arithmetic_steps.items, "multi_step": multi_step_stories.items, "logic": logic_chains.items}

NAMES = tuple(_SOURCES)
"""The datasets that can be generated."""

_PATIENCE = 1_000  # draws in a row without a new question before a generator counts as exhausted


def generate(name: str, n: int, seed: int = 0) -> tuple[Item, ...]:
    """Return *n* items of the dataset *name*, ``logic`` or ``logic:steps=4``, the same ones for the same *seed*.

    Raises :class:`~reasoning_probe.data.items.ItemError` for an unknown name, for fewer than one item, and where more
    are asked for than exist.
    """
    return generate_spec(replace(parse(name), seed=seed), n)


def generate_spec(spec: Spec, n: int) -> tuple[Item, ...]:
    """Return *n* items of *spec*; raises as :func:`generate` does."""
    if n < 1:
        raise ItemError(f"cannot generate {n} items: ask for at least 1")
    rng = random.Random(spec.seed)
    source = _SOURCES[spec.name](rng) if spec.knobs is None else _HARDER[spec.name](rng, spec)
    items = tuple(islice(_distinct(source), n))
    if len(items) < n:
        raise ItemError(f"cannot generate {n} different {spec.name} items: ask for {len(items)} or fewer")
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
