"""Generated questions: seeded, no question twice, each with an answer that is right by construction.

The first 200 of 400 items are the 200 items of the same seed, so a larger run extends a smaller one.
:mod:`~reasoning_probe.data.generators.difficulty` reads how hard they are.
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
"""The names of the datasets that can be generated."""

_MAX_REPEATS = 1_000  # draws in a row without a new question after which a generator counts as exhausted


def generate(name: str, n: int, seed: int = 0) -> tuple[Item, ...]:
    """Return *n* items of the dataset *name*, ``logic`` or ``logic:steps=4``, the same ones for the same *seed*.

    Raises :class:`~reasoning_probe.data.items.ItemError` for an unknown name, for fewer than one item, and for more
    items than exist.
    """
    return generate_spec(replace(parse(name), seed=seed), n)


def generate_spec(spec: Spec, n: int) -> tuple[Item, ...]:
    """Return *n* items of *spec*. Raises as :func:`generate` does."""
    if n < 1:
        raise ItemError(f"cannot generate {n} items: ask for at least 1")
    rng = random.Random(spec.seed)
    source = _SOURCES[spec.name](rng) if spec.knobs is None else _HARDER[spec.name](rng, spec)
    items = tuple(islice(_distinct(source), n))
    if len(items) < n:
        raise ItemError(f"cannot generate {n} different {spec.name} items: ask for {len(items)} or fewer")
    return items


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items whose question is new, until too many in a row repeat one."""
    questions: set[str] = set()
    repeats = 0
    for item in items:
        repeats += 1
        if item.question not in questions:
            questions.add(item.question)
            repeats = 0
            yield item
        elif repeats > _MAX_REPEATS:
            return
