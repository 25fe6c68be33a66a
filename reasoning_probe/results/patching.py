"""What patching shows: on how many items the answer becomes the other question's, beside the control.

A head that is patched from the counterfactual may change the answer because it carries it, or because any change of
what it gives disturbs the model. The control tells them apart: the same-answer twin is as far from the item, and each
donor serves one item. Where it does not matter which of the two is patched, either may have made the other question's
answer, so the test is the exact test of paired shares (McNemar 1947) on items that the model answers right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

from reasoning_probe.results import stats
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import PatchRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

PATCH, CONTROL, RESTORE = "patch", "patch-same", "restore"


def patch_records(outcomes: Iterable[Outcome], left_out: LeftOut | None = None) -> list[PatchRecord]:
    """Return what each patched target of *outcomes* does; empty where nothing was patched but for the control.

    Without the control, and under ``restore``, there are counts and no tests. The p-values are adjusted over all
    targets of all datasets (discrete Holm); those *left_out* by a screening or a race count, too.
    """
    right: dict[str, set[str]] = {}  # by dataset, the items whose answer is right as it is
    cases: dict[tuple[str, str, str | None], dict[str, Outcome]] = {}  # by dataset, target and ablation, then item
    for outcome in outcomes:
        if outcome.target != BASELINE:
            cases.setdefault((outcome.dataset, outcome.target, outcome.ablation), {})[outcome.item] = outcome
        elif outcome.correct:
            right.setdefault(outcome.dataset, set()).add(outcome.item)
    records = [
        _record(right.get(dataset, set()), patched, cases.get((dataset, target, CONTROL)))
        for (dataset, target, ablation), patched in cases.items()
        if ablation in (PATCH, RESTORE)
    ]
    return _adjusted(records, left_out or LeftOut())


def paired_test(became: Any, control_became: Any) -> tuple[Any, Any]:
    """Return the p-values of targets, and on how many items the arms differ: ``(targets,)`` each.

    *became* and *control_became* are ``(targets, items)`` bool: whether the answer is the other question's.
    """
    more, fewer = (became & ~control_became).sum(-1), (control_became & ~became).sum(-1)
    return stats.mcnemar(more, fewer), more + fewer


def shows_answer(row: PatchRecord) -> bool:
    """Whether the target carries the answer: more answers become the other question's than in the control."""
    control = row["control_became"]
    return stats.is_significant(row["p_adjusted"]) and control is not None and row["became"] > control


def _record(right: Set[str], patched: Mapping[str, Outcome], control: Mapping[str, Outcome] | None) -> PatchRecord:
    """Return the counts of one target over the *right* items of both arms, or of one where there is no control."""
    import numpy as np

    first = next(iter(patched.values()))
    items = [item for item in patched if item in right and (control is None or item in control)]
    became = np.array([bool(patched[item].became_counterfactual) for item in items], dtype=bool)
    row: PatchRecord = {
        "target": first.target,
        "dataset": first.dataset,
        "ablation": str(first.ablation),
        "items": len(items),
        "became": int(became.sum()),
        "changed": sum(not patched[item].correct for item in items),
        "control_became": None,
        "control_changed": None,
        "differing": None,
        "p_value": None,
        "p_adjusted": None,
    }
    if control is not None:
        other = np.array([bool(control[item].became_counterfactual) for item in items], dtype=bool)
        p_value, differing = paired_test(became, other)
        row |= {
            "control_became": int(other.sum()),
            "control_changed": sum(not control[item].correct for item in items),
            "differing": int(differing),
            "p_value": float(p_value),
        }
    return row


def _adjusted(records: list[PatchRecord], left_out: LeftOut) -> list[PatchRecord]:
    tested = [row for row in records if row["p_value"] is not None]
    unmeasured = sum(
        left_out.count(dataset, PATCH, [row["target"] for row in tested if row["dataset"] == dataset])
        for dataset in dict.fromkeys(row["dataset"] for row in tested)
    )
    p_values = stats.discrete_holm(
        [float(row["p_value"] or 0.0) for row in tested], [row["differing"] or 0 for row in tested], unmeasured
    )
    for row, p in zip(tested, p_values, strict=True):
        row["p_adjusted"] = float(p)
    return records
