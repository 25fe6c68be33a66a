"""The screening of a run: the heads that are measured, and an estimate of the effects that were missed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasoning_probe.results import stats
from reasoning_probe.results.naming import moves_logprob, significant
from reasoning_probe.results.record import (
    EffectRecord,
    FamilyRecord,
    HeadSelectionRecord,
    RaceRecord,
    ScreeningRecord,
    ScreeningScoreRecord,
)

METHODS = ("attribution", "ig5")
"""How heads are ranked, the default first: by first-order attribution, or by integrated gradients of five steps."""


@dataclass(frozen=True)
class Screening:
    """The heads that are measured; ``scores`` holds all heads, the strongest first, with their mean size of effect."""

    dataset: str
    ablation: str
    items: int
    seed: int
    scores: Mapping[str, float]
    ranked: tuple[str, ...]
    sampled: tuple[str, ...]
    method: str = METHODS[0]

    def excludes(self, target: str) -> bool:
        """Tell whether *target* is a head that is not measured."""
        return target in self.scores and target not in self.ranked and target not in self.sampled

    def entry(self) -> HeadSelectionRecord:
        """Return the selection as a record, without results of the measurements."""
        why = dict.fromkeys(self.ranked, "ranked") | dict.fromkeys(self.sampled, "sampled")
        scores: list[ScreeningScoreRecord] = [
            {"target": name, "score": score, "measured": why.get(name)} for name, score in self.scores.items()
        ]
        return {
            "dataset": self.dataset,
            "ablation": self.ablation,
            "items": self.items,
            "seed": self.seed,
            "method": self.method,
            "scores": scores,
        }


def from_entry(entry: HeadSelectionRecord) -> Screening:
    """Return the screening that *entry* records."""
    by_reason: dict[str | None, list[str]] = {}
    for score in entry["scores"]:
        by_reason.setdefault(score["measured"], []).append(score["target"])
    return Screening(
        entry["dataset"],
        str(entry["ablation"]),
        entry["items"],
        entry["seed"],
        {score["target"]: math.nan if score["score"] is None else score["score"] for score in entry["scores"]},
        tuple(by_reason.get("ranked", ())),
        tuple(by_reason.get("sampled", ())),
        entry.get("method") or METHODS[0],
    )


def merged_screening(parts: Iterable[Sequence[HeadSelectionRecord] | None]) -> list[HeadSelectionRecord]:
    """Return the screenings of several processes or runs, each once, since all of them chose the same heads."""
    entries: dict[tuple[str, str | None], HeadSelectionRecord] = {}
    for entry in (entry for part in parts for entry in part or ()):
        entries.setdefault((entry["dataset"], entry["ablation"]), entry)
    return list(entries.values())


def with_measured_effects(
    entries: Sequence[HeadSelectionRecord],
    rows: Iterable[EffectRecord],
    families: Iterable[FamilyRecord] = (),
    races: Iterable[RaceRecord] = (),
) -> list[ScreeningRecord]:
    """Return *entries* with the results of the measured *rows* (``targets`` of ``run.json``).

    ``missed`` of the ``sampled`` heads change the accuracy, after discrete Holm over all candidates; so does about
    ``miss_rate`` of the ``rest``, which were not among the ``ranked``, with an exact interval for a finite population.
    Effects that the run cannot show, below the ``smallest_effect`` of the *families*, are not among the missed ones.
    A head that *races* stopped was measured, and changes nothing that the run can name. ``moved`` change the
    log-probability. The rate is ``None`` where nothing of the sample was measured.
    """
    smallest = {(family["dataset"], family["ablation"]): family["smallest_effect"] for family in families}
    by_key: dict[tuple[str, str | None], dict[str, EffectRecord]] = {}
    for row in rows:
        by_key.setdefault((row["dataset"], str(row["ablation"])), {})[row["target"]] = row
    stopped = {(race["dataset"], race["ablation"]): {row["target"] for row in race["stopped"]} for race in races}
    keys = [(entry["dataset"], entry["ablation"]) for entry in entries]
    return [
        _reported(entry, by_key.get(key, {}), stopped.get(key, set()), smallest.get(key))
        for entry, key in zip(entries, keys, strict=True)
    ]


def _reported(
    entry: HeadSelectionRecord, rows: Mapping[str, EffectRecord], stopped: set[str], smallest_effect: float | None
) -> ScreeningRecord:
    screening = from_entry(entry)
    sample = [rows[name] for name in screening.sampled if name in rows]
    sampled = len(sample) + len(stopped.intersection(screening.sampled))
    rest = len(screening.scores) - len(screening.ranked)
    missed = sum(significant(row) for row in sample)
    moved = sum(moves_logprob(row) for row in sample)
    low, high = stats.finite_interval(missed, sampled, rest) if sampled or not rest else (0.0, 1.0)
    return {
        **entry,
        "candidates": len(screening.scores),
        "ranked": sum(name in rows or name in stopped for name in screening.ranked),
        "rest": rest,
        "sampled": sampled,
        "missed": missed,
        "miss_rate": missed / sampled if sampled else None if rest else 0.0,
        "ci95": [low, high],
        "moved": moved,
        "found": sum(significant(rows[name]) for name in screening.ranked if name in rows),
        "smallest_effect": smallest_effect,
    }
