"""The effects of a run's targets by dataset and ablation, and the rules by which they are judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning_probe.results.naming import median_nats, named_logprob, significant, significant_on_page
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import DatasetRecord, EffectRecord, FamilyRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.target_names import cell_of, head_of, layer_of
from reasoning_probe.utils.text import pluralise

Finding = Literal["found", "none", "few_items", "few_right", "floor"]


def answer_changed(outcome: Outcome, baseline: Outcome) -> bool:
    """Whether switching the target off changed what the model answered; the wording of a response may differ."""
    return outcome.answer != baseline.answer or outcome.correct != baseline.correct


@dataclass(frozen=True)
class EffectGroup:
    """The effects of all targets on one dataset under one ablation, the strongest first.

    ``entry`` is the dataset's record; ``screened`` says that a screening or a race chose which targets were measured.
    ``family`` is what the targets could have shown together; runs of earlier versions hold none.
    """

    dataset: str
    ablation: str
    entry: DatasetRecord
    rows: tuple[EffectRecord, ...]
    screened: bool = False
    family: FamilyRecord | None = None

    @property
    def items(self) -> int:
        """The number of items of the target that was measured on most of them."""
        return max(int(row["items"]) for row in self.rows)

    @property
    def flips_needed(self) -> int:
        """The number of items that must flip one way for the strongest target to be significant."""
        if self.family is not None:
            return self.family["flips_needed"]
        power = self.entry.get("power")
        return power["flips_needed"] if power else 1

    @property
    def smallest_effect(self) -> float | None:
        """The loss of accuracy that 80 % of such runs would name, as a fraction; ``None`` where none is known."""
        return self.family["smallest_effect"] if self.family is not None else None

    @property
    def marked(self) -> list[EffectRecord]:
        """The targets that change the accuracy, of all targets of this map."""
        return [row for row in self.rows if significant(row)]

    @property
    def significant(self) -> list[EffectRecord]:
        """The targets that change the accuracy, of all targets of all maps on the page: sentences name these."""
        return [row for row in self.rows if significant_on_page(row)]

    def inflated(self, row: EffectRecord) -> bool:
        """Whether a named effect is so small that most runs would miss it: those that name it show too large a one."""
        smallest = self.smallest_effect
        return self.family is not None and significant(row) and (smallest is None or abs(row["delta"]) < smallest)

    @property
    def with_logprob_effect(self) -> list[EffectRecord]:
        """The targets that change the log-probability enough to be named, the strongest first."""
        rows = [row for row in self.rows if named_logprob(row)]
        return sorted(rows, key=lambda row: -abs(median_nats(row)))

    @property
    def can_be_lost(self) -> int:
        """The items that are answered right with nothing switched off, by any sample where there are several."""
        sampled = self.entry.get("sampled")
        if not sampled or not sampled["pass_at"]:
            return self.entry["correct"]
        return round(sampled["pass_at"][-1]["value"] * self.entry["items"])

    @property
    def floor(self) -> bool:
        """Whether no baseline answer is right, so that nothing can be lost."""
        return self.can_be_lost == 0

    @property
    def finding(self) -> Finding:
        """Whether a target matters (``found``), none does (``none``), or why nothing can be significant."""
        if self.significant:
            return "found"
        if self.floor:
            return "floor"
        if self.items < self.flips_needed:
            return "few_items"
        return "few_right" if self.can_be_lost < self.flips_needed else "none"

    @property
    def noun(self) -> str:
        """What the targets are: ``head``, ``layer`` or ``target``."""
        if all(head_of(row["target"]) for row in self.rows):
            return "head"
        return "layer" if all(layer_of(row["target"]) is not None for row in self.rows) else "target"

    @property
    def counted(self) -> str:
        """The number of targets as text: ``144 heads``, or ``40 measured heads`` where not all were."""
        return pluralise(len(self.rows), f"measured {self.noun}" if self.screened else self.noun)


def groups(run: Run) -> list[EffectGroup]:
    """Return the effects of *run* by dataset and ablation, in the order of the datasets."""
    rows_by_key: dict[tuple[str, str], list[EffectRecord]] = {}
    for name in run.summary["datasets"]:
        for row in run.summary["targets"]:
            if row["dataset"] == name:
                rows_by_key.setdefault((name, str(row["ablation"])), []).append(row)
    families = {(family["dataset"], str(family["ablation"])): family for family in run.summary.get("families") or ()}
    screened = {
        (entry["dataset"], str(entry["ablation"]))
        for entry in run.summary.get("screening") or ()
        if entry["sampled"] < entry["rest"]
    }
    screened |= {(race["dataset"], str(race["ablation"])) for race in run.summary.get("races") or () if race["stopped"]}
    return [
        EffectGroup(
            *key,
            run.summary["datasets"][key[0]],
            tuple(sorted(rows, key=_strength)),
            key in screened,
            families.get(key),
        )
        for key, rows in rows_by_key.items()
    ]


def _strength(row: EffectRecord) -> tuple[bool, float, float]:
    """Return a sort key: significant targets first, then by the size of the effects on accuracy and log-probability."""
    return not significant(row), -abs(row["delta"]), -abs(row["delta_logprob"] or 0.0)


def error_counts(run: Run, *, ablated: bool, dataset: str | None = None) -> dict[str, int]:
    """Return the wrong answers by category, the commonest first, of the baseline or of all ablated cases."""
    counts: dict[str, int] = {}
    for row in run.summary["errors"]:
        if (row["target"] != BASELINE) == ablated and dataset in (None, row["dataset"]) and row["count"] > 0:
            category = row["category"] or "unclassified"
            counts[category] = counts.get(category, 0) + row["count"]
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def by_cell(rows: Iterable[EffectRecord]) -> dict[tuple[int, str], EffectRecord]:
    """Return the single heads, key/value groups and MLPs among *rows* by (layer, column)."""
    return {cell: row for row in rows if (cell := cell_of(row["target"])) is not None}


def columns_of(rows: Sequence[EffectRecord], heads: int) -> list[str]:
    """Return the columns of a map of *rows*: all *heads* if any was off alone, groups and MLP where they were off."""
    names = {column for _, column in by_cell(rows)}
    groups = sorted((column for column in names if column.startswith("KV")), key=lambda column: int(column[2:]))
    every = [f"H{head}" for head in range(heads)] if any(column.startswith("H") for column in names) else []
    return [*every, *groups, *(["MLP"] if "MLP" in names else [])]


def in_layer_order(rows: Iterable[EffectRecord]) -> dict[tuple[int, int], EffectRecord]:
    """Return the single heads among *rows* by (layer, head)."""
    return {head: row for row in rows if (head := head_of(row["target"])) is not None}
