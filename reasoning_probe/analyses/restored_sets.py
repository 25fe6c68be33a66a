"""Sets of heads that bring an answer back, beside random sets of as many heads: sufficiency with a control.

Under ``restore`` the counterfactual question is asked, and the set gives what it gives on the item's own prompt. Any
heads may bring some answers back, so each item is also asked with a random set of the same size in place of it, one of
its own for every item: one set for all of them would stand or fall for all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.models.targets import MLP, Target
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import RestoredRecord
from reasoning_probe.results.restored import restored_record, with_tests

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query

ABLATION = "restore"

MOST_SETS = 8
"""Sets that are compared; of more targets those of several heads, in their order."""


@dataclass(frozen=True)
class RestoredSet:
    """A set of heads of one dataset, with the questions that the model answers right, and what the set made of each."""

    dataset: str
    target: Target
    queries: tuple[Query, ...]
    became: tuple[bool, ...]


def compared_targets(targets: Iterable[Target], every: Sequence[Target]) -> list[Target]:
    """Return of *targets* those that are compared with as many of the other heads; *every* has all heads."""
    heads = [target for target in targets if not any(head == MLP for _, head in target.heads)]
    sets = heads if len(heads) <= MOST_SETS else [target for target in heads if len(target.heads) > 1]
    return [target for target in sets if 2 * len(target.heads) <= len(every)][:MOST_SETS]


def random_set(target: Target, every: Sequence[Target], name: str) -> Target:
    """Return a joint target of as many heads as *target*, none of them its own; *name* alone draws them."""
    others = [head for head in every if not head.heads <= target.heads]
    drawn = random.Random(name).sample(others, len(target.heads))
    return Target(f"as many as {target.name}", frozenset[tuple[int, int]]().union(*(head.heads for head in drawn)))


def restored_sets(
    run: Callable[[Sequence[SweepRequest]], Iterable[list[Outcome]]],
    engine: Engine,
    sets: Sequence[RestoredSet],
    every: Sequence[Target],
) -> list[RestoredRecord]:
    """Return what *sets* bring back, beside random sets that *run* answers. Adds to the timing of *engine*."""
    by_query: dict[Query, list[tuple[Target, str]]] = {}
    for one in sets:
        for query in one.queries:
            name = f"{engine.seed} {one.dataset} {query.item_id} {one.target.name}"
            by_query.setdefault(query, []).append((random_set(one.target, every, name), ABLATION))
    with engine.aside("circuits_s"):
        batches = run([SweepRequest(query, tuple(targets)) for query, targets in by_query.items()])
        became = {
            (outcome.dataset, outcome.item, outcome.target): bool(outcome.became_counterfactual)
            for batch in batches
            for outcome in batch
        }
    return with_tests([_record(one, became) for one in sets])


def _record(one: RestoredSet, became: Mapping[tuple[str, str, str], bool]) -> RestoredRecord:
    keys = [(one.dataset, query.item_id, f"as many as {one.target.name}") for query in one.queries]
    pairs = [(of_set, became[key]) for of_set, key in zip(one.became, keys, strict=True) if key in became]
    return restored_record(one.dataset, one.target.name, len(one.target.heads), pairs)
