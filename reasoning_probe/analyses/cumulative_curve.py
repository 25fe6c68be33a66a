"""The cumulative curve: heads off in order of importance, and all but the most important off.

Single effects understate heads that back each other up (McGrath et al. 2023, "The hydra effect"). Off one after the
other, such heads show where the answers fall faster than their single effects add up to; kept one after the other, they
show how few heads carry the task. A second stage after the sweep: it takes the single effects from the sweep's
outcomes and runs its joint targets through the same engine and the same outcome store.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reasoning_probe.analyses.circuit_statistics import areas
from reasoning_probe.analyses.curve_statistics import carried, excess, with_adjusted
from reasoning_probe.data.prompts.prompting import LOGPROB_ALONE
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.models.targets import Target
from reasoning_probe.results import stats
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.results.record import (
    AreaRecord,
    AreasRecord,
    CarriedRecord,
    CurvePointRecord,
    CurveRecord,
    ExcessRecord,
)

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query

FEWEST = 8
"""The fewest items of a dataset that gets a curve: with fewer, its intervals would span everything."""

HELD_OUT = 20
"""The number of items from which on some items choose the order and others measure it: heads that are measured on the
items that chose them look stronger than they are."""

MOST_ITEMS = 200
"""The most items that are measured: their interval is 7 points either way at its widest."""

ROW_SHARE = 0.25
"""The share of the sweep's rows that the curve may take, as long as this leaves it :data:`HELD_OUT` items."""

ALL_MEASURED = 16
"""The most heads of a model of which all sizes are measured. With more, those halfway between two powers of two are
measured only where some item is right at one of the two and wrong at the other: elsewhere the curve is flat."""

SMALLEST_PART = 32
"""In the order of size at least one of so many heads is kept, or none: fewer hardly add to an area."""

OutcomesByKey = Mapping[Key, Outcome]
"""Outcomes by dataset, item, target and ablation."""


