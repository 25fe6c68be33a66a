"""Random directions: what switching off as much of a layer in a random direction does, beside each named head.

Whatever is removed from a layer costs something. A head matters as a head only if it costs more than other parts of
the same size do: so beside each head that the tests name stand 20 random subspaces of as many dimensions in the same
layer's head space. At each token as much is removed of each of them as of the head, and the question is how the
expected answer's log-probability changes, in passes of many rows that begin at the head's layer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.analyses.drawn_items import drawn_items
from reasoning_probe.engine.protocol import Engine
from reasoning_probe.models.targets import Target
from reasoning_probe.results.null_directions import ranked, unranked
from reasoning_probe.results.record import EffectRecord, RandomDirectionsRecord
from reasoning_probe.utils.target_names import head_of

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.tokenization import EncodedQuery
    from reasoning_probe.results.outcome import ItemKey

DIRECTIONS = 20
"""Random directions beside each head: one that loses more than all of them has p = 1 / 21."""

FEWEST_HEADS, MOST_HEADS = 4, 8
"""Heads of a dataset and ablation that are compared, the strongest first, as far as there are so many."""

FEWEST_ITEMS, MOST_ITEMS = 6, 20
"""Items on which a head is compared, as far as there are so many."""

ROW_SHARE = 0.2
"""The share of the sweep's rows that the comparison may take, beyond the fewest heads and items.

A row of it takes about half as long as a case of the sweep: nothing is decoded
(``python -m benchmarks.speed.directions``).
"""


@dataclass(frozen=True)
class NamedHead:
    """A head to compare with random directions, and the questions of one dataset that are asked for it."""

    target: Target
    ablation: str
    queries: tuple[Query, ...]


def chosen_heads(rows: Iterable[EffectRecord], cases: int) -> list[EffectRecord]:
    """Return of the *rows*, which name their targets, the strongest single heads of each dataset and ablation.

    They are as many as a sweep of *cases* cases affords.
    """
    by_map: dict[tuple[str, str | None], list[EffectRecord]] = {}
    for row in rows:
        if head_of(row["target"]) is not None:
            by_map.setdefault((row["dataset"], row["ablation"]), []).append(row)
    most = heads_of_each_map(cases, len(by_map))
    return [row for of_map in by_map.values() for row in of_map[:most]]


def chosen_items(items: Mapping[ItemKey, bool], cases: int, heads: int, seed: int) -> dict[str, list[ItemKey]]:
    """Return by dataset the items to ask for each of *heads*, drawn by *seed* among those answered right.

    *items* says which were. Others follow where too few were right. They are as many as a sweep of *cases* cases
    affords.
    """
    most = items_of_each_head(cases, heads)
    return drawn_items(items, FEWEST_ITEMS, most, f"directions {seed}")


def heads_of_each_map(cases: int, maps: int) -> int:
    """Return how many heads of each of *maps* are compared after a sweep of *cases* cases, if as many are named."""
    affordable = int(ROW_SHARE * cases / (max(1, maps) * FEWEST_ITEMS * (DIRECTIONS + 1)))
    return min(MOST_HEADS, max(FEWEST_HEADS, affordable))


def items_of_each_head(cases: int, heads: int) -> int:
    """Return on how many items each of *heads* is compared after a sweep of *cases* cases, if there are as many."""
    affordable = int(ROW_SHARE * cases / (max(1, heads) * (DIRECTIONS + 1)))
    return min(MOST_ITEMS, max(FEWEST_ITEMS, affordable))


def random_directions(engine: Engine, heads: Sequence[NamedHead]) -> list[RandomDirectionsRecord]:
    """Return how each of *heads* ranks among random directions of its size; adds to ``engine.timing``.

    The directions are drawn by the engine's seed and the head's name, so that several processes remove the same ones.
    """
    if not heads:
        return []
    return engine.measure(RandomDirections(tuple(heads), engine.seed)) or []


@dataclass(frozen=True)
class RandomDirections:
    """The comparison as an :class:`~reasoning_probe.engine.protocol.Analysis`, split by heads."""

    heads: tuple[NamedHead, ...]
    seed: int
    timing: str = "directions_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> list[RandomDirectionsRecord]:
        """Return a record for each head; one that the model does not allow has a note in place of its numbers."""
        from reasoning_probe.models.head_map import HeadError

        started = time.perf_counter()
        records: dict[int, RandomDirectionsRecord] = {}
        bases: dict[int, Tensor] = {}
        for index, head in enumerate(self.heads):
            try:
                bases[index] = _bases(engine, head, self.seed)
            except HeadError as error:
                records[index] = _unranked(head, " ".join(str(error).split()))
        by_queries: dict[tuple[Query, ...], list[int]] = {}  # heads that are asked the same share its clean passes
        for index in bases:
            by_queries.setdefault(self.heads[index].queries, []).append(index)
        for queries, indices in by_queries.items():
            heads = [(self.heads[index], bases[index]) for index in indices]
            records |= zip(indices, _compared(engine, queries, heads), strict=True)
        engine.timing.directions_s += time.perf_counter() - started
        return [records[index] for index in range(len(self.heads))]

    def split(self, parts: int) -> list[RandomDirections]:
        """Return the comparison in at most *parts* parts of as many heads each."""
        size = max(1, -(-len(self.heads) // parts))
        return [
            RandomDirections(self.heads[first : first + size], self.seed) for first in range(0, len(self.heads), size)
        ]

    def merge(self, results: Sequence[list[RandomDirectionsRecord]]) -> list[RandomDirectionsRecord]:
        """Return the records of all parts in the order of the heads."""
        place = {(head.target.name, head.queries[0].dataset, head.ablation): n for n, head in enumerate(self.heads)}
        rows = [row for result in results for row in result]
        return sorted(rows, key=lambda row: place[row["target"], row["dataset"], str(row["ablation"])])


def _bases(engine: LocalEngine, named: NamedHead, seed: int) -> Tensor:
    """Return the head's own basis and those of the random directions, ``(rows, heads * head_dim, head_dim)``."""
    import torch

    from reasoning_probe.models.subspaces import head_basis, random_bases

    ((layer, head),) = named.target.heads
    attention_layer = engine.head_map.attention_layer(layer)
    random = random_bases(attention_layer, DIRECTIONS, f"{seed} {named.target.name}")
    return torch.cat([head_basis(attention_layer, head), random]).to(engine.codec.device)


