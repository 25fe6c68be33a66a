"""The cumulative curves of a run: merging those of several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reasoning_probe.results import stats
from reasoning_probe.results.record import CurvePointRecord, CurveRecord

CARRIED_SHARE = 0.9
"""The share of the baseline's accuracy at which a number of kept heads gets a sentence."""


def merged_curves(parts: Sequence[Sequence[CurveRecord] | None]) -> list[CurveRecord]:
    """Return the curves of several processes as one; each process measured its own items in its own order."""
    lines: dict[tuple[str, str | None, str], list[CurveRecord]] = {}
    for entry in (entry for part in parts for entry in part or ()):
        lines.setdefault((entry["dataset"], entry["ablation"], entry["kind"]), []).append(entry)
    return [entries[0] if len(entries) == 1 else _pooled(entries) for entries in lines.values()]


def _pooled(entries: Sequence[CurveRecord]) -> CurveRecord:
    places: dict[str, int] = {}
    for entry in entries:
        for place, target in enumerate(entry["order"]):
            places[target] = places.get(target, 0) + place
    points: dict[int, list[CurvePointRecord]] = {}
    for point in (point for entry in entries for point in entry["points"]):
        points.setdefault(point["heads"], []).append(point)
    return entries[0] | {
        "order": sorted(places, key=places.__getitem__),
        "held_out": all(entry["held_out"] for entry in entries),
        "ranked_on": sum(entry["ranked_on"] for entry in entries),
        "orders": sum(entry["orders"] for entry in entries),
        "areas": None,
        "carried": None,  # each part has an order of its own
        # What only some of the parts measured would be the curve of other items.
        "points": [_pooled_point(alike) for _, alike in sorted(points.items()) if len(alike) == len(entries)],
    }


def _pooled_point(points: Sequence[CurvePointRecord]) -> CurvePointRecord:
    items, correct = sum(point["items"] for point in points), sum(point["correct"] for point in points)

    def weighted(key: Literal["mean_answer_logprob", "if_added"]) -> float | None:
        known = [
            (value, point["logprobs"]) for point in points if (value := point[key]) is not None and point["logprobs"]
        ]
        return stats.weighted_mean(*zip(*known, strict=True)) if known else None

    return {
        "heads": points[0]["heads"],
        "items": items,
        "correct": correct,
        "accuracy": correct / items,
        "ci95": list(stats.wilson(correct, items)),
        "mean_answer_logprob": weighted("mean_answer_logprob"),
        "logprobs": sum(point["logprobs"] for point in points),
        "if_added": weighted("if_added"),
    }
