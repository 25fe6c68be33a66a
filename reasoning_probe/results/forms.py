"""Effects by form: whether a head matters for a dataset, or only for some of the forms that its questions take.

Items of one form (a template, a form of argument, an operation) are no independent sample of a dataset: a head that one
form needs loses all of its items together. So beside the test over items stands one over forms. It counts the forms
whose items lose more right answers than they win, and those that win more, and is the exact sign test of these two
numbers. The design effect says how much wider the interval of a change would be if forms were sampled and not items
(Kish 1965, "Survey sampling").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import FormChangeRecord, FormsRecord
from reasoning_probe.results.stats import discrete_holm, mcnemar


@dataclass(frozen=True)
class FormChange:
    """How the items of one form changed under a target: how many of them were lost and how many won."""

    form: str
    items: int
    lost: int
    won: int


def form_changes(cases: Iterable[Outcome], baselines: Mapping[str, Outcome]) -> list[FormChange]:
    """Return the changes from *baselines* (by item) to *cases* by form, in the order of the forms' first items.

    Items without a form are left out.
    """
    counts: dict[str, list[int]] = {}
    for case in cases:
        baseline = baselines[case.item]
        if case.form is not None:
            count = counts.setdefault(case.form, [0, 0, 0])
            count[0] += 1
            count[1] += case.share_correct < baseline.share_correct
            count[2] += case.share_correct > baseline.share_correct
    return [FormChange(form, *count) for form, count in counts.items()]


def design_effect(changes: Sequence[FormChange]) -> float | None:
    """Return the variance of the mean change with forms as the sampling unit, over that with items as the unit.

    It is ``None`` for fewer than two forms, and where no item changed or all changed alike.
    """
    items = sum(change.items for change in changes)
    if len(changes) < 2:
        return None
    mean = sum(change.won - change.lost for change in changes) / items
    squares = sum(change.won + change.lost for change in changes) - items * mean**2
    if squares <= 1e-9:
        return None
    by_item = squares / (items * (items - 1))
    totals = math.fsum((change.won - change.lost - change.items * mean) ** 2 for change in changes)
    return len(changes) / (len(changes) - 1) * totals / items**2 / by_item


def forms_records(changes_by_target: Sequence[Sequence[FormChange]]) -> list[FormsRecord | None]:
    """Return the record of each target's changes by form; the p-values are adjusted over the targets (discrete Holm).

    A target whose items have fewer than two forms has none.
    """
    tested = [index for index, changes in enumerate(changes_by_target) if len(changes) > 1]
    losing = [sum(change.lost > change.won for change in changes_by_target[index]) for index in tested]
    winning = [sum(change.won > change.lost for change in changes_by_target[index]) for index in tested]
    p_values = mcnemar(losing, winning)
    adjusted_p = discrete_holm(p_values, [lose + win for lose, win in zip(losing, winning, strict=True)])
    records: list[FormsRecord | None] = [None] * len(changes_by_target)
    for place, (index, adjusted) in enumerate(zip(tested, adjusted_p, strict=True)):
        changes = changes_by_target[index]
        by_form: list[FormChangeRecord] = [
            {"form": change.form, "items": change.items, "lost": change.lost, "won": change.won}
            for change in changes
            if change.lost or change.won
        ]
        records[index] = {
            "number": len(changes),
            "losing": losing[place],
            "winning": winning[place],
            "p_value": float(p_values[place]),
            "p_adjusted": float(adjusted),
            "design_effect": design_effect(changes),
            "changes": by_form,
        }
    return records
