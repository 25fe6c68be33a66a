"""Cases that their tests skipped: they are left out of a run, its accuracy and its gate.

A baseline that other cases are compared with stays among the outcomes even if its own test was skipped, but counts
neither in the accuracy nor for a gate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome

if TYPE_CHECKING:
    from reasoning_probe.results.merge import PartialRun

SkippedItems = Mapping[str, Sequence[str]]
"""By dataset, the ids of the items whose tests were skipped; ``skipped_tests`` of ``run.json``."""


@dataclass(frozen=True)
class SkippedCase:
    """A case whose tests were all skipped.

    ``planned`` says whether the plan holds it, ``baseline_planned`` whether the plan holds its item's baseline for a
    test of its own.
    """

    key: Key
    planned: bool
    baseline_planned: bool


def leave_out(parts: Sequence[PartialRun], skipped: Collection[SkippedCase]) -> list[PartialRun]:
    """Return *parts* of a run without the *skipped* cases and without what only they needed."""
    if not skipped:
        return list(parts)
    keys = {case.key for case in skipped}
    compared = _compared_items(parts, keys)
    dropped = {case.key: case.planned for case in skipped if case.key[2] != BASELINE or case.key[:2] not in compared}
    for case in skipped:  # a baseline that has no test of its own was computed for these cases alone
        if not case.baseline_planned and case.key[:2] not in compared:
            dropped.setdefault((*case.key[:2], BASELINE, None), case.planned)
    items = {(dataset, id) for dataset, ids in skipped_items(parts, skipped).items() for id in ids}
    return [_without(part, dropped, items - compared) for part in parts]


def skipped_items(parts: Sequence[PartialRun], skipped: Iterable[SkippedCase]) -> dict[str, list[str]]:
    """Return the items whose baseline was skipped, or, where no baseline was selected, all of whose cases were."""
    cases = list(skipped)
    compared = _compared_items(parts, {case.key for case in cases})
    items: dict[str, list[str]] = {}
    for case in cases:
        dataset, id, target, _ = case.key
        alone = target == BASELINE or (not case.baseline_planned and (dataset, id) not in compared)
        if alone and id not in (ids := items.setdefault(dataset, [])):
            ids.append(id)
    return {dataset: ids for dataset, ids in items.items() if ids}


def is_skipped_baseline(outcome: Outcome, skipped: Mapping[str, Collection[str]]) -> bool:
    """Tell whether *outcome* is a baseline that is there for comparison alone."""
    return outcome.target == BASELINE and outcome.item in skipped.get(outcome.dataset, ())


def merged_skips(parts: Sequence[tuple[SkippedItems, Sequence[Outcome]]]) -> dict[str, list[str]]:
    """Return the items that are skipped in one of *parts* and not asked in another."""
    judged: set[ItemKey] = set()
    for skipped, outcomes in parts:
        ids_of = {name: frozenset(ids) for name, ids in skipped.items()}
        judged |= {one.item_key for one in outcomes if one.target == BASELINE and not is_skipped_baseline(one, ids_of)}
    together: dict[str, dict[str, None]] = {}
    for skipped, _ in parts:
        for dataset, ids in skipped.items():
            together.setdefault(dataset, {}).update(dict.fromkeys(id for id in ids if (dataset, id) not in judged))
    return {dataset: list(ids) for dataset, ids in together.items() if ids}


def _compared_items(parts: Iterable[PartialRun], skipped: Collection[Key]) -> set[ItemKey]:
    """Return the items of which a case with something switched off remains."""
    return {
        outcome.item_key
        for part in parts
        for outcome in part.outcomes
        if outcome.target != BASELINE and outcome.key not in skipped
    }


def _without(part: PartialRun, dropped: Mapping[Key, bool], items: Collection[ItemKey]) -> PartialRun:
    """Return *part* without the cases *dropped*, each with whether the plan held it; the skips of *items* go."""
    places_left = [index for index, outcome in enumerate(part.outcomes) if outcome.key not in dropped]
    too_long = [skip for skip in part.facts["skipped"] if (skip["dataset"], skip["item"]) not in items]
    return replace(
        part,
        outcomes=[part.outcomes[index] for index in places_left],
        places=[part.places[index] for index in places_left],
        planned=part.planned - sum(dropped.values()),
        facts=part.facts | {"skipped": too_long},
    )
