"""The summary of a run's outcomes: accuracies, paired effects and error counts for ``run.json``."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from reasoning_probe.data.items import label_of
from reasoning_probe.results import stats
from reasoning_probe.results.cards.choice import AUTO
from reasoning_probe.results.cards.describe import head_cards
from reasoning_probe.results.families import families_of, with_families, with_page_tests
from reasoning_probe.results.forms import form_changes, forms_records
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.outcome import BASELINE, Outcome, accuracy
from reasoning_probe.results.patching import patch_records
from reasoning_probe.results.rank_changes import rank_changes
from reasoning_probe.results.record import (
    CircuitRecord,
    ControlRecord,
    CurveRecord,
    DatasetRecord,
    EffectRecord,
    EngineRecord,
    ErrorCountRecord,
    FamilyRecord,
    GenerationRecord,
    HeadRecord,
    HeadSelectionRecord,
    ModelRecord,
    PathRecord,
    PromptingRecord,
    RaceRecord,
    RandomDirectionsRecord,
    ReferenceRecord,
    RestoredRecord,
    RunRecord,
    SamplingRecord,
    SkippedRecord,
    ThoughtAnchorsRecord,
    TimingRecord,
)
from reasoning_probe.results.run import SCHEMA_VERSION
from reasoning_probe.results.samples import sampled_accuracy
from reasoning_probe.results.screening import with_measured_effects
from reasoning_probe.results.skips import is_skipped_baseline
from reasoning_probe.results.thoughts import thought_records
from reasoning_probe.scoring.lm_eval_filters import flexible_match, same_number, strict_match
from reasoning_probe.utils.files import to_json_types


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run holds beside its outcomes: the settings, what was measured on the model, and what was left out.

    Heads that a *screening* left out, and those that *races* stopped, are not tested, but count in the corrections: the
    same items chose those that are. Baselines of *skipped_tests*, item ids by dataset, are compared with, but not
    counted. *describe* says which heads have a card; *heads* holds what was measured of them on the model.
    """

    model: ModelRecord
    generation: Mapping[str, GenerationRecord]
    ablation: str
    where: str = "all"
    sampling: SamplingRecord | None = None
    think_tokens: int | None = None
    formats: Mapping[str, str]
    timing: TimingRecord
    engine: EngineRecord
    versions: Mapping[str, str | None]
    skipped: Sequence[SkippedRecord] = ()
    reference: Mapping[str, ReferenceRecord] | None = None
    control: ControlRecord | None = None
    null_directions: Sequence[RandomDirectionsRecord] = ()
    prompting: PromptingRecord | None = None
    screening: Sequence[HeadSelectionRecord] = ()
    races: Sequence[RaceRecord] = ()
    curves: Sequence[CurveRecord] = ()
    skipped_tests: Mapping[str, Sequence[str]] | None = None
    describe: str = AUTO
    heads: Sequence[HeadRecord] = ()
    paths: Sequence[PathRecord] = ()
    circuits: Sequence[CircuitRecord] = ()
    restored: Sequence[RestoredRecord] = ()
    thought_anchors: Sequence[ThoughtAnchorsRecord] = ()


