"""Screening: which of many heads are measured exactly, and how many of the others matter all the same.

All heads of the model are ranked by first-order attribution on the dataset's items. The first K are ablated exactly,
and so is a random sample of the rest, which tells how many were missed. Which heads are chosen depends on the model,
the dataset and the seed alone, not on the cases that were selected, so it is the same in every shard and process.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_probe.results import stats

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.prompting import Query
    from reasoning_probe.engine.engine import Engine

MOST_ITEMS = 200
"""Items that the ranking is made from at most, spread evenly over the dataset."""

SAMPLE = 20
"""Heads of the rest that are measured, at least: none of 20 missed leaves a rate of 16 % possible."""

Entry = dict[str, Any]
"""One dataset's screening under one ablation; an element of ``screening`` in ``run.json``."""


@dataclass(frozen=True)
class Screening:
    """Which heads are measured: ``scores`` holds all of them, the strongest first, with their mean size of effect."""

    dataset: str
    ablation: str
    items: int
    seed: int
    scores: Mapping[str, float]
    ranked: tuple[str, ...]
    sampled: tuple[str, ...]

    def leaves_out(self, target: str) -> bool:
        """Tell whether *target* is a head that is not measured."""
        return target in self.scores and target not in self.ranked and target not in self.sampled

    def entry(self) -> Entry:
        """Return the screening in plain values, without what the measurements say of it."""
        why = dict.fromkeys(self.ranked, "ranked") | dict.fromkeys(self.sampled, "sampled")
        scores = [{"target": name, "score": score, "measured": why.get(name)} for name, score in self.scores.items()]
        given = {"dataset": self.dataset, "ablation": self.ablation, "items": self.items, "seed": self.seed}
        return given | {"scores": scores}


def from_entry(entry: Entry) -> Screening:
    """Return the screening that *entry* tells of."""
    by_reason: dict[str | None, list[str]] = {}
    for score in entry["scores"]:
        by_reason.setdefault(score["measured"], []).append(score["target"])
    return Screening(
        entry["dataset"],
        entry["ablation"],
        entry["items"],
        entry["seed"],
        {score["target"]: score["score"] for score in entry["scores"]},
        tuple(by_reason.get("ranked", ())),
        tuple(by_reason.get("sampled", ())),
    )


