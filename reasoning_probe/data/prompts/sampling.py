"""Sampled answers: how many are drawn, from which distribution, and which draw a query stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_SAMPLES = 1_000
"""Samples of a case at most: each is a sweep of its own."""

_SAMPLE = "\x00sample "
"""Stands between an item's id and the number of a sample while it is answered; no id holds it."""


def sample_id(item: str, sample: int) -> str:
    """Return the id of one *sample* of the item with the id *item* while it is answered."""
    return f"{item}{_SAMPLE}{sample}"


def item_of(item: str) -> str:
    """Return the id of the item whose sample has the id *item*; an id of an item is its own."""
    return item.partition(_SAMPLE)[0]


@dataclass(frozen=True)
class Draw:
    """One of the samples of an item: the number of the ``sample`` from 0, the ``seed``, and the distribution.

    ``temperature`` divides the logits. Of the tokens only the ``top_k`` most likely are drawn (0: all), and of these
    the smallest set whose probability is at least ``top_p``, as transformers defines both.
    """

    sample: int
    seed: int
    temperature: float
    top_p: float = 1.0
    top_k: int = 0

    @property
    def truncates(self) -> bool:
        """Whether some tokens are never drawn."""
        return self.top_k > 0 or self.top_p < 1


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled: ``samples`` to every case, and the ``verdict`` by which they make it right or wrong.

    The other fields are those of :class:`Draw`.
    """

    samples: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    verdict: str = "majority"

    def draws(self, seed: int) -> list[Draw]:
        """Return the draws of each item."""
        return [Draw(sample, seed, self.temperature, self.top_p, self.top_k) for sample in range(self.samples)]

    def record(self, seed: int) -> dict[str, Any]:
        """Return the settings as ``run.json`` holds them."""
        return vars(self) | {"seed": seed}
