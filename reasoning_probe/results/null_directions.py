"""Random directions beside named heads: how a head ranks among them, and the merging of several processes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from reasoning_probe.results.record import RandomDirectionsRecord


def ranked(
    target: str, dataset: str, ablation: str | None, items: int, change: float, changes: Sequence[float]
) -> RandomDirectionsRecord:
    """Return the record of a head whose mean *change* of the log-probability stands beside the directions' *changes*.

    The head is one of ``1 + len(changes)`` directions. If its own were drawn like the others, each rank would be
    equally likely, so ``p_value``, the share of them that lose as much or more, is exact.
    """
    as_large = sum(one <= change for one in changes)
    return {
        "target": target,
        "dataset": dataset,
        "ablation": ablation,
        "items": items,
        "change": change,
        "changes": list(changes),
        "median_change": statistics.median(changes),
        "as_large": as_large,
        "p_value": (1 + as_large) / (1 + len(changes)),
        "note": "",
    }


def unranked(target: str, dataset: str, ablation: str | None, note: str) -> RandomDirectionsRecord:
    """Return the record of a head that cannot be compared; *note* says why."""
    return {
        "target": target,
        "dataset": dataset,
        "ablation": ablation,
        "items": 0,
        "change": None,
        "changes": [],
        "median_change": None,
        "as_large": 0,
        "p_value": None,
        "note": note,
    }


def merged_directions(parts: Sequence[Sequence[RandomDirectionsRecord] | None]) -> list[RandomDirectionsRecord]:
    """Return the records of several processes as one; each measured its own items, without the same directions."""
    by_head: dict[tuple[str, str, str | None], list[RandomDirectionsRecord]] = {}
    for row in (row for part in parts for row in part or ()):
        by_head.setdefault((row["target"], row["dataset"], row["ablation"]), []).append(row)
    return [_pooled(rows) for rows in by_head.values()]


def _pooled(rows: Sequence[RandomDirectionsRecord]) -> RandomDirectionsRecord:
    measured = [row for row in rows if row["change"] is not None]
    alike = [row for row in measured if len(row["changes"]) == len(measured[0]["changes"])]
    if len(alike) < 2:
        return (measured or rows)[0]
    items = sum(row["items"] for row in alike)

    def mean(values: Sequence[float]) -> float:
        return math.fsum(value * row["items"] for value, row in zip(values, alike, strict=True)) / items

    change = mean([row["change"] or 0.0 for row in alike])
    changes = [mean(values) for values in zip(*(row["changes"] for row in alike), strict=True)]
    return ranked(alike[0]["target"], alike[0]["dataset"], alike[0]["ablation"], items, change, changes)
