"""Screening: which of many heads are measured exactly, and how many of the others matter all the same.

All heads of the model are ranked by attribution on the dataset's items, or by integrated gradients. The first K are
ablated exactly, and so is a random sample of the rest, which tells how many were missed. Which heads are chosen depends
on the model, the dataset and the seed alone, not on the cases that were selected, so it is the same in every shard and
process.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.results.screening import METHODS, Screening
from reasoning_probe.utils.target_names import part_name

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.protocol import Engine

STEPS = {"attribution": 1, "ig5": 5}
"""Gradients an item, by method."""

MOST_ITEMS = 200
"""Items that the ranking is made from at most, spread evenly over the dataset."""

SAMPLE = 20
"""Heads of the rest that are measured, at least: none of 20 missed leaves a rate of 16 % possible."""


def select_heads(
    dataset: str,
    ablation: str,
    scores: Mapping[str, float],
    most: int,
    seed: int,
    items: int,
    method: str = METHODS[0],
) -> Screening:
    """Return the screening that measures the *most* heads of the highest *scores* and a sample of the rest.

    The sample is half as many, but at least :data:`SAMPLE`, drawn by *seed*; all of the rest where there are no more.
    """
    order = sorted(scores, key=lambda name: -scores[name])
    ranked, rest = order[:most], order[most:]
    count = min(len(rest), max(SAMPLE, most // 2))
    sampled = set(random.Random(f"{seed} {dataset} {ablation}").sample(sorted(rest), count))
    in_order = {name: scores[name] for name in order}
    chosen = tuple(name for name in rest if name in sampled)
    return Screening(dataset, ablation, items, seed, in_order, tuple(ranked), chosen, method)


def evenly_spaced(queries: Sequence[Query], most: int = MOST_ITEMS) -> list[Query]:
    """Return at most so many of *queries*, spread evenly."""
    step = max(1.0, len(queries) / most)
    return [queries[int(index * step)] for index in range(min(most, len(queries)))]


def screen(
    engine: Engine,
    queries: Sequence[Query],
    ablations: Sequence[str],
    most: int,
    seed: int,
    method: str = METHODS[0],
) -> list[Screening]:
    """Rank all heads of the model on one dataset's *queries* by *method*, and choose *most* for each ablation.

    A head's score is the mean over items of the *size* of its estimated effect: where the model is sure of its answer
    the sign of the gradient says little, and effects that cancel out would hide the head (Kramár et al. 2024). An item
    takes a forward and a backward pass (five with ``ig5``), and another forward pass for ``resample``. Raises
    :class:`~reasoning_probe.models.head_map.HeadError` where the model cannot be differentiated. Adds to
    ``engine.timing``.
    """
    screenings = engine.measure(ScreeningTask(tuple(queries), tuple(ablations), most, seed, method))
    assert screenings is not None  # its failure is an error
    return screenings


@dataclass(frozen=True)
class ScreeningTask:
    """The ranking of all heads as an :class:`~reasoning_probe.engine.protocol.Analysis` of one part."""

    queries: tuple[Query, ...]
    ablations: tuple[str, ...]
    most: int
    seed: int
    method: str = METHODS[0]
    timing: str = "screen_s"
    failure: str = "every process that screened the heads ended: if memory ran out, run without --probe-screen"

    def measure(self, engine: LocalEngine) -> list[Screening]:
        """Return which heads to measure, by the gradients of the model of *engine*."""
        from reasoning_probe.analyses.attribution import Estimates, estimates
        from reasoning_probe.data.places import PlaceError
        from reasoning_probe.engine.tokenization import ContextError

        started = time.perf_counter()
        sizes: dict[str, dict[tuple[int, int], list[float]]] = {ablation: {} for ablation in self.ablations}
        items = 0
        for query in evenly_spaced(self.queries):
            try:
                encoded = engine.codec.encode(query)
                replacements = [engine.replacement(ablation, query, encoded) for ablation in self.ablations]
            except (ContextError, PlaceError):
                continue  # the sweep skips this item, and says why
            by_ablation: list[Estimates] = estimates(
                engine.model, engine.head_map, encoded, replacements, STEPS[self.method]
            )
            items += 1
            for ablation, changes in zip(self.ablations, by_ablation, strict=True):
                for head, change in changes.items():
                    sizes[ablation].setdefault(head, []).append(abs(change))
        engine.timing.screen_s += time.perf_counter() - started
        dataset = self.queries[0].dataset
        screenings = []
        for ablation, by_head in sizes.items():
            scores = {part_name(layer, "H", head): _mean(changes) for (layer, head), changes in by_head.items()}
            screenings.append(select_heads(dataset, ablation, scores, self.most, self.seed, items, self.method))
        return screenings

    def split(self, parts: int) -> list[ScreeningTask]:
        """Return the task whole: it takes two passes an item."""
        return [self]

    def merge(self, results: Sequence[list[Screening]]) -> list[Screening]:
        """Return the only result."""
        return results[0]


def _mean(changes: Sequence[float]) -> float:
    known = [change for change in changes if math.isfinite(change)]
    return math.fsum(known) / len(known) if known else 0.0
