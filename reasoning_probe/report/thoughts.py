"""Thoughts in words: how many were cut, and which targets change thoughts and which only answers."""

from __future__ import annotations

from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.record import ThoughtRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise, shorten

_MOST_TARGETS = 3
"""Targets whose thoughts a sentence names."""


def thought_sentences(run: Run) -> list[str]:
    """Return how many baselines think, and what the targets change most; empty where thoughts have no limit."""
    limit = run.summary.get("think_tokens")
    if limit is None:
        return []
    baselines = [line for one in run.outcomes if one.target == BASELINE for line in one.lines]
    thinking = [line for line in baselines if line.thought is not None]
    cut = sum(bool(line.thought_cut) for line in thinking)
    if not thinking:
        return [f"No answer begins with a thought: --probe-think-tokens {limit} changes nothing."]
    sentences = [
        f"Thoughts have at most {pluralise(limit, 'token')}: {len(thinking):,} of"
        f" {pluralise(len(baselines), 'baseline answer')} follow one, and the limit ended {cut:,} of them."
    ]
    rows = sorted(run.summary.get("thoughts") or (), key=lambda row: (-row["answer_changed"], -row["thought_changed"]))
    changing = [row for row in rows if row["answer_changed"] or row["thought_changed"]]
    return [*sentences, *map(_row, changing[:_MOST_TARGETS])]


def _row(row: ThoughtRecord) -> str:
    both, only = row["both_changed"], row["answer_changed"] - row["both_changed"]
    thoughts = f"{row['thought_changed']:,} of {pluralise(row['items'], 'thought')} on {shorten(row['dataset'], 40)}"
    others = f"{pluralise(only, 'answer')} {'changes' if only == 1 else 'change'}"
    return (
        f"Without {shorten(row['target'], 40)}, {thoughts} change, and the answer after {both:,} of these;"
        f" after the same thought, {others}."
    )
