"""The screening of a run: which heads were measured, and what the measurements say of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_probe.results import stats

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

    def excludes(self, target: str) -> bool:
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


def merged_screening(parts: Iterable[Sequence[Entry] | None]) -> list[Entry]:
    """Return the screenings of several processes or runs, each once: what chooses the heads is the same in all."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in (entry for part in parts for entry in part or ()):
        found.setdefault((entry["dataset"], entry["ablation"]), entry)
    return list(found.values())


def unmeasured(entries: Iterable[Entry], dataset: str, ablation: str | None, measured: Iterable[str]) -> int:
    """Return how many heads the ones *measured* were chosen from beside themselves: the corrections count them, too."""
    names = set(measured)
    return sum(
        score["target"] not in names
        for entry in entries
        if (entry["dataset"], entry["ablation"]) == (dataset, ablation)
        for score in entry["scores"]
    )


def with_measured_effects(entries: Iterable[Entry], rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
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
