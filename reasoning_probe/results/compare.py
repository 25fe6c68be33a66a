"""Comparison of two runs of the same items: the answers, accuracies and effects that changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.results import stats
from reasoning_probe.results.confirmation import Confirmation, confirmations
from reasoning_probe.results.outcome import BASELINE, ItemKey, Outcome
from reasoning_probe.results.record import RunRecord, SamplingRecord, prompting_of, where_of
from reasoning_probe.results.run import Run, RunError
from reasoning_probe.utils.text import pluralise, to_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Named = tuple[Path, Run]
"""A run with the folder that it was read from, which messages name."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class Changed:
    """An item with another answer, or another verdict, in the second run."""

    first: Outcome
    second: Outcome

    @property
    def what(self) -> str:
        """``lost``, ``won``, or ``other`` for another answer with the same verdict."""
        if self.first.correct == self.second.correct:
            return "other"
        return "lost" if self.first.correct else "won"


@dataclass(frozen=True)
class DatasetChange:
    """The accuracy of both runs on one dataset; ``effect`` is paired, its ``p_discrete`` is over the datasets."""

    dataset: str
    first_correct: int
    effect: stats.Effect


@dataclass(frozen=True)
class TargetChange:
    """How the effect of one target differs between the runs, over the items that have all four outcomes.

    ``first`` and ``second`` are its effects on the accuracy, ``change`` their difference; the same for the
    log-probability. Both changes have exact sign tests, over the items on which the effect grew or shrank. The adjusted
    p-values are these after discrete Holm over all targets of all datasets and ablations.
    """

    dataset: str
    ablation: str
    target: str
    first: float
    second: float
    change: stats.MeanChange
    first_logprob: float | None
    second_logprob: float | None
    change_logprob: stats.MeanChange
    p_adjusted: float | None = None
    logprob_p_adjusted: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the effect on the accuracy, or on the log-probability, changed; each test has half of the level."""
        return any(stats.is_significant(p) for p in (self.p_adjusted, self.logprob_p_adjusted))


@dataclass(frozen=True)
class Comparison:
    """The result of :func:`compare`; ``settings`` are those that differ, ``notes`` say what was left out."""

    settings: list[tuple[str, str, str]]
    notes: list[str]
    datasets: list[DatasetChange]
    changed: list[Changed]
    targets: list[TargetChange]
    confirmations: list[Confirmation] = field(default_factory=list)


def compare(first: Named, second: Named, *, common: bool = False) -> Comparison:
    """Compare the second run with the first, item by item.

    Raises :class:`RunError`, one line that names items, where the runs did not ask the same ones; with *common* the
    items that both asked are compared. Where they share none, the second run can still confirm what the first names.
    """
    a, b = _baselines(first[1]), _baselines(second[1])
    shared = [item for item in a if item in b and _asks(a[item]) == _asks(b[item])]
    confirmed = confirmations(first[1], second[1]) if _shape(first[1].summary) == _shape(second[1].summary) else []
    if not (confirmed and not shared) and (not shared or (len(shared) < max(len(a), len(b)) and not common)):
        raise RunError(_mismatch(first[0], second[0], a, b, shared))
    left = len(a.keys() | b.keys()) - len(shared) if shared else 0
    notes = [f"{left:,} items that only one of the runs asked are left out"] if left else []
    prompts = sum(a[item].prompt != b[item].prompt for item in shared)
    if prompts:
        notes.append(f"{prompts:,} of {len(shared):,} prompts differ")
    return Comparison(
        settings=differing_settings(first[1].summary, second[1].summary),
        notes=[*notes, *_head_mismatch(first[1].summary, second[1].summary)],
        datasets=_datasets(shared, a, b),
        changed=[Changed(a[item], b[item]) for item in shared if _verdict(a[item]) != _verdict(b[item])],
        targets=_adjusted(_targets(first[1], second[1], shared)),
        confirmations=confirmed,
    )


def _baselines(run: Run) -> dict[ItemKey, Outcome]:
    return {outcome.item_key: outcome for outcome in run.outcomes if outcome.target == BASELINE}


def _asks(outcome: Outcome) -> tuple[str, str]:
    return outcome.question, outcome.expected


def _verdict(outcome: Outcome) -> tuple[str | None, bool]:
    return outcome.answer, outcome.correct


def _mismatch(
    first: Path, second: Path, a: Mapping[ItemKey, Any], b: Mapping[ItemKey, Any], shared: Sequence[ItemKey]
) -> str:
    """Return the message that names the items the runs do not share, and what to do."""
    parts = [
        f"{folder} alone asked {_names(alone)}"
        for folder, alone in ((first, [item for item in a if item not in b]), (second, [i for i in b if i not in a]))
        if alone
    ]
    same = set(shared)
    other = [item for item in a if item in b and item not in same]
    if other:
        parts.append(f"both have {_names(other)}, with another question or answer")
    if not a or not b:
        empty = [folder for folder, answered in ((first, a), (second, b)) if not answered]
        parts = [f"{folder} has no answer with nothing switched off" for folder in empty]
    remedy = "--common compares what both asked" if shared else "nothing can be compared"
    return f"{'; '.join(parts)}: {remedy}"


def _names(items: Sequence[ItemKey]) -> str:
    words = ([part if part.isprintable() else ascii(part) for part in item] for item in items[:_MOST_NAMED])
    named = ", ".join(" ".join(item)[:80] for item in words)
    return named + (f" and {len(items) - _MOST_NAMED:,} more" if len(items) > _MOST_NAMED else "")


def differing_settings(a: RunRecord, b: RunRecord) -> list[tuple[str, str, str]]:
    """Return the settings that differ: the name, and the value in either run."""
    pairs = [(f"model {key}", a["model"].get(key), b["model"].get(key)) for key in {**a["model"], **b["model"]}]
    pairs.append(("ablation", a["ablation"], b["ablation"]))
    pairs.append(("where heads are off", where_of(a), where_of(b)))
    for dataset in a["generation"].keys() & b["generation"].keys():
        for key in ("max_new_tokens", "stop"):
            pairs.append((f"{dataset} {key}", a["generation"][dataset][key], b["generation"][dataset][key]))
    pairs += _sampling_pairs(a.get("sampling"), b.get("sampling"))
    pairs.append(("tokens of a thought", a.get("think_tokens"), b.get("think_tokens")))
    prompting = prompting_of(a), prompting_of(b)
    pairs += [
        (f"prompting {key}", prompting[0].get(key), prompting[1].get(key)) for key in {**prompting[0], **prompting[1]}
    ]
    for key in {**a["versions"], **b["versions"]}:
        pairs.append((f"version of {key}", a["versions"].get(key), b["versions"].get(key)))
    differing = [(name, to_words(one), to_words(other)) for name, one, other in pairs if one != other]
    return [(name, one, other) for name, one, other in differing if one != other or one != "none"]


def _sampling_pairs(a: SamplingRecord | None, b: SamplingRecord | None) -> list[tuple[str, Any, Any]]:
    """Return each setting of two ways of sampling, with its values; where one is greedy, only that."""
    if a and b:
        pairs: list[tuple[str, Any, Any]] = [(f"sampling {key}", a.get(key), b.get(key)) for key in {**a, **b}]
        return pairs
    words = [pluralise(sampling["samples"], "sampled answer") if sampling else "greedy" for sampling in (a, b)]
    return [("decoding", words[0], words[1])]


def _head_mismatch(a: RunRecord, b: RunRecord) -> list[str]:
    if not (a["targets"] and b["targets"]) or _shape(a) == _shape(b):
        return []
    return ["the models have different layers and heads, so their targets are not compared"]


def _shape(summary: RunRecord) -> tuple[Any, ...]:
    model = summary["model"]
    return model["layers"], model["heads"], model.get("layer_indices")


def _datasets(
    shared: Sequence[ItemKey], a: Mapping[ItemKey, Outcome], b: Mapping[ItemKey, Outcome]
) -> list[DatasetChange]:
    import numpy as np

    changes = []
    for name in dict.fromkeys(dataset for dataset, _ in shared):
        items = [item for item in shared if item[0] == name]
        right, right_b = (np.array([_right(run[item]) for item in items]) for run in (a, b))
        logprob, logprob_b = (np.array([_logprob(run[item]) for item in items]) for run in (a, b))
        with np.errstate(over="ignore"):
            (effect,) = stats.paired_effects(right, right_b[None], logprob, logprob_b[None])
        changes.append(DatasetChange(name, int(right.sum()), effect))
    effects = [change.effect for change in changes]
    adjusted = stats.discrete_holm(
        [effect.p_value for effect in effects], [effect.flips_to_wrong + effect.flips_to_right for effect in effects]
    )
    return [
        replace(change, effect=replace(change.effect, p_discrete=float(p)))
        for change, p in zip(changes, adjusted, strict=True)
    ]


def _targets(first: Run, second: Run, shared: Sequence[ItemKey]) -> list[TargetChange]:
    """Return the targets that both runs measured, those whose effect changed most clearly first."""
    if _shape(first.summary) != _shape(second.summary):
        return []
    runs = [(_baselines(run), _ablated(run)) for run in (first, second)]
    groups: dict[tuple[str, str], list[str]] = {}
    for dataset, ablation, target in runs[0][1].keys() & runs[1][1].keys():
        groups.setdefault((dataset, ablation), []).append(target)
    changes: list[TargetChange] = []
    for (dataset, ablation), targets in groups.items():
        targets.sort()
        ids = [id for name, id in shared if name == dataset]
        keys = [(dataset, ablation, target) for target in targets]
        alone = [[baselines[dataset, id] for id in ids] for baselines, _ in runs]
        off = [[[ablated[key].get(id) for id in ids] for key in keys] for _, ablated in runs]
        right = [_effects(*outcomes, _right) for outcomes in zip(alone, off, strict=True)]
        logprob = [_effects(*outcomes, _logprob) for outcomes in zip(alone, off, strict=True)]
        rows = zip(targets, _changes(*right), _changes(*logprob), strict=True)
        changes += [
            TargetChange(dataset, ablation, target, one, other, change, *of_logprob)
            for target, (one, other, change), of_logprob in rows
            if one is not None and other is not None
        ]
    return changes


def _adjusted(changes: Sequence[TargetChange]) -> list[TargetChange]:
    """Return *changes* with their p-values adjusted over all of them, the clearest first."""
    of_accuracy = _over_all([target.change for target in changes])
    of_logprob = _over_all([target.change_logprob for target in changes])
    return sorted(
        (
            replace(target, p_adjusted=p, logprob_p_adjusted=logprob_p)
            for target, p, logprob_p in zip(changes, of_accuracy, of_logprob, strict=True)
        ),
        key=_clearness,
    )


def _over_all(changes: Sequence[stats.MeanChange]) -> list[float | None]:
    known = [change for change in changes if change.p_value is not None]
    p_values = [change.p_value for change in known if change.p_value is not None]
    adjusted = iter(map(float, stats.discrete_holm(p_values, [change.falls + change.rises for change in known])))
    return [None if change.p_value is None else next(adjusted) for change in changes]


def _clearness(target: TargetChange) -> tuple[float, ...]:
    p = [1.0 if p is None else p for p in (target.p_adjusted, target.logprob_p_adjusted)]
    sizes = [-abs(change.mean or 0.0) for change in (target.change, target.change_logprob)]
    return not target.significant, *sizes, *p


def _ablated(run: Run) -> dict[tuple[str, str, str], dict[str, Outcome]]:
    ablated: dict[tuple[str, str, str], dict[str, Outcome]] = {}
    for outcome in run.outcomes:
        if outcome.target != BASELINE:
            key = (outcome.dataset, str(outcome.ablation), outcome.target)
            ablated.setdefault(key, {})[outcome.item] = outcome
    return ablated


def _right(outcome: Outcome | None) -> float:
    return math.nan if outcome is None else float(outcome.correct)


def _logprob(outcome: Outcome | None) -> float:
    return math.nan if outcome is None or outcome.answer_logprob is None else outcome.answer_logprob


def _effects(
    alone: Sequence[Outcome], off: Sequence[Sequence[Outcome | None]], value: Callable[[Outcome | None], float]
) -> Floats:
    """Return what each target changes at each item, (targets, items)."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        changes = np.array([[value(case) for case in row] for row in off]) - np.array([value(case) for case in alone])
    return np.asarray(changes, dtype=np.float64)


def _changes(first: Floats, second: Floats) -> list[tuple[float | None, float | None, stats.MeanChange]]:
    """Return each target's mean effect in either run, over the items that both have, and the change."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        change = second - first
        means = stats.mean_changes(change)
        return [
            (float(first[row, known].mean()), float(second[row, known].mean()), means[row])
            if (known := np.isfinite(change[row])).any()
            else (None, None, means[row])
            for row in range(len(change))
        ]
