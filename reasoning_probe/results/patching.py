"""What patching shows: on how many items the answer becomes the other question's, beside the control.

A head that is patched from the counterfactual may change the answer because it carries it, or because any change of
what it gives disturbs the model. The control tells them apart: the same-answer twin is as far from the item, and each
donor serves one item. Where it does not matter which of the two is patched, either may have made the other question's
answer, so the test is the exact test of paired shares (McNemar 1947) on items that the model answers right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reasoning_probe.results import stats
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import HeadSelectionRecord, PatchRecord
from reasoning_probe.results.screening import unmeasured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

PATCH, CONTROL = "patch", "patch-same"


def patch_records(outcomes: Iterable[Outcome], screening: Sequence[HeadSelectionRecord] = ()) -> list[PatchRecord]:
    """Return what each patched target of *outcomes* does; empty where nothing was patched from a counterfactual.

    Without the control there are counts and no tests. The p-values are adjusted over all targets of all datasets
    (discrete Holm); those that a *screening* left out count, too.
    """
    right: dict[str, dict[str, bool]] = {}  # by dataset and item, whether the answer is right as it is
    cases: dict[tuple[str, str], dict[str, dict[str, Outcome]]] = {}  # by dataset and target, then arm and item
    for outcome in outcomes:
        if outcome.target == BASELINE:
            right.setdefault(outcome.dataset, {})[outcome.item] = outcome.correct
        elif outcome.ablation in (PATCH, CONTROL):
            arms = cases.setdefault((outcome.dataset, outcome.target), {})
            arms.setdefault(outcome.ablation, {})[outcome.item] = outcome
    records = [
        _record(dataset, target, arms, right.get(dataset, {}))
        for (dataset, target), arms in cases.items()
        if PATCH in arms
    ]
    return _adjusted(records, screening)


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


def _record(dataset: str, target: str, arms: dict[str, dict[str, Outcome]], right: dict[str, bool]) -> PatchRecord:
    """Return the counts of one target over the right items of both arms, or of ``patch`` where there is no control."""
    import numpy as np

    patched, control = arms[PATCH], arms.get(CONTROL)
    items = [item for item in patched if right.get(item) and (control is None or item in control)]
    became = np.array([bool(patched[item].became_counterfactual) for item in items], dtype=bool)
    row: PatchRecord = {
        "target": target,
        "dataset": dataset,
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


def _adjusted(records: list[PatchRecord], screening: Sequence[HeadSelectionRecord]) -> list[PatchRecord]:
    tested = [row for row in records if row["p_value"] is not None]
    left_out = sum(
        unmeasured(screening, dataset, PATCH, [row["target"] for row in tested if row["dataset"] == dataset])
        for dataset in dict.fromkeys(row["dataset"] for row in tested)
    )
    p_values = stats.discrete_holm(
        [float(row["p_value"] or 0.0) for row in tested], [row["differing"] or 0 for row in tested], left_out
    )
    for row, p in zip(tested, p_values, strict=True):
        row["p_adjusted"] = float(p)
    return records