def summarise(outcomes: Sequence[Outcome], context: RunContext) -> RunRecord:
    """Return the content of ``run.json``: accuracies, paired effects and mistakes of *outcomes*, with its *context*.

    A plan may be partial: an effect is formed over the items with both a baseline and an ablated outcome.
    """
    groups = _by_dataset(outcomes)
    without = {name: frozenset(ids) for name, ids in (context.skipped_tests or {}).items()}
    counted = {
        name: [outcome for outcome in group if not is_skipped_baseline(outcome, without)]
        for name, group in groups.items()
    }
    answered = {name: _baselines(group) for name, group in counted.items()}
    left_out = LeftOut(context.screening, context.races)
    rows, families = _effects(groups, answered, left_out)
    patching = patch_records(outcomes, left_out)
    summary: RunRecord = {
        "schema_version": SCHEMA_VERSION,
        "model": context.model,
        "generation": dict(context.generation),
        "prompting": context.prompting or {},
        "ablation": context.ablation,
        "where": context.where,
        "reference": dict(context.reference or {}),
        "datasets": {
            name: _dataset(
                baselines,
                context.formats.get(name, "plain"),
                [family for family in families if family["dataset"] == name],
            )
            for name, baselines in answered.items()
        },
        "targets": rows,
        "families": families,
        "patching": patching,
        "rank_changes": rank_changes(rows),
        "control": context.control,
        "null_directions": list(context.null_directions),
        "paths": list(context.paths),
        "circuits": list(context.circuits),
        "restored": list(context.restored),
        "screening": with_measured_effects(context.screening, rows, families, context.races),
        "curves": list(context.curves),
        "describe": context.describe,
        "heads": head_cards(outcomes, rows, context.describe, context.control, context.heads, patching),
        "errors": _errors(outcome for group in counted.values() for outcome in group),
        "timing": context.timing,
        "engine": context.engine,
        "versions": dict(context.versions),
        "skipped": list(context.skipped),
    }
    _add_optional_parts(summary, outcomes, context)
    json_types: RunRecord = to_json_types(summary)  # as reading the file again gives it
    return json_types


def _by_dataset(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.dataset, []).append(outcome)
    return groups


def _effects(
    groups: Mapping[str, Sequence[Outcome]], answered: Mapping[str, Mapping[str, Outcome]], left_out: LeftOut
) -> tuple[list[EffectRecord], list[FamilyRecord]]:
    """Return the effects of all targets with their tests over the page, and the families of these tests."""
    rows = [row for name, group in groups.items() for row in _targets(name, group, left_out)]
    accuracies = {
        name: sum(outcome.share_correct > 0 for outcome in baselines.values()) / max(1, len(baselines))
        for name, baselines in answered.items()
    }
    families = families_of(rows, accuracies, left_out)
    return with_families(rows, families, left_out), families


def _add_optional_parts(summary: RunRecord, outcomes: Sequence[Outcome], context: RunContext) -> None:
    """Add to *summary* what only some runs have."""
    if context.sampling:
        summary["sampling"] = context.sampling
    if context.think_tokens is not None:
        summary["think_tokens"] = context.think_tokens
        summary["thoughts"] = thought_records(outcomes)
        summary["thought_anchors"] = list(context.thought_anchors)
    if context.races:
        summary["races"] = list(context.races)
    if context.skipped_tests:
        summary["skipped_tests"] = {name: list(ids) for name, ids in context.skipped_tests.items()}


def page_effects(outcomes: Iterable[Outcome], left_out: LeftOut) -> list[EffectRecord]:
    """Return the effects of *outcomes* with their tests over the page, as far as targets are named by them."""
    rows = [row for name, group in _by_dataset(outcomes).items() for row in _targets(name, group, left_out)]
    return with_page_tests(rows, left_out)


def merged_control(parts: Sequence[ControlRecord | None]) -> ControlRecord | None:
    """Return the control tasks of several processes as one; a target that two of them measured counts once."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    rows = {(row["target"], row["ablation"]): row for part in known for row in part["targets"]}
    return known[0] | {"targets": list(rows.values())}


def _baselines(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {outcome.item: outcome for outcome in outcomes if outcome.target == BASELINE}


def _dataset(baselines: Mapping[str, Outcome], format: str, families: Sequence[FamilyRecord]) -> DatasetRecord:
    answered = list(baselines.values())
    items, correct = len(answered), sum(outcome.correct for outcome in answered)
    logprobs = [known for outcome in answered if math.isfinite(known := _known(outcome.answer_logprob))]
    entry: DatasetRecord = {
        "items": items,
        "correct": correct,
        "accuracy": correct / items if items else None,
        "ci95": list(stats.wilson(correct, items)),
        "format": format,
        "mean_answer_logprob": stats.mean(logprobs) if logprobs else None,
    }
    if format == "gsm8k" and items:
        by_strict, by_flexible = _right_by(strict_match, answered), _right_by(flexible_match, answered)
        entry |= {
            "strict": sum(by_strict) / items,
            "flexible": sum(by_flexible) / items,
            "extractors_disagree": sum(map(operator.ne, by_strict, by_flexible)),
        }
    if items and all(outcome.choices for outcome in answered):
        entry |= {
            "acc": accuracy(answered),
            "acc_norm": accuracy(answered, normalised=True),
        }
    labels = Counter(label_of(outcome.expected) for outcome in answered)
    label, count = labels.most_common(1)[0] if items and None not in labels else (None, 0)
    if label is not None:
        entry["always"] = {"answer": label, "accuracy": count / items}
    if (sampled := sampled_accuracy(answered)) is not None:
        entry["sampled"] = sampled
    if families:
        tested = max(family["targets"] + family["unmeasured"] for family in families)
        entry["power"] = {
            "targets": tested,
            "flips_needed": max(family["flips_needed"] for family in families),
            "flips_needed_holm": stats.flips_needed_by_holm(tested),
        }
    return entry


def _right_by(extract: Callable[[str], str | None], answered: Sequence[Outcome]) -> list[bool]:
    """Return which answers are right by one of lm-eval's GSM8K filters, compared as exact numbers."""
    return [same_number(extract(outcome.response), outcome.expected) for outcome in answered]


