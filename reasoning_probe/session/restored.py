"""Sets of heads that bring answers back in a session under ``restore``, compared with random sets after its sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE, ItemKey, Outcome
from reasoning_probe.results.record import RestoredRecord

if TYPE_CHECKING:
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.session.plan import Case
    from reasoning_probe.session.session import ProbeSession


def compared_sets(session: ProbeSession, engine: Engine, answered: Sequence[Case]) -> list[RestoredRecord]:
    """Return what the targets of the *answered* cases bring back beside random sets; empty without ``restore``."""
    from reasoning_probe.analyses.restored_sets import ABLATION, RestoredSet, compared_targets, restored_sets
    from reasoning_probe.models.targets import every_head

    if ABLATION not in session.settings.ablations:
        return []
    every = every_head(session.head_map)
    by_target: dict[str, dict[str, list[Case]]] = {}
    for case in answered:
        if case.target is not None and _right(session, case.item_key):
            by_target.setdefault(case.target.name, {}).setdefault(case.dataset, []).append(case)
    targets = {case.target_name: case.target for case in answered if case.target is not None}
    sets = [
        RestoredSet(
            dataset,
            target,
            tuple(session.queries.query(dataset, case.item) for case in cases),
            tuple(bool(session.outcomes[case.key].became_counterfactual) for case in cases),
        )
        for target in compared_targets(targets.values(), every)
        for dataset, cases in by_target.get(target.name, {}).items()
    ]
    return restored_sets(session.judged_answers, engine, sets, every)


def _right(session: ProbeSession, item: ItemKey) -> bool:
    """Tell whether the counterfactual question of *item*, which is what was asked, is answered right."""
    baseline: Outcome | None = session.outcomes.get((*item, BASELINE, None))
    return baseline is not None and baseline.correct