def choose(dataset: str, ablation: str, scores: Mapping[str, float], most: int, seed: int, items: int) -> Screening:
    """Return the screening that measures the *most* heads of the highest *scores* and a sample of the rest.

    The sample is half as many, but at least :data:`SAMPLE`, drawn by *seed*; all of the rest where there are no more.
    """
    order = sorted(scores, key=lambda name: -scores[name])
    ranked, rest = order[:most], order[most:]
    count = min(len(rest), max(SAMPLE, most // 2))
    sampled = set(random.Random(f"{seed} {dataset} {ablation}").sample(sorted(rest), count))
    in_order = {name: scores[name] for name in order}
    return Screening(
        dataset, ablation, items, seed, in_order, tuple(ranked), tuple(name for name in rest if name in sampled)
    )


def spread(queries: Sequence[Query], most: int = MOST_ITEMS) -> list[Query]:
    """Return at most so many of *queries*, spread evenly."""
    step = max(1.0, len(queries) / most)
    return [queries[int(at * step)] for at in range(min(most, len(queries)))]


def screen(engine: Engine, queries: Sequence[Query], ablations: Sequence[str], most: int, seed: int) -> list[Screening]:
    """Rank all heads of the model on one dataset's *queries*, and choose *most* for each ablation.

    A head's score is the mean over items of the *size* of its estimated effect: where the model is sure of its
    answer the sign of the gradient says little, and effects that cancel out would hide the head (Kramár et al. 2024).
    An item takes a forward and a backward pass, and another forward pass for ``resample``. Raises
    :class:`~reasoning_probe.models.head_map.HeadError` where the model cannot be differentiated. Adds to ``engine.timing``.
    """
    from reasoning_probe.analyses.attribution import Estimates, estimates
    from reasoning_probe.engine.tokenization import ContextError

    started = time.perf_counter()
    sizes: dict[str, dict[tuple[int, int], list[float]]] = {ablation: {} for ablation in ablations}
    used = 0
    for query in spread(queries):
        try:
            encoded = engine.codec.encode(query)
        except ContextError:
            continue  # the sweep skips this item, and says why
        replacements = [engine.replacement(ablation, query.dataset, query.prompt) for ablation in ablations]
        found: list[Estimates] = estimates(engine.model, engine.head_map, encoded, replacements)
        used += 1
        for ablation, of_item in zip(ablations, found, strict=True):
            for head, change in of_item.items():
                sizes[ablation].setdefault(head, []).append(abs(change))
    engine.timing.screen_s += time.perf_counter() - started
    chosen = []
    for ablation, by_head in sizes.items():
        scores = {f"L{layer}H{head}": _mean(changes) for (layer, head), changes in by_head.items()}
        chosen.append(choose(queries[0].dataset, ablation, scores, most, seed, used))
    return chosen


def _mean(changes: Sequence[float]) -> float:
    known = [change for change in changes if math.isfinite(change)]
    return math.fsum(known) / len(known) if known else 0.0


def merged_screening(parts: Iterable[Sequence[Entry] | None]) -> list[Entry]:
    """Return the screenings of several processes or runs, each once: what chooses the heads is the same in all."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in (entry for part in parts for entry in part or ()):
        found.setdefault((entry["dataset"], entry["ablation"]), entry)
    return list(found.values())


# -- afterwards ---------------------------------------------------------------------------------------------------


def unmeasured(entries: Iterable[Entry], dataset: str, ablation: str | None, measured: Iterable[str]) -> int:
    """Return how many heads the ones *measured* were chosen from beside themselves: the corrections count them, too."""
    names = set(measured)
    return sum(
        score["target"] not in names
        for entry in entries
        if (entry["dataset"], entry["ablation"]) == (dataset, ablation)
        for score in entry["scores"]
    )


def reported(entries: Iterable[Entry], rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return *entries* with what the measured *rows*, ``targets`` of ``run.json``, say of them.

    ``missed`` of the ``sampled`` heads change the accuracy, after Holm's correction over all candidates; so does about
    ``miss_rate`` of the ``rest``, which were not among the ``ranked``, with an exact interval for a finite population.
    ``moved`` change the log-probability. A sample of which nothing was measured says nothing: the rate is ``None``.
    """
    by_key: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_key.setdefault((row["dataset"], str(row["ablation"])), {})[row["target"]] = row
    return [_reported(entry, by_key.get((entry["dataset"], entry["ablation"]), {})) for entry in entries]


def _reported(entry: Entry, rows: Mapping[str, Mapping[str, Any]]) -> Entry:
    screening = from_entry(entry)
    sample = [rows[name] for name in screening.sampled if name in rows]
    rest = len(screening.scores) - len(screening.ranked)
    missed = sum(row["p_adjusted"] <= stats.ALPHA for row in sample)
    moved = sum(row["logprob_p_adjusted"] is not None and row["logprob_p_adjusted"] <= stats.ALPHA for row in sample)
    low, high = stats.finite_interval(missed, len(sample), rest) if sample or not rest else (0.0, 1.0)
    return entry | {
        "candidates": len(screening.scores),
        "ranked": sum(name in rows for name in screening.ranked),
        "rest": rest,
        "sampled": len(sample),
        "missed": missed,
        "miss_rate": missed / len(sample) if sample else None if rest else 0.0,
        "ci95": [low, high],
        "moved": moved,
        "found": sum(rows[name]["p_adjusted"] <= stats.ALPHA for name in screening.ranked if name in rows),
    }
