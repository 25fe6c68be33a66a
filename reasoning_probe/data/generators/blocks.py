"""Shuffled blocks: values in random order whose shares are exact in every block."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def shuffled_blocks(rng: random.Random, values: Sequence[T]) -> Iterator[T]:
    """Yield *values* without end, in a new random order each time."""
    while True:
        yield from rng.sample(values, len(values))
