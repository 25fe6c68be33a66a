"""Sets of heads scored after a session's sweep: those that half of the items name, and those that masks find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.record import CircuitRecord

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.models.targets import Target
    from reasoning_probe.results.outcome import ItemKey
    from reasoning_probe.session.plan import Case
    from reasoning_probe.session.session import ProbeSession


def scored_sets(session: ProbeSession, engine: Engine, answered: Sequence[Case]) -> list[CircuitRecord]:
    """Return the scores of the sets that one half of each dataset's items chooses, on the other half.

    The *answered* cases say which heads one half names; the masks find another set.
    """
    from reasoning_probe.analyses.circuit_scores import (
        FEWEST_ITEMS,
        MASKS,
        MOST_ITEMS,
        NAMED,
        Circuit,
        halves,
        scored_circuits,
    )
    from reasoning_probe.models.targets import every_head

    cases = {case.item_key: case for case in answered if case.target and case.item_key not in session.skipped}
    queries = {
        item: session.queries.query(item[0], case.item)
        for item, case in cases.items()
        if (*item, BASELINE, None) in session.outcomes
    }
    every = every_head(session.head_map)
    circuits: list[Circuit] = []
    for dataset in dict.fromkeys(dataset for dataset, _ in queries):
        choosing, scoring = halves([item for name, item in queries if name == dataset], dataset)
        if len(scoring) < FEWEST_ITEMS or len(every) < 2:
            continue
        for ablation in session.settings.ablations:
            of_names = _named(session, dataset, ablation, choosing, every)
            scored_on = tuple(scoring[:MOST_ITEMS])
            circuits.append(Circuit(dataset, ablation, NAMED, of_names, len(choosing), scored_on))
            of_masks = _masked(session, engine, (dataset, ablation), choosing, every, queries)
            circuits.append(
                Circuit(dataset, ablation, MASKS, of_masks, len(choosing), scored_on, session.settings.masks)
            )
    return scored_circuits(session.judged_answers, engine, circuits, every, queries, session.outcomes)


def _named(
    session: ProbeSession, dataset: str, ablation: str, choosing: Sequence[str], every: Sequence[Target]
) -> tuple[Target, ...]:
    """Return the heads that sentences would name for their losses if only the items *choosing* had been asked."""
    from reasoning_probe.results.naming import named_losses
    from reasoning_probe.results.summary import page_effects

    items = {(dataset, item) for item in choosing}
    keys = (key for key in session.plan.keys if key[:2] in items and key not in session.left_out)
    outcomes = [session.outcomes[key] for key in keys if key in session.outcomes and key[3] in (None, ablation)]
    names = {row["target"] for row in named_losses(page_effects(outcomes, session.unmeasured_targets))}
    return tuple(head for head in every if head.name in names)


def _masked(
    session: ProbeSession,
    engine: Engine,
    of_map: tuple[str, str],
    choosing: Sequence[str],
    every: Sequence[Target],
    queries: Mapping[ItemKey, Query],
) -> tuple[Target, ...]:
    """Return the heads that masks find on some of the items *choosing*, right ones before others."""
    from reasoning_probe.analyses.circuit_scores import MASK_ITEMS, mask_set, random_masks

    dataset, ablation = of_map
    right_first = sorted(choosing, key=lambda item: not session.outcomes[dataset, item, BASELINE, None].correct)
    masks = random_masks(every, session.settings.masks or 0, f"{session.settings.seed} {dataset} {ablation}")
    chosen_queries = [queries[dataset, item] for item in right_first[:MASK_ITEMS]]
    with engine.aside("circuits_s"):
        return mask_set(session.judged_answers, every, masks, ablation, chosen_queries)
