"""Rows in which one layer's heads are edited freely: what this does to the expected answer's log-probability.

As in the sweep, such a row equals the baseline up to the layer's output projection, where it joins a pass: the layers
below run once for all rows of a query. Nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import Unsupported
from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.fast.pass_plan import LayerInput, PassPlan
from reasoning_probe.engine.fast.path import MAX_PADDING, FastPath
from reasoning_probe.engine.memory import run_in_halves
from reasoning_probe.engine.tokenization import EncodedQuery

if TYPE_CHECKING:
    from reasoning_probe.models.head_edits import HeadEdit


class CleanPass:
    """The unablated pass over a pool of queries and their expected answers, from which edited rows start.

    ``logprobs`` are those of the expected answers, in nats. Raises
    :class:`~reasoning_probe.engine.fast.forward.Unsupported` where rows cannot join at the output projections of
    *layers*.
    """

    def __init__(self, fast: FastPath, queries: Sequence[EncodedQuery], layers: Iterable[int]) -> None:
        self.fast, self.driver, self.queries = fast, fast.driver, queries
        self.device = queries[0].prompt.device
        sequences = [(*query.prompt[0].tolist(), *query.answer[:-1]) for query in queries]
        self.length = max(map(len, sequences))
        ids = torch.tensor(
            [self._padded(row, self.length) for row in sequences], device=self.device
        )  # (queries, tokens)
        self.longest_answer = max(len(query.answer) for query in queries)
        self.answers = torch.tensor(  # (queries, answer)
            [self._padded(query.answer, self.longest_answer) for query in queries], device=self.device
        )
        firsts = torch.tensor([query.prompt.shape[1] - 1 for query in queries], device=self.device)
        steps = torch.arange(self.longest_answer, device=self.device)
        self.counted = steps < torch.tensor([[len(query.answer)] for query in queries], device=self.device)
        self.positions = (firsts[:, None] + steps).clamp(max=self.length - 1)  # (queries, answer)
        record: dict[int, LayerInput] = {}
        plan = PassPlan(record=record, logits_at=self.positions)
        self.logprobs = self._logprobs(self._run(ids, plan), torch.arange(len(queries), device=self.device))
        self.layer_inputs = {layer: record[layer] for layer in set(layers)}
        if any(layer_input.heads is None for layer_input in self.layer_inputs.values()):
            raise Unsupported("rows do not join its layers at the output projections")

    def rows_at_once(self) -> int:
        """Return how many edited rows fit a pass: a CPU's caches, or a device's memory."""
        return min(self.fast.rows_that_fit(self.length, self.longest_answer), max(4, self.fast.tokens // self.length))

    def edited(self, layer: int, rows: Sequence[Edit]) -> list[float]:
        """Return the log-probability of the expected answer in all rows of *rows*, each with its query's index."""
        hidden, heads = self.layer_inputs[layer]
        assert heads is not None
        index = torch.tensor([query for query, edit in rows for _ in range(len(edit))], device=self.device)
        edited = torch.cat([edit.apply(heads[query : query + 1]) for query, edit in rows])
        joining = LayerInput(hidden[index.to(hidden.device)], edited)  # (rows, tokens, ...) both
        plan = PassPlan(layer, {layer: len(index)}, {layer: joining}, logits_at=self.positions[index])
        dummy_ids = self.answers.new_zeros(1, self.length)
        return self._logprobs(self._run(dummy_ids, plan), index)

    def _run(self, ids: Tensor, plan: PassPlan) -> Tensor:
        return self.driver.run(ids, KVCache(len(self.driver.blocks), self.length), plan)  # (rows, answer, vocabulary)

    def _logprobs(self, logits: Tensor, index: Tensor) -> list[float]:
        """Return each row's log-probability of the expected answer of the query that *index* says it asks."""
        logits = logits.float()  # (rows, answer, vocabulary)
        wanted = logits.gather(-1, self.answers[index].to(logits.device)[..., None])[..., 0]  # (rows, answer)
        logprobs = wanted - logits.logsumexp(-1)  # (rows, answer)
        of_answer = torch.where(self.counted[index].to(logits.device), logprobs, 0.0).sum(-1)  # (rows,)
        values: list[float] = of_answer.tolist()
        return values

    def _padded(self, tokens: Sequence[int], length: int) -> list[int]:
        return [*tokens, *[self.fast.codec.pad] * (length - len(tokens))]


Edit = tuple[int, "HeadEdit"]
"""The index of a query, and what becomes of one layer's heads in each row that asks it."""


def edited_changes(fast: FastPath, queries: Sequence[EncodedQuery], edits: Sequence[Edit]) -> list[list[float]]:
    """Return how the expected answer's log-probability changes in each row of *edits*, in nats.

    Raises :class:`~reasoning_probe.engine.fast.forward.Unsupported` for a model whose rows cannot join so late.
    """
    if not fast.driver.shares_attention:
        raise Unsupported("rows do not join its layers at the output projections")
    changes: dict[int, list[float]] = {}

    def run(pool: Sequence[int]) -> list[None]:
        of_pool = [n for n, (query, _) in enumerate(edits) if query in pool]
        moved = [(pool.index(edits[n][0]), edits[n][1]) for n in of_pool]
        clean = CleanPass(fast, [queries[query] for query in pool], [_layer(edit) for edit in moved])
        changes.update(zip(of_pool, _changes(clean, moved), strict=True))
        return []

    with torch.inference_mode(), fast.driver.driving():
        for pool in _pools(fast, queries):
            run_in_halves(pool, run, fast.memory)
    return [changes[n] for n in range(len(edits))]


def _pools(fast: FastPath, queries: Sequence[EncodedQuery]) -> list[list[int]]:
    """Return the indices of *queries* in pools of similar length whose clean passes fit, with the inputs they keep."""
    pools: list[list[int]] = []
    lengths = [int(query.prompt.shape[1]) + len(query.answer) for query in queries]
    for index in sorted(range(len(queries)), key=lambda index: lengths[index]):
        pool, longest = [*(pools[-1] if pools else ()), index], lengths[index]
        padded, needed = len(pool) * longest, sum(lengths[other] for other in pool)
        most = fast.rows_that_fit(longest, max(len(queries[other].answer) for other in pool)) // 2
        fits = len(pool) <= most and padded <= min(fast.tokens, MAX_PADDING * needed)
        if pools and fits and fast.pools_queries and fast.takes_masks(longest):
            pools[-1].append(index)
        else:
            pools.append([index])
    return pools


def _changes(clean: CleanPass, edits: Sequence[Edit]) -> list[list[float]]:
    """Return the changes in the rows of *edits*, as many in a pass as fit, each layer's in passes of their own."""
    changes: list[list[float]] = [[] for _ in edits]
    by_layer = sorted(range(len(edits)), key=lambda n: _layer(edits[n]))
    for layer, same_layer in groupby(by_layer, lambda n: _layer(edits[n])):
        rows = [(n, row) for n in same_layer for row in range(len(edits[n][1]))]
        size = clean.rows_at_once()

        def run(part: Sequence[tuple[int, int]], layer: int = layer) -> list[float]:
            spans = [(n, [row for _, row in of_edit]) for n, of_edit in groupby(part, lambda pair: pair[0])]
            return clean.edited(
                layer, [(edits[n][0], edits[n][1].part(slice(span[0], span[-1] + 1))) for n, span in spans]
            )

        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            for (n, _), logprob in zip(part, run_in_halves(part, run, clean.fast.memory), strict=True):
                changes[n].append(logprob - clean.logprobs[edits[n][0]])
    return changes


def _layer(edit: Edit) -> int:
    return edit[1].attention_layer.layer