def _targets(dataset: str, outcomes: Sequence[Outcome], left_out: LeftOut) -> list[EffectRecord]:
    import numpy as np

    baselines = _baselines(outcomes)
    column = {item: index for index, item in enumerate(baselines)}
    ablated: dict[str | None, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        if outcome.target != BASELINE and outcome.item in column:
            ablated.setdefault(outcome.ablation, {}).setdefault(outcome.target, []).append(outcome)
    right = np.array([float(outcome.share_correct) for outcome in baselines.values()])
    logprob = np.array([_known(outcome.answer_logprob) for outcome in baselines.values()])
    rows: list[EffectRecord] = []
    for ablation, by_target in ablated.items():
        right_off = np.full((len(by_target), len(column)), np.nan)
        logprob_off = np.full_like(right_off, np.nan)
        for row, cases in enumerate(by_target.values()):
            for case in cases:
                right_off[row, column[case.item]] = case.share_correct
                logprob_off[row, column[case.item]] = _known(case.answer_logprob)
        rest = left_out.count(dataset, ablation, by_target)
        effects = stats.paired_effects(right, right_off, logprob, logprob_off, unmeasured=rest)
        forms = forms_records([form_changes(cases, baselines) for cases in by_target.values()])
        for target, effect, by_form in zip(by_target, effects, forms, strict=True):
            shift = _shift(by_target[target], baselines)
            values = {"target": target, "dataset": dataset, "ablation": ablation, "shift": shift, **asdict(effect)}
            values["correct"] = sum(case.correct for case in by_target[target])  # by the verdict over samples
            rows.append(cast(EffectRecord, values | ({} if by_form is None else {"forms": by_form})))
    return rows


def _shift(cases: Iterable[Outcome], baselines: Mapping[str, Outcome]) -> dict[str, int]:
    """Return by how many of the paired items each kind of result changed; the entries sum to zero.

    With an off-by-one answer that became a wrong operation: ``{"off_by_one": -1, "wrong_operation": 1}``.
    """
    change: Counter[str] = Counter()
    for case in cases:
        change[_result(baselines[case.item])] -= 1
        change[_result(case)] += 1
    return {result: by for result, by in change.items() if by}


def _result(outcome: Outcome) -> str:
    return "correct" if outcome.correct else outcome.category or "unclassified"


def _known(logprob: float | None) -> float:
    return math.nan if logprob is None else logprob


def _errors(outcomes: Iterable[Outcome]) -> list[ErrorCountRecord]:
    counts = Counter(
        (outcome.dataset, outcome.target, outcome.ablation, outcome.category, outcome.kind)
        for outcome in outcomes
        if not outcome.correct
    )
    return [
        {"dataset": dataset, "target": target, "ablation": ablation, "category": category, "kind": kind, "count": count}
        for (dataset, target, ablation, category, kind), count in counts.items()
    ]
