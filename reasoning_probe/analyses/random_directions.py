"""Random directions: what switching off as much of a layer in a random direction does, beside each named head.

Whatever is removed from a layer costs something. A head matters as a head only if it costs more than other parts of
the same size do: so beside each head that the tests name stand 20 random subspaces of as many dimensions in the same
layer's head space. At each token as much is removed of each of them as of the head, and the question is how the
expected answer's log-probability changes, in one pass an item for the head and all directions.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from reasoning_probe.models.head_map import AttentionLayer
    from reasoning_probe.results.outcome import ItemKey

DIRECTIONS = 20
"""Random directions beside each head: one that loses more than all of them has p = 1 / 21."""

MOST_HEADS = 8
"""The most heads of a dataset and ablation that are compared, the strongest first."""

FEWEST_ITEMS, MOST_ITEMS = 10, 40
"""Items on which a head is compared, as far as there are so many."""

ROW_SHARE = 0.05
"""The share of the sweep's rows that the comparison may take, as long as this leaves it :data:`FEWEST_ITEMS`."""


@dataclass(frozen=True)
class NamedHead:
    """A head to compare with random directions, and the questions of one dataset that are asked for it."""

    target: Target
    ablation: str
    queries: tuple[Query, ...]


def chosen_heads(rows: Iterable[EffectRecord]) -> list[EffectRecord]:
    """Return of the *rows*, which name their targets, the strongest single heads of each dataset and ablation."""
    by_map: dict[tuple[str, str | None], list[EffectRecord]] = {}
    for row in rows:
        if head_of(row["target"]) is not None:
            by_map.setdefault((row["dataset"], row["ablation"]), []).append(row)
    return [row for of_map in by_map.values() for row in of_map[:MOST_HEADS]]


def chosen_items(items: Mapping[ItemKey, bool], rows: int, heads: int, seed: int) -> dict[str, list[ItemKey]]:
    """Return by dataset the items to ask for each of *heads*, drawn by *seed* among those answered right.

    *items* says which were. Others follow where too few were right. A sweep of *rows* rows bounds how many there are.
    """
    share = int(ROW_SHARE * rows / (max(1, heads) * (DIRECTIONS + 2)))
    most = min(MOST_ITEMS, max(FEWEST_ITEMS, share))
    chosen: dict[str, list[ItemKey]] = {}
    for item in sorted(items, key=lambda item: _draw(item, seed)):
        chosen.setdefault(item[0], []).append(item)
    for dataset, drawn in chosen.items():
        right = [item for item in drawn if items[item]]
        others = [item for item in drawn if not items[item]]
        chosen[dataset] = [*right, *others[: max(0, FEWEST_ITEMS - len(right))]][:most]
    return chosen


def _draw(item: ItemKey, seed: int) -> bytes:
    return hashlib.sha256("\0".join((f"directions {seed}", *item)).encode("utf-8", "replace")).digest()


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
        records = []
        for head in self.heads:
            dataset = head.queries[0].dataset if head.queries else ""
            try:
                records.append(self._compared(engine, head, dataset))
            except HeadError as error:
                records.append(unranked(head.target.name, dataset, head.ablation, " ".join(str(error).split())))
        engine.timing.directions_s += time.perf_counter() - started
        return records

    def _compared(self, engine: LocalEngine, named: NamedHead, dataset: str) -> RandomDirectionsRecord:
        from reasoning_probe.engine.tokenization import ContextError
        from reasoning_probe.models.subspaces import head_basis, random_bases

        ((layer, head),) = named.target.heads
        attention_layer = engine.head_map.attention_layer(layer)
        random = random_bases(attention_layer, DIRECTIONS, f"{self.seed} {named.target.name}")
        bases = [head_basis(attention_layer, head)[0], *random]  # (heads * head_dim, head_dim) each
        by_item: list[list[float]] = []
        for query in named.queries:
            try:
                encoded = engine.codec.encode(query)
            except ContextError:
                continue  # the sweep skips this item, and says why
            values = engine.replacement(named.ablation, query.dataset, query.prompt).get(layer)
            changes = _changes(engine, encoded, attention_layer, head, bases, values)
            if all(map(math.isfinite, changes)):
                by_item.append(changes)
        if not by_item:
            return unranked(named.target.name, dataset, named.ablation, "no item has a log-probability to compare")
        change, *others = [math.fsum(changes) / len(by_item) for changes in zip(*by_item, strict=True)]
        return ranked(named.target.name, dataset, named.ablation, len(by_item), change, others)

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


def _changes(
    engine: LocalEngine,
    encoded: EncodedQuery,
    attention_layer: AttentionLayer,
    head: int,
    bases: Sequence[Tensor],
    values: Tensor | None,
) -> list[float]:
    """Return how the log-probability of the expected answer changes without each of the subspaces of *bases*."""
    import torch

    from reasoning_probe.engine.memory import run_in_halves
    from reasoning_probe.models.subspaces import no_basis, without_subspaces

    def run(some: Sequence[Tensor]) -> list[float]:
        rows = torch.stack([no_basis(attention_layer)[0], *some])  # (1 + some, heads * head_dim, head_dim)
        with without_subspaces(engine.model, attention_layer, head, rows.to(engine.codec.device), values):
            baseline, *off = engine.plain.hooked_logprobs(encoded, len(rows))
        return [logprob - baseline for logprob in off]

    return run_in_halves(bases, run, engine.memory)
