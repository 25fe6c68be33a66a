"""What a run says, in plain sentences: what was found, and what could not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import ALPHA
from reasoning_probe.utils.target_names import cell_of, head_of, layer_of
from reasoning_probe.utils.text import pluralise

Row = Mapping[str, Any]
Finding = Literal["found", "none", "few_items", "few_right", "floor"]

LEAST_NATS = 0.01
"""Smaller changes of the log-probability can be significant, too, but are not worth a sentence."""


def significant(row: Row) -> bool:
    """Whether the target changes the accuracy, after Holm's correction."""
    return bool(row["p_adjusted"] <= ALPHA)


def moves_logprob(row: Row) -> bool:
    """Whether the target changes the log-probability of the expected answer, after Holm's correction."""
    p = row.get("logprob_p_adjusted")
    return p is not None and bool(p <= ALPHA)


def answer_changed(outcome: Outcome, baseline: Outcome) -> bool:
    """Whether switching the target off changed what the model answered; the wording of a response may differ."""
    return outcome.answer != baseline.answer or outcome.correct != baseline.correct


@dataclass(frozen=True)
class EffectGroup:
    """The effects on one dataset under one ablation, the strongest first."""

    dataset: str
    ablation: str
    entry: Mapping[str, Any]
    rows: tuple[Row, ...]
    screened: bool = False

    @property
    def items(self) -> int:
        """How many items the best measured target has."""
        return max(int(row["items"]) for row in self.rows)

    @property
    def flips_needed(self) -> int:
        """How many items must flip one way for the strongest target to be significant."""
        return int((self.entry.get("power") or {}).get("flips_needed", 1))

    @property
    def significant(self) -> list[Row]:
        """The targets that change the accuracy."""
        return [row for row in self.rows if significant(row)]

    @property
    def with_logprob_effect(self) -> list[Row]:
        """The targets that change the log-probability by :data:`LEAST_NATS` or more, the strongest first."""
        found = [row for row in self.rows if moves_logprob(row) and abs(row["delta_logprob"] or 0.0) >= LEAST_NATS]
        return sorted(found, key=lambda row: -abs(row["delta_logprob"]))

    @property
    def floor(self) -> bool:
        """Whether no baseline answer is right, so that nothing can be lost."""
        return bool(self.entry["correct"] == 0)

    @property
    def finding(self) -> Finding:
        """What can be said of this dataset's targets."""
        if self.significant:
            return "found"
        if self.floor:
            return "floor"
        if self.items < self.flips_needed:
            return "few_items"
        return "few_right" if self.entry["correct"] < self.flips_needed else "none"

    @property
    def noun(self) -> str:
        """What the targets are: ``head``, ``layer`` or ``target``."""
        if all(head_of(row["target"]) for row in self.rows):
            return "head"
        return "layer" if all(layer_of(row["target"]) is not None for row in self.rows) else "target"

    @property
    def counted(self) -> str:
        """How many targets were measured: ``144 heads``, or ``40 measured heads`` where a screening chose them."""
        return pluralise(len(self.rows), f"measured {self.noun}" if self.screened else self.noun)


def groups(run: Run) -> list[EffectGroup]:
    """Return the effects of *run* by dataset and ablation, in the order of the datasets."""
    found: dict[tuple[str, str], list[Row]] = {}
    for name in run.summary["datasets"]:
        for row in run.summary["targets"]:
            if row["dataset"] == name:
                found.setdefault((name, str(row["ablation"])), []).append(row)
    screened = {
        (entry["dataset"], str(entry["ablation"]))
        for entry in run.summary.get("screening") or ()
        if entry["sampled"] < entry["rest"]
    }
    return [
        EffectGroup(*key, run.summary["datasets"][key[0]], tuple(sorted(rows, key=_strength)), key in screened)
        for key, rows in found.items()
    ]


def _strength(row: Row) -> tuple[bool, float, float]:
    """Sort key: what is significant first, then by the size of the effect, then by the log-probability's."""
    return not significant(row), -abs(row["delta"]), -abs(row["delta_logprob"] or 0.0)


def error_counts(run: Run, *, ablated: bool, dataset: str | None = None) -> dict[str, int]:
    """Return the wrong answers by category, the commonest first, of the baseline or of all ablated cases."""
    counts: dict[str, int] = {}
    for row in run.summary["errors"]:
        if (row["target"] != BASELINE) == ablated and dataset in (None, row["dataset"]) and row["count"] > 0:
            category = row["category"] or "unclassified"
            counts[category] = counts.get(category, 0) + row["count"]
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def by_cell(rows: Iterable[Row]) -> dict[tuple[int, str], Row]:
    """Return the single heads, key/value groups and MLPs among *rows* by (layer, column)."""
    return {cell: row for row in rows if (cell := cell_of(row["target"])) is not None}


def columns_of(rows: Sequence[Row], heads: int) -> list[str]:
    """Return the columns of a map of *rows*: all *heads* if any was off alone, groups and MLP where they were off."""
    found = {column for _, column in by_cell(rows)}
    groups = sorted((column for column in found if column.startswith("KV")), key=lambda column: int(column[2:]))
    every = [f"H{head}" for head in range(heads)] if any(column.startswith("H") for column in found) else []
    return [*every, *groups, *(["MLP"] if "MLP" in found else [])]


def in_layer_order(rows: Iterable[Row]) -> dict[tuple[int, int], Row]:
    """Return the single heads among *rows* by (layer, head)."""
    return {head: row for row in rows if (head := head_of(row["target"])) is not None}