def steps(heads: int) -> list[int]:
    """Return the numbers of heads at which the curve is measured, short of all *heads*.

    >>> steps(20)
    [1, 2, 3, 4, 6, 8, 12, 16]
    """
    numbers, power = [1], 2
    while power < heads:
        numbers += [power, 3 * power // 2]
        power *= 2
    return [step for step in numbers if step < heads]


def first_steps(heads: int) -> list[int]:
    """Return those of :func:`steps` that are measured first: the powers of two, and all of few *heads*."""
    return [step for step in steps(heads) if heads <= ALL_MEASURED or step & (step - 1) == 0]


@dataclass(frozen=True)
class CurveSpec:
    """What one dataset's curve under one ablation is made of: who is ordered by which items, measured on which.

    ``estimated`` says that attribution scores, which come from measured items, too, ordered some of the heads.
    """

    dataset: str
    ablation: str
    order: tuple[Target, ...]
    ranked_on: tuple[str, ...]
    items: tuple[str, ...]
    estimated: bool = False
    by_size: tuple[Target, ...] = ()  # the heads by the size of their effects, whatever the sign; empty if not known

    def joint_targets(self, outcomes: OutcomesByKey) -> list[Target]:
        """Return the targets to run next: those of :meth:`counts` that *outcomes* do not hold."""
        kinds = [self.target(kind, count) for kind in ("off", "kept") for count in self.counts(kind, outcomes)]
        return self._missing(kinds, outcomes)

    def sized_targets(self, outcomes: OutcomesByKey) -> list[Target]:
        """Return the targets in the order of size that *outcomes* do not hold: their log-probability alone counts."""
        return self._missing([self.target("by size", count) for count in self.sizes()], outcomes)

    def _missing(self, targets: Iterable[Target], outcomes: OutcomesByKey) -> list[Target]:
        missing = [target for target in targets if not self._is_measured(target, outcomes)]
        return list({target.heads: target for target in missing}.values())

    def counts(self, kind: str, outcomes: OutcomesByKey) -> list[int]:
        """Return the numbers of heads off or kept, from none to all, as far as *outcomes* show which are of interest.

        At first these are :func:`first_steps`; once those are known, also the numbers between two of them that differ.
        """
        heads = len(self.order)
        first = [0, *first_steps(heads), heads]
        between = [step for step in steps(heads) if step not in first]
        return sorted([*first, *(step for step in between if self._differs_around(kind, step, outcomes))])

    def sizes(self) -> list[int]:
        """Return the numbers of heads that are kept in the order of size: none, all, and powers of two between."""
        heads = len(self.by_size)
        powers = [step for step in steps(heads) if step & (step - 1) == 0 and step * SMALLEST_PART >= heads]
        return [0, *powers, heads] if heads else []

    def _differs_around(self, kind: str, count: int, outcomes: OutcomesByKey) -> bool:
        """Tell whether an item is right with fewer than *count* heads off, or kept, and wrong with more, or reverse."""
        around = 2 * count // 3, min(4 * count // 3, len(self.order))
        if not all(self._is_measured(self.target(kind, number), outcomes) for number in around):
            return False
        fewer, more = (_measured(self, kind, number, outcomes) for number in around)
        return any(one.correct != other.correct for one, other in zip(fewer, more, strict=True))

    def _is_measured(self, target: Target, outcomes: OutcomesByKey) -> bool:
        key = (target.name, self.ablation) if target.heads else (BASELINE, None)
        return all((self.dataset, item, *key) in outcomes for item in self.items)

    def target(self, kind: str, count: int) -> Target:
        """Return the joint target of the *count* strongest heads (``off``), or of all but those, in either order."""
        if kind == "by size" and set(self.by_size[:count]) == set(self.order[:count]):
            kind = "kept"
        heads = self.order[:count] if kind == "off" else (self.by_size if kind == "by size" else self.order)[count:]
        if len(heads) < 2:
            return heads[0] if heads else Target(BASELINE, frozenset())
        joint = frozenset[tuple[int, int]]().union(*(head.heads for head in heads))
        name = f"first {count} kept by size" if kind == "by size" else f"first {count} {kind}"
        name = "every head" if len(heads) == len(self.order) else name
        return Target(name, joint)


def measured_items(ids: Sequence[str], dataset: str, heads: int) -> tuple[list[str], list[str]]:
    """Return the items that choose the order, and those that are measured; the same where there are few.

    They are dealt out by a hash of dataset and id, so that neither the order of a file nor the selection matters.
    """
    if len(ids) < HELD_OUT:
        return list(ids), list(ids)
    joints = 2 * len(steps(heads))
    most = max(HELD_OUT, int(ROW_SHARE * len(ids) * heads / joints))
    mixed = sorted(ids, key=lambda id: hashlib.sha256(f"curve\0{dataset}\0{id}".encode("utf-8", "replace")).digest())
    count = min(len(ids) // 2, MOST_ITEMS, most)
    return mixed[count:], mixed[:count]


def plan_curves(
    heads: Sequence[Target],
    items: Iterable[ItemKey],
    ablations: Iterable[str],
    outcomes: OutcomesByKey,
    scores: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[CurveSpec]:
    """Return the curves that can be measured: of each dataset's *items* (dataset and id), under each ablation.

    There is none where not every one of *heads* was measured on every item or has an estimate in *scores*, where there
    are too few heads or items, or where nothing is right to begin with.
    """
    specs = []
    by_dataset: dict[str, list[str]] = {}
    for dataset, item in items:
        if (dataset, item, BASELINE, None) in outcomes:
            by_dataset.setdefault(dataset, []).append(item)
    for dataset, ids in by_dataset.items():
        ranking, measured = measured_items(ids, dataset, len(heads))
        right = any(outcomes[dataset, id, BASELINE, None].correct for id in measured)
        if len(heads) < 2 or len(ids) < FEWEST or not right:
            continue
        for ablation in ablations:
            estimates = scores.get((dataset, ablation), {})
            order = rank_heads(heads, dataset, ablation, ranking, outcomes, estimates)
            if order is not None:
                estimated = bool(estimates)  # a screening chose the measured heads by its scores, too
                by_size = () if estimated else by_effect_size(heads, dataset, ablation, ranking, outcomes)
                specs.append(CurveSpec(dataset, ablation, order, tuple(ranking), tuple(measured), estimated, by_size))
    return specs


def rank_heads(
    heads: Sequence[Target],
    dataset: str,
    ablation: str,
    items: Sequence[str],
    outcomes: OutcomesByKey,
    scores: Mapping[str, float],
) -> tuple[Target, ...] | None:
    """Return *heads*, the most important first, or ``None`` where one was neither measured nor estimated.

    By the mean change of the expected answer's log-probability, lost most first: it tells heads apart that flip no
    answer. Where no item has one, by accuracy. Heads that were only estimated come after all that were seen to help,
    in the order of their estimates, and before those that were not.
    """
    keys: dict[Target, tuple[int, float]] = {}
    for head in heads:
        pairs = [
            (outcomes[dataset, item, BASELINE, None], off)
            for item in items
            if (off := outcomes.get((dataset, item, head.name, ablation))) is not None
        ]
        if len(pairs) == len(items):
            change = _mean([_change(*pair) for pair in pairs])
            if change is None:
                change = sum(off.correct - base.correct for base, off in pairs) / len(pairs)
            keys[head] = (0 if change < 0 else 2, change)
        elif head.name in scores:
            keys[head] = (1, -scores[head.name])
        else:
            return None
    return tuple(sorted(heads, key=keys.__getitem__))


def by_effect_size(
    heads: Sequence[Target], dataset: str, ablation: str, items: Sequence[str], outcomes: OutcomesByKey
) -> tuple[Target, ...]:
    """Return *heads*, those first that change the expected answer's log-probability most, up or down.

    None where one was not measured or has no log-probability.
    """
    sizes: dict[Target, float] = {}
    for head in heads:
        off = [outcomes.get((dataset, item, head.name, ablation)) for item in items]
        change = _mean(
            _change(outcomes[dataset, item, BASELINE, None], one)
            for item, one in zip(items, off, strict=True)
            if one is not None
        )
        if change is None:
            return ()
        sizes[head] = -abs(change)
    return tuple(sorted(heads, key=sizes.__getitem__))


def cumulative_curves(
    run: Callable[[Sequence[SweepRequest]], Iterable[list[Outcome]]],
    engine: Engine,
    specs: Sequence[CurveSpec],
    queries: Mapping[ItemKey, Query],
    outcomes: OutcomesByKey,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[CurveRecord]]:
    """Measure *specs* by *run*, yielding a dataset's entries as they are done. Adds to the timing of *engine*."""
    by_dataset: dict[str, list[CurveSpec]] = {}
    for spec in specs:
        by_dataset.setdefault(spec.dataset, []).append(spec)
    total = sum(len(spec.joint_targets(outcomes)) * len(spec.items) for spec in specs)
    done = 0
    for dataset, of_dataset in by_dataset.items():
        with_joint, items = dict(outcomes), of_dataset[0].items
        of_items = [queries[dataset, item] for item in items]
        rounds = [(CurveSpec.joint_targets, of_items), (CurveSpec.joint_targets, of_items)]
        rounds.append((CurveSpec.sized_targets, [replace(query, generation=LOGPROB_ALONE) for query in of_items]))
        for number, (missing, round_queries) in enumerate(rounds):
            variants = [(target, spec.ablation) for spec in of_dataset for target in missing(spec, with_joint)]
            requests = [SweepRequest(query, tuple(variants)) for query in round_queries if variants]
            total += (number > 0) * len(variants) * len(items)
            with engine.aside("curve_s"):
                for batch in run(requests):
                    for outcome in batch:
                        with_joint.setdefault(outcome.key, outcome)
                    done += sum(outcome.ablation is not None for outcome in batch)
                    if progress is not None:
                        progress(done, total)
        yield [
            entry
            for spec in of_dataset
            for entry in with_adjusted([_entry(spec, kind, with_joint) for kind in ("off", "kept")])
        ]


def _entry(spec: CurveSpec, kind: str, outcomes: OutcomesByKey) -> CurveRecord:
    return {
        "dataset": spec.dataset,
        "ablation": spec.ablation,
        "kind": kind,
        "order": [head.name for head in spec.order],
        "held_out": not (set(spec.items) & set(spec.ranked_on) or spec.estimated),
        "ranked_on": len(spec.ranked_on),
        "orders": 1,
        "carried": _carried(spec, outcomes) if kind == "kept" else None,
        "areas": _areas(spec, outcomes) if kind == "kept" else None,
        "points": [_point(spec, kind, count, outcomes) for count in spec.counts(kind, outcomes)],
    }


def _carried(spec: CurveSpec, outcomes: OutcomesByKey) -> CarriedRecord | None:
    import numpy as np

    counts = spec.counts("kept", outcomes)
    right = [[outcome.correct for outcome in _measured(spec, "kept", count, outcomes)] for count in counts]
    return carried(counts, np.array(right, dtype=np.float64))


def _areas(spec: CurveSpec, outcomes: OutcomesByKey) -> AreasRecord | None:
    """Return CPR and CMD of the kept heads in both orders, on the items with a log-probability at every size."""
    import numpy as np

    def in_order(kind: str, counts: Sequence[int]) -> AreaRecord | None:
        rows = [[_logprob(outcome) for outcome in _measured(spec, kind, count, outcomes)] for count in counts]
        measures = np.array(rows, dtype=np.float64).reshape(len(counts), len(spec.items))
        return areas(counts, measures[:, np.isfinite(measures).all(axis=0)])

    signed = in_order("kept", spec.counts("kept", outcomes))
    if signed is None:
        return None
    return {"signed": signed, "by_size": in_order("by size", spec.sizes()) if spec.by_size else None}


def _measured(spec: CurveSpec, kind: str, count: int, outcomes: OutcomesByKey) -> list[Outcome]:
    """Return the outcomes of the measured items with *count* heads off, or kept."""
    target = spec.target(kind, count)
    name, ablation = (target.name, spec.ablation) if target.heads else (BASELINE, None)
    return [outcomes[spec.dataset, item, name, ablation] for item in spec.items]


def _point(spec: CurveSpec, kind: str, count: int, outcomes: OutcomesByKey) -> CurvePointRecord:
    baselines = [outcomes[spec.dataset, item, BASELINE, None] for item in spec.items]
    measured = _measured(spec, kind, count, outcomes)
    logprobs = [value for outcome in measured if (value := outcome.answer_logprob) is not None and math.isfinite(value)]
    items, correct = len(measured), sum(outcome.correct for outcome in measured)
    off = spec.order[:count] if kind == "off" else spec.order[count:]
    return {
        "heads": count,
        "items": items,
        "correct": correct,
        "accuracy": correct / items,
        "ci95": list(stats.wilson(correct, items)),
        "mean_answer_logprob": math.fsum(logprobs) / len(logprobs) if logprobs else None,
        "logprobs": len(logprobs),
        "if_added": _if_added(spec, off, baselines, outcomes),
        "excess": _excess(spec, off, baselines, measured, outcomes) if len(off) > 1 else None,
    }


def _excess(
    spec: CurveSpec,
    off: Sequence[Target],
    baselines: Sequence[Outcome],
    joint: Sequence[Outcome],
    outcomes: OutcomesByKey,
) -> ExcessRecord | None:
    """Return what the heads *off* cost together beyond what they cost one by one; ``None`` if one is not measured."""
    import numpy as np

    singles = [
        [outcomes.get((spec.dataset, baseline.item, head.name, spec.ablation)) for baseline in baselines]
        for head in off
    ]
    rows = np.array([[_logprob(outcome) for outcome in row] for row in (baselines, joint, *singles)])
    return excess(rows[0], rows[1], rows[2:])


def _logprob(outcome: Outcome | None) -> float:
    return math.nan if outcome is None or outcome.answer_logprob is None else outcome.answer_logprob


def _if_added(
    spec: CurveSpec, off: Sequence[Target], baselines: Sequence[Outcome], outcomes: OutcomesByKey
) -> float | None:
    """Return what the mean log-probability would be if the single effects of the heads *off* added up."""
    start = _mean([baseline.answer_logprob for baseline in baselines])
    effects = [
        _mean(
            _change(baseline, single)
            for baseline in baselines
            if (single := outcomes.get((spec.dataset, baseline.item, head.name, spec.ablation))) is not None
        )
        for head in off
    ]
    if start is None or any(effect is None for effect in effects):
        return None
    return start + math.fsum(effect for effect in effects if effect is not None)


def _change(baseline: Outcome, off: Outcome) -> float | None:
    if baseline.answer_logprob is None or off.answer_logprob is None:
        return None
    return off.answer_logprob - baseline.answer_logprob


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None
