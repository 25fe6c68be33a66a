"""Ranks: which targets are important under one ablation and unimportant under another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SHARE = 10
"""A rank changes clearly when it is in the first tenth under one ablation and in the lower half under another."""


def rank_changes(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the targets of *rows* (``targets`` of ``run.json``) whose rank differs clearly between ablations.

    Rank 1 lowers the expected answer's log-probability most; equal changes share the better rank. Only targets that
    were measured under every ablation of a dataset are ranked. What ablations disagree on is a property of the method
    as much as of the model (Zhang & Nanda 2023, "Towards best practices of activation patching").
    """
    drops: dict[str, dict[str, dict[str, float]]] = {}  # dataset, ablation, target
    for row in rows:
        if row["delta_logprob"] is not None:
            drops.setdefault(row["dataset"], {}).setdefault(row["ablation"], {})[row["target"]] = row["delta_logprob"]
    changes = []
    for dataset, by_ablation in drops.items():
        first = next(iter(by_ablation.values()))
        shared = [target for target in first if all(target in values for values in by_ablation.values())]
        if len(by_ablation) < 2:
            continue
        ordered = {name: sorted(values[target] for target in shared) for name, values in by_ablation.items()}
        for target in shared:
            ranks = {name: 1 + ordered[name].index(values[target]) for name, values in by_ablation.items()}
            if min(ranks.values()) <= max(1, len(shared) // SHARE) and max(ranks.values()) > max(1, len(shared) / 2):
                changes.append({"dataset": dataset, "target": target, "ranks": ranks})
    return changes
