"""The gate decides whether a run's answers are good enough to let a build pass; it does not depend on pytest.

A check holds the baseline answers of one dataset to one limit: its accuracy (``min-accuracy``), or how far it may fall
against a reference over the same items (``max-drop``). A check of which only some items were asked neither passes nor
fails: ``passed`` is ``None``, and ``line`` says why. Items whose tests were skipped are not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

from reasoning_probe.results import stats
from reasoning_probe.results.gate_reference import Answers, ReferenceAnswer
from reasoning_probe.results.gate_rules import EVERY, GateRules, verdict
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import GateCheckRecord, GateRecord, RegressionRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.skips import is_skipped_baseline
from reasoning_probe.utils.text import join_names, pluralise, shorten

_NAME = 40


@dataclass(frozen=True)
class GateCheck:
    """One dataset held to one limit; an entry of ``checks`` under ``gate`` in ``run.json``."""

    dataset: str
    rule: str
    limit: float
    value: float | None
    passed: bool | None
    line: str
    p_value: float | None = None
    right: int | None = None
    was_right: int | None = None
    items: int | None = None


# -- judging ------------------------------------------------------------------------------------------------------


def evaluate_gate(run: Run, rules: GateRules, reference: Answers | None) -> GateRecord:
    """Return the content of ``gate`` in ``run.json``.

    *reference* holds the answers to compare with, ``None`` where there are none or this run replaces them.
    """
    baselines: dict[str, list[Outcome]] = {name: [] for name in run.summary["datasets"]}
    skipped = Counter(str(skip["dataset"]) for skip in run.summary["skipped"])
    for name in skipped:
        baselines.setdefault(name, [])
    not_judged = {name: frozenset(ids) for name, ids in (run.summary.get("skipped_tests") or {}).items()}
    for outcome in run.outcomes:
        if outcome.target == BASELINE and not is_skipped_baseline(outcome, not_judged):
            baselines[outcome.dataset].append(outcome)
    whole = _incomplete_run(run)
    checks: list[GateCheck] = []
    regressions: list[RegressionRecord] = []
    for name, answers in baselines.items():
        by_tests = len(not_judged.get(name, ()))
        why = whole or _incomplete_dataset(run, name, len(answers) + skipped[name] + by_tests)
        without = _without(skipped[name], by_tests)
        limit = rules.limit(name)
        if limit is not None:
            checks.append(_accuracy(name, answers, without, limit, why))
        if reference is not None and name in reference:
            known = {id: earlier for id, earlier in reference[name].items() if earlier.answered}
            pairs = [(answer, known[answer.item]) for answer in answers if answer.item in known]
            checks.append(_drop(name, [(new.correct, old.correct) for new, old in pairs], rules.max_drop, why))
            regressions += [_regression(new, old) for new, old in pairs if old.correct and not new.correct]
    return {
        "passed": verdict(check.passed for check in checks),
        "checks": [cast(GateCheckRecord, asdict(check)) for check in checks],
        "notes": _notes(rules, list(baselines), reference, checks, whole),
        "regressions": regressions,
    }


def _incomplete_run(run: Run) -> str:
    partial, shard = run.summary.get("partial"), run.summary.get("shard")
    if partial:
        return f"the run ended early, with {partial['done']:,} of {pluralise(partial['planned'], 'outcome')}"
    if shard:
        return f"this is shard {shard} of the items, and the gate judges the merged run: reasoning-probe gate DIR"
    return ""


def _incomplete_dataset(run: Run, dataset: str, selected: int) -> str:
    """Say that only a part of *dataset* was selected; empty where the whole was, or where the run lacks its size."""
    entry = run.summary["datasets"].get(dataset)
    size = None if entry is None else entry.get("size")
    return f"{selected:,} of {pluralise(size, 'item')} selected" if size is not None and selected < size else ""


def _without(skipped: int, by_tests: int) -> str:
    """Say how many items were not judged: those that do not fit the model, and those whose tests were skipped."""
    parts = (f", {skipped:,} skipped" if skipped else "", f", {by_tests:,} skipped by their tests" if by_tests else "")
    return "".join(parts)


def _accuracy(dataset: str, answers: Sequence[Outcome], without: str, limit: float, why: str) -> GateCheck:
    name, required = shorten(dataset, _NAME), f"at least {percentage(limit)} required"
    correct, items = sum(answer.correct for answer in answers), len(answers)
    value = correct / items if items else None
    if why:
        return GateCheck(dataset, "min-accuracy", limit, value, None, f"{name}: not judged, {why}; {required}")
    if value is None:  # a limit that no answer shows to be reached is not reached
        return GateCheck(
            dataset, "min-accuracy", limit, None, False, f"{name}: no item was answered{without}; {required}"
        )
    line = f"{name}: {correct:,} of {items:,} right ({percentage(value)}{without}), {required}"
    return GateCheck(dataset, "min-accuracy", limit, value, value >= limit, line, right=correct, items=items)


def _drop(dataset: str, pairs: Sequence[tuple[bool, bool]], limit: float, why: str) -> GateCheck:
    """Compare the answers that are right now with those that were."""
    name, allowed = shorten(dataset, _NAME), f"at most {_points(limit)} allowed"
    lost, won = sum(old and not new for new, old in pairs), sum(new and not old for new, old in pairs)
    value = (lost - won) / len(pairs) if pairs else None
    if why:
        return GateCheck(dataset, "max-drop", limit, value, None, f"{name}: not compared with the reference, {why}")
    if value is None:
        line = f"{name}: no item was answered, so nothing compares with the reference; a drop of {allowed}"
        return GateCheck(dataset, "max-drop", limit, None, False, line)
    fell = f"accuracy dropped by {_points(value)}" if value > 0 else "accuracy did not drop"
    line = f"{name}: {fell} ({lost:,} lost, {won:,} won of {pluralise(len(pairs), 'item')}), {allowed}"
    right, was_right = (sum(pair[side] for pair in pairs) for side in (0, 1))
    p = float(stats.mcnemar(lost, won))
    return GateCheck(dataset, "max-drop", limit, value, value <= limit, line, p, right, was_right, len(pairs))


def _regression(answer: Outcome, earlier: ReferenceAnswer) -> RegressionRecord:
    return {
        "dataset": answer.dataset,
        "item": answer.item,
        "question": answer.question,
        "expected": answer.expected,
        "answer": answer.answer,
        "before": earlier.answer,
        "category": answer.category,
    }


def _notes(
    rules: GateRules, datasets: Sequence[str], reference: Answers | None, checks: Sequence[GateCheck], whole: str
) -> list[str]:
    """Return the sentences that a reader of the verdict needs."""
    notes = []
    judged = {check.dataset for check in checks}
    if free := [shorten(name, _NAME) for name in datasets if name not in judged]:
        notes.append(f"No limit for {join_names(free)}.")
    if absent := [shorten(name, _NAME) for name in rules.min_accuracy if name not in {EVERY, *datasets}]:
        notes.append(f"No item of {join_names(absent)} was asked.")
    if reference is not None and (rest := [shorten(name, _NAME) for name in reference if name not in datasets]):
        notes.append(f"The reference also holds {join_names(rest)}.")
    if not checks and (whole or not datasets):
        notes.append(f"Nothing was judged: {whole or 'no item was answered'}.")
    return notes


def percentage(share: float) -> str:
    """Return a share in per cent, with the digits that a comparison with a limit needs.

    >>> percentage(0.9), percentage(0.8989), percentage(2 / 3)
    ('90 %', '89.89 %', '66.67 %')
    """
    return f"{100 * share:.4g} %"


def _points(share: float) -> str:
    value = f"{100 * share:.4g}"
    return f"{value} point{'' if value == '1' else 's'}"
