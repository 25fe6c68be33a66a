"""Thoughts: which targets change what a model thinks, and which change only what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import ThoughtAnchorsRecord, ThoughtRecord


def thought_records(outcomes: Iterable[Outcome]) -> list[ThoughtRecord]:
    """Return what each target changes in thoughts, over the items whose baseline has one; empty where none has.

    Of sampled answers each sample counts.
    """
    lines = [line for outcome in outcomes for line in outcome.lines]
    baselines = {(line.item_key, line.sample): line for line in lines if line.target == BASELINE}
    counts: dict[tuple[str, str, str | None], list[int]] = {}
    for line in lines:
        baseline = baselines.get((line.item_key, line.sample))
        if line.target == BASELINE or baseline is None or baseline.thought is None:
            continue
        thought, answer = line.thought != baseline.thought, line.answer != baseline.answer
        count = counts.setdefault((line.dataset, line.target, line.ablation), [0, 0, 0, 0])
        for place, counted in enumerate((True, thought, answer, thought and answer)):
            count[place] += counted
    return [
        {
            "target": target,
            "dataset": dataset,
            "ablation": ablation,
            "items": items,
            "thought_changed": thoughts,
            "answer_changed": answers,
            "both_changed": both,
        }
        for (dataset, target, ablation), (items, thoughts, answers, both) in counts.items()
    ]


def merged_anchors(parts: Sequence[Sequence[ThoughtAnchorsRecord] | None]) -> list[ThoughtAnchorsRecord]:
    """Return the thoughts of several processes as one list, each item once."""
    by_item = {(row["dataset"], row["item"]): row for part in parts for row in part or ()}
    return list(by_item.values())
