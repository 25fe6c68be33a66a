"""What patching shows: on how many items the answer becomes the other question's, beside two kinds of chance.

A head that is patched from the counterfactual may change the answer because it carries it, or because any change of
what it gives disturbs the model. Two exact tests on items that the model answers right tell them apart, and a target is
named by the larger p-value:

- *the control*: the same-answer twin is as far from the item, and each donor serves one item. Where it does not matter
  which of the two is patched, either may have made the other question's answer (McNemar 1947).
- *dealing*: where it does not matter which of the counterfactuals is patched, the patched answers match those of other
  items' counterfactuals as often as those of their own. These are dealt anew within the items of one form whose
  numbers move the same way, as moves from the item's own answer, or which have the same answer.

Where the counterfactuals' answers are so much alike that dealing could not tell, as with yes and no, the control alone
decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.items import comparable, infer_kind
from reasoning_probe.results import stats
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import PatchRecord
from reasoning_probe.utils.numbers import parse_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

PATCH, CONTROL, RESTORE = "patch", "patch-same", "restore"

TOO_MUCH_ALIKE = 0.5
"""Where so large a share of answers that all are the other questions' still match dealt ones, dealing tells nothing."""


BLOCK = 250
"""The most items among which counterfactuals' answers are dealt."""


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


def dealt_test(
    answers: Sequence[Hashable], others: Sequence[Hashable], strata: Sequence[Hashable]
) -> stats.Matches | None:
    """Test whether *answers* match the *others*, those of their own counterfactuals, more often than dealt ones.

    ``None`` where the others of a stratum are too much alike for dealing to tell (:data:`TOO_MUCH_ALIKE`).
    """
    blocks = _blocks(strata)
    return None if stats.chance_share(others, blocks) >= TOO_MUCH_ALIKE else stats.matches(answers, others, blocks)


def _blocks(strata: Sequence[Hashable]) -> list[tuple[Hashable, int]]:
    """Return *strata* in blocks of at most :data:`BLOCK` items, in their order: more would take too long."""
    sizes: Counter[Hashable] = Counter()
    blocks = []
    for stratum in strata:
        blocks.append((stratum, sizes[stratum] // BLOCK))
        sizes[stratum] += 1
    return blocks


def shows_answer(row: PatchRecord) -> bool:
    """Whether the target carries the answer: more answers become the other question's than in the control.

    So do more than in the mean over dealt counterfactuals; runs of earlier versions know the control alone.
    """
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
        "dealt_became": None,
        "dealt_p_value": None,
    }
    if control is not None:
        other = np.array([bool(control[item].became_counterfactual) for item in items], dtype=bool)
        p_value, differing = paired_test(became, other)
        dealt = _dealt([patched[item] for item in items])
        row |= {
            "control_became": int(other.sum()),
            "control_changed": sum(not control[item].correct for item in items),
            "differing": int(differing),
            "p_value": float(p_value),
            "dealt_became": None if dealt is None else dealt.expected,
            "dealt_p_value": None if dealt is None else dealt.p,
        }
    return row


def _dealt(patched: Sequence[Outcome]) -> stats.Matches | None:
    """Test the answers of one target against dealt counterfactuals; ``None`` in runs that do not know their answers."""
    if any(outcome.counterfactual is None for outcome in patched):
        return None
    triples = [_as_move(outcome, outcome.counterfactual or "") for outcome in patched]
    return dealt_test(*zip(*triples, strict=True)) if triples else None


def _as_move(outcome: Outcome, counterfactual: str) -> tuple[Hashable, Hashable, Hashable]:
    """Return the answer and the counterfactual's as seen from the item's own, and among which items they are dealt.

    Numbers are differences from the item's answer. A patched answer that cannot be compared is ``None``.
    """
    kind = infer_kind(outcome.expected)
    if kind == "number":
        expected, other, answer = map(parse_number, (outcome.expected, counterfactual, outcome.answer or ""))
        if expected is not None and other is not None:
            return None if answer is None else answer - expected, other - expected, (outcome.form, other > expected)
    answer_value = None if outcome.answer is None else comparable(outcome.answer, kind)
    return answer_value, comparable(counterfactual, kind), (outcome.form, comparable(outcome.expected, kind))


def _adjusted(records: list[PatchRecord], left_out: LeftOut) -> list[PatchRecord]:
    tested = [row for row in records if row["p_value"] is not None]
    unmeasured = sum(
        left_out.count(dataset, PATCH, [row["target"] for row in tested if row["dataset"] == dataset])
        for dataset in dict.fromkeys(row["dataset"] for row in tested)
    )
    larger = [max(row["p_value"] or 0.0, row.get("dealt_p_value") or 0.0) for row in tested]
    p_values = stats.discrete_holm(larger, [row["differing"] or 0 for row in tested], unmeasured)
    for row, p in zip(tested, p_values, strict=True):
        row["p_adjusted"] = float(p)
    return records