def _compared(
    engine: LocalEngine, queries: Sequence[Query], heads: Sequence[tuple[NamedHead, Tensor]]
) -> list[RandomDirectionsRecord]:
    """Return the records of *heads*, each with its bases, which are all asked *queries*."""
    from reasoning_probe.engine.tokenization import ContextError
    from reasoning_probe.models.subspaces import Removal

    encoded: list[EncodedQuery] = []
    edits: list[list[Removal]] = [[] for _ in heads]
    for query in queries:
        try:
            encoded.append(engine.codec.encode(query))
        except ContextError:
            continue  # the sweep skips this item, and says why
        for (named, bases), of_head in zip(heads, edits, strict=True):
            ((layer, head),) = named.target.heads
            replacement = engine.replacement(named.ablation, query, encoded[-1])
            of_head.append(Removal(engine.head_map.attention_layer(layer), head, bases, replacement))
    flat = [(query, removal) for of_head in edits for query, removal in enumerate(of_head)]
    changes = engine.changes_of_edits(encoded, flat)  # of each head on each query
    count = len(encoded)
    return [_record(named, changes[index * count : (index + 1) * count]) for index, (named, _) in enumerate(heads)]


def _record(named: NamedHead, changes: Sequence[Sequence[float]]) -> RandomDirectionsRecord:
    """Return a head's record, given by item how the log-probability changes without it and without each direction."""
    by_item = [of_item for of_item in changes if all(map(math.isfinite, of_item))]
    if not by_item:
        return _unranked(named, "no item has a log-probability to compare")
    change, *others = [math.fsum(of_row) / len(by_item) for of_row in zip(*by_item, strict=True)]
    return ranked(named.target.name, named.queries[0].dataset, named.ablation, len(by_item), change, others)


def _unranked(named: NamedHead, note: str) -> RandomDirectionsRecord:
    dataset = named.queries[0].dataset if named.queries else ""
    return unranked(named.target.name, dataset, named.ablation, note)
