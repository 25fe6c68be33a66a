"""Targets whose rank depends on the ablation."""

from __future__ import annotations

from collections.abc import Iterable

from reasoning_probe.results.naming import moves_logprob, significant
from reasoning_probe.results.record import EffectRecord, RankChangeRecord

SHARE = 10
"""A rank changes clearly when it is in the first tenth under one ablation and in the lower half under another."""


def rank_changes(rows: Iterable[EffectRecord]) -> list[RankChangeRecord]:
    """Return the targets of *rows* (``targets`` of ``run.json``) whose rank differs clearly between ablations.

    Rank 1 lowers the expected answer's log-probability most; equal changes share the better rank. Only targets that
    were measured under every ablation of a dataset, and that have an effect under one of them, are ranked: the ranks
    of the others are chance. A target is listed where it has an effect under the ablation that ranks it high and none
    under the one that ranks it low. What ablations disagree on is a property of the method as much as of the model
    (Zhang & Nanda 2023, "Towards best practices of activation patching").
    """
    by_dataset: dict[str, dict[str, dict[str, EffectRecord]]] = {}  # dataset, ablation, target
    for row in rows:
        if row["delta_logprob"] is not None:
            by_dataset.setdefault(row["dataset"], {}).setdefault(str(row["ablation"]), {})[row["target"]] = row
    changes: list[RankChangeRecord] = []
    for dataset, by_ablation in by_dataset.items():
        first = next(iter(by_ablation.values()))
        ranked = [
            target
            for target in first
            if all(target in effects for effects in by_ablation.values())
            and any(_has_effect(effects[target]) for effects in by_ablation.values())
        ]
        if len(by_ablation) < 2:
            continue
        ordered = {name: sorted(_change(effects[target]) for target in ranked) for name, effects in by_ablation.items()}
        for target in ranked:
            ranks = {name: 1 + ordered[name].index(_change(effects[target])) for name, effects in by_ablation.items()}
            high, low = min(ranks, key=ranks.__getitem__), max(ranks, key=ranks.__getitem__)
            clearly = ranks[high] <= max(1, len(ranked) // SHARE) and ranks[low] > max(1, len(ranked) / 2)
            if clearly and _has_effect(by_ablation[high][target]) and not _has_effect(by_ablation[low][target]):
                changes.append({"dataset": dataset, "target": target, "ranks": ranks})
    return changes


def _has_effect(row: EffectRecord) -> bool:
    return significant(row) or moves_logprob(row)


def _change(row: EffectRecord) -> float:
    return row["delta_logprob"] or 0.0
