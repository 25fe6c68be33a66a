"""The cumulative curve: heads off in order of importance, and all but the most important off.

Single effects understate heads that back each other up (McGrath et al. 2023, "The hydra effect"). Off one after the
other, such heads show where the answers fall faster than their single effects add up to; kept one after the other, they
show how few heads carry the task. A second stage after the sweep: it takes the single effects from the sweep's
outcomes and runs its joint targets through the same engine and the same outcome store.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_probe.engine.protocol import Counting
from reasoning_probe.models.targets import Target
from reasoning_probe.results import stats
from reasoning_probe.results.curves import Entry
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import SweepRequest

FEWEST = 8
"""A dataset with fewer items gets no curve: it would be all interval."""

HELD_OUT = 20
"""From so many items on, some choose the order and others are measured: heads that were chosen by the same items that
measure them look stronger than they are."""

MOST_ITEMS = 200
"""Items measured at most: their interval is 7 points either way at its widest."""

ROW_SHARE = 0.25
"""Of the sweep's rows, that the curve may take where this leaves it :data:`HELD_OUT` items or more."""

Found = Mapping[Key, Outcome]
"""Outcomes by dataset, item, target and ablation."""


def steps(heads: int) -> list[int]:
    """Return the numbers of heads at which the curve is measured, short of all *heads*.

    >>> steps(20)
    [1, 2, 3, 4, 6, 8, 12, 16]
    """
    found, power = [1], 2
    while power < heads:
        found += [power, 3 * power // 2]
        power *= 2
    return [step for step in found if step < heads]


@dataclass(frozen=True)
class CurveSpec:
    """What one dataset's curve under one ablation is made of: who is ordered by which items, measured on which."""

    dataset: str
    ablation: str
    order: tuple[Target, ...]
    ranked_on: tuple[str, ...]
    items: tuple[str, ...]

    def joint_targets(self, found: Found) -> list[Target]:
        """Return the targets to run: those of the steps that the sweep has not answered already."""
        kinds = [self.target(kind, count) for kind in ("off", "kept") for count in self.counts(kind)]
        missing = [
            target
            for target in kinds
            if target.heads
            and any((self.dataset, item, target.name, self.ablation) not in found for item in self.items)
        ]
        return list({target.heads: target for target in missing}.values())

    def counts(self, kind: str) -> list[int]:
        """Return the numbers of heads off or kept: from the model as it is to nothing, or the other way round."""
        return [0, *steps(len(self.order)), len(self.order)]

    def target(self, kind: str, count: int) -> Target:
        """Return the joint target of the *count* strongest heads, or of all but those."""
        heads = self.order[:count] if kind == "off" else self.order[count:]
        if len(heads) < 2:
            return heads[0] if heads else Target(BASELINE, frozenset())
        joint = frozenset[tuple[int, int]]().union(*(head.heads for head in heads))
        name = "every head" if len(heads) == len(self.order) else f"first {count} {kind}"
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
    found: Found,
    scores: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[CurveSpec]:
    """Return the curves that can be measured: of each dataset's *items* (dataset and id), under each ablation.

    There is none where not every one of *heads* was measured on every item or has an estimate in *scores*, where there
    are too few heads or items, or where nothing is right to begin with.
    """
    groups = []
    by_dataset: dict[str, list[str]] = {}
    for dataset, item in items:
        if (dataset, item, BASELINE, None) in found:
            by_dataset.setdefault(dataset, []).append(item)
    for dataset, ids in by_dataset.items():
        ranking, measured = measured_items(ids, dataset, len(heads))
        right = any(found[dataset, id, BASELINE, None].correct for id in measured)
        if len(heads) < 2 or len(ids) < FEWEST or not right:
            continue
        for ablation in ablations:
            order = rank_heads(heads, dataset, ablation, ranking, found, scores.get((dataset, ablation), {}))
            if order is not None:
                groups.append(CurveSpec(dataset, ablation, order, tuple(ranking), tuple(measured)))
    return groups


def rank_heads(
    heads: Sequence[Target],
    dataset: str,
    ablation: str,
    items: Sequence[str],
    found: Found,
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
            (found[dataset, item, BASELINE, None], off)
            for item in items
            if (off := found.get((dataset, item, head.name, ablation))) is not None
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


def cumulative_curves(
    run: Callable[[Sequence[SweepRequest]], Iterable[list[Outcome]]],
    engine: Counting,
    groups: Sequence[CurveSpec],
    queries: Mapping[ItemKey, Query],
    found: Found,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[Entry]]:
    """Measure *groups* by *run*, yielding a dataset's entries as they are done. Adds to the timing of *engine*."""
    from reasoning_probe.engine.engine import SweepRequest

    by_dataset: dict[str, list[CurveSpec]] = {}
    for group in groups:
        by_dataset.setdefault(group.dataset, []).append(group)
    total = sum(len(group.joint_targets(found)) * len(group.items) for group in groups)
    done = 0
    for dataset, of_dataset in by_dataset.items():
        asked = [(target, group.ablation) for group in of_dataset for target in group.joint_targets(found)]
        works = [SweepRequest(queries[dataset, item], tuple(asked)) for item in of_dataset[0].items]
        joint = dict(found)
        with timed_as_curve(engine):
            for batch in run(works) if asked else ():
                for outcome in batch:
                    joint.setdefault(outcome.key, outcome)
                done += sum(outcome.ablation is not None for outcome in batch)
                if progress is not None:
                    progress(done, total)
        yield [_entry(group, kind, joint) for group in of_dataset for kind in ("off", "kept")]


@contextmanager
def timed_as_curve(engine: Counting) -> Iterator[None]:
    """Count the time that passes meanwhile as the curve's, and nothing else: the engine's counts are the sweep's."""
    timing, started = vars(engine.timing).copy(), time.perf_counter()
    try:
        with engine.counts.paused():
            yield
    finally:
        vars(engine.timing).update(timing)
        engine.timing.curve_s += time.perf_counter() - started


def _entry(group: CurveSpec, kind: str, found: Found) -> Entry:
    return {
        "dataset": group.dataset,
        "ablation": group.ablation,
        "kind": kind,
        "order": [head.name for head in group.order],
        "held_out": not set(group.items) & set(group.ranked_on),
        "ranked_on": len(group.ranked_on),
        "orders": 1,
        "points": [_point(group, kind, count, found) for count in group.counts(kind)],
    }


def _point(group: CurveSpec, kind: str, count: int, found: Found) -> dict[str, Any]:
    dataset, ablation, target = group.dataset, group.ablation, group.target(kind, count)
    baselines = [found[dataset, item, BASELINE, None] for item in group.items]
    outcomes = [
        found[dataset, item, target.name, ablation] if target.heads else baseline
        for item, baseline in zip(group.items, baselines, strict=True)
    ]
    logprobs = [value for outcome in outcomes if (value := outcome.answer_logprob) is not None and math.isfinite(value)]
    items, correct = len(outcomes), sum(outcome.correct for outcome in outcomes)
    off = group.order[:count] if kind == "off" else group.order[count:]
    return {
        "heads": count,
        "items": items,
        "correct": correct,
        "accuracy": correct / items,
        "ci95": list(stats.wilson(correct, items)),
        "mean_answer_logprob": math.fsum(logprobs) / len(logprobs) if logprobs else None,
        "logprobs": len(logprobs),
        "if_added": _if_added(group, off, baselines, found),
    }


def _if_added(group: CurveSpec, off: Sequence[Target], baselines: Sequence[Outcome], found: Found) -> float | None:
    """Return what the mean log-probability would be if the single effects of the heads *off* added up."""
    start = _mean([baseline.answer_logprob for baseline in baselines])
    effects = [
        _mean(
            _change(baseline, single)
            for baseline in baselines
            if (single := found.get((group.dataset, baseline.item, head.name, group.ablation))) is not None
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


# -- several processes --------------------------------------------------------------------------------------------
