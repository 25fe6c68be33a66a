"""The fast path: verify all targets of a query in growing passes, and decode only the rows that diverge."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from reasoning_probe.engine.fast.answer_logprobs import AnswerScorer
from reasoning_probe.engine.fast.baselines import decode_baselines
from reasoning_probe.engine.fast.decoding import Decoder, DivergedRow
from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import NO_ORIGIN
from reasoning_probe.engine.fast.pooled_verification import PooledVerifier, verified_length
from reasoning_probe.engine.fast.ragged_decoding import decode_ragged
from reasoning_probe.engine.fast.shared_prefix import shared_prefix_length, with_shared_prefix
from reasoning_probe.engine.fast.verification import (
    WINDOW,
    Row,
    RowChunk,
    run_ablated_prefix,
    run_baseline,
    run_prefix,
)
from reasoning_probe.engine.memory import Memory, run_in_halves
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Completion, EncodedQuery, TokenCodec
from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.hooks import text_config
from reasoning_probe.models.targets import Target
from reasoning_probe.models.weights import offloaded

CPU_BYTES = 16_000_000
"""Size of a pass's widest activation on a CPU, all rows together: about what the CPU's caches hold."""

PACKED_SHARE = 1 / 3
"""Share of the sweep's memory budget for packed copies of the weights: of all, where it is three times the weights."""

MAX_PADDING = 1.25
"""Queries share a pass if padding makes it at most this many times longer."""


class FastPath:
    """Answers queries exactly as ``PlainPath`` does, at a fraction of the cost."""

    def __init__(
        self,
        driver: ForwardDriver,
        codec: TokenCodec,
        plain: PlainPath,
        memory: Memory,
        *,
        pools_queries: bool = True,
    ) -> None:
        self.driver, self.pools_queries = driver, pools_queries
        self.decodes_baselines = driver.numerics.invariant
        self.codec, self.plain, self.memory = codec, plain, memory
        self.counts, self.pace = plain.counts, plain.pace
        model, widest = driver.model, _widest(driver.blocks[0])
        self.width = int(getattr(text_config(model.config), "hidden_size", widest))
        # Weights that every pass reads from disk are worth as many rows as fit, whatever the caches hold.
        on_cpu, size = codec.device.type == "cpu" and not offloaded(model), widest * model.dtype.itemsize
        self.tokens = CPU_BYTES // size if on_cpu else sys.maxsize
        # The keys and values of a token, until a pass has shown their size: as wide as the hidden state.
        itemsize = 4 if driver.numerics.caches_tiles else model.dtype.itemsize
        self.token_bytes = 2 * len(driver.blocks) * self.width * itemsize

    def answer(self, jobs: Sequence[AblationJob]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield the index of each job with the completions of its targets, in their order, as they are finished."""
        pool_groups, single = self._group_into_pools(jobs)
        last_pools = pool_groups.pop() if pool_groups and single and self._decodes_together(jobs) else []
        for pools in pool_groups:
            yield from self._answer_pooled(jobs, pools)
        yield from self._answer_singly(jobs, single, last_pools)

    def answer_logprobs(
        self, encoded: EncodedQuery, targets: Sequence[Target], replacement: Replacement
    ) -> list[float]:
        """Return the log-probability of the expected answer under each of *targets*; decodes nothing."""
        rows = [Row(target, index, target.lowest, replacement=replacement) for index, target in enumerate(targets)]
        rows.sort(key=lambda row: row.lowest_layer)
        length, answer = int(encoded.prompt.shape[1]) + len(encoded.answer) - 1, len(encoded.answer)
        size = min(self.memory.rows(self._row_bytes(length, answer)), max(4, self.tokens // (length + 4 * answer)))
        logprobs = [0.0] * len(rows)
        with torch.inference_mode(), self.driver.driving():
            scorer = AnswerScorer(self.driver, encoded)
            for first in range(0, len(rows), size):
                chunk = rows[first : first + size]
                for row, logprob in zip(chunk, run_in_halves(chunk, scorer.logprobs, self.memory), strict=True):
                    logprobs[row.target_index] = logprob
        return logprobs

    # -- baselines -----------------------------------------------------------------------------------------------

    def baselines(self, queries: Sequence[tuple[EncodedQuery, tuple[str, ...]]]) -> list[Baseline]:
        """Return the baselines of *queries*, which have stop strings: together if the numerics are invariant."""
        together = [index for index, (encoded, _) in enumerate(queries) if self.takes_masks(_length(encoded))]
        if not (self.decodes_baselines and self.pools_queries):
            together = []
        by_index: dict[int, Baseline] = {}

        def decode(indices: Sequence[int]) -> list[Baseline]:
            with torch.inference_mode(), self.driver.driving():
                return decode_baselines(self.driver, self.codec, [queries[index] for index in indices])

        for batch in self._baseline_batches(queries, together):
            by_index |= zip(batch, run_in_halves(batch, decode, self.memory), strict=True)
        return [
            by_index[index] if index in by_index else self.plain.baseline(*query) for index, query in enumerate(queries)
        ]

    def _baseline_batches(
        self, queries: Sequence[tuple[EncodedQuery, tuple[str, ...]]], indices: Sequence[int]
    ) -> list[list[int]]:
        """Return *indices* in batches that fit into memory, those of similar length together."""
        batches: list[list[int]] = []
        for index in sorted(indices, key=lambda index: _length(queries[index][0])):
            longest = _length(queries[index][0])
            most = self.memory.rows(self._row_bytes(longest, len(queries[index][0].answer)))
            if batches and len(batches[-1]) < most:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches

    # -- several queries in a pass --------------------------------------------------------------------------------

    def _group_into_pools(self, jobs: Sequence[AblationJob]) -> tuple[list[list[list[int]]], list[int]]:
        """Return the pools of jobs that share a pass, in groups that are decoded together, and the remaining jobs."""
        groups: list[list[list[int]]] = []
        single: list[int] = []
        rows_in_group = 0
        for pool in self._pools_by_length(jobs):
            if len(pool) == 1:
                single += pool
                continue
            rows = sum(len(jobs[index].targets) for index in pool)
            most = self._max_undecoded(max((jobs[index] for index in pool), key=_job_length))
            if not groups or rows_in_group + rows > most:
                groups.append([])
                rows_in_group = 0
            groups[-1].append(pool)
            rows_in_group += rows
        return groups, sorted(single)

    def _pools_by_length(self, jobs: Sequence[AblationJob]) -> list[list[int]]:
        """Return the jobs in pools of similar length that fit a pass: a CPU's caches, or a device's memory."""
        pools: list[list[int]] = []
        for index in sorted(range(len(jobs)), key=lambda index: (jobs[index].start, jobs[index].length)):
            if pools and self._fits_pool([jobs[other] for other in pools[-1]], jobs[index]):
                pools[-1].append(index)
            else:
                pools.append([index])
        return pools

    def _fits_pool(self, pool: Sequence[AblationJob], job: AblationJob) -> bool:
        jobs = [*pool, job]
        rows = sum(len(other.targets) for other in jobs)
        start = min(other.start for other in jobs)
        padded = rows * (max(map(verified_length, jobs)) - start)
        needed = sum(len(other.targets) * (verified_length(other) - other.start) for other in jobs)
        return (
            all(map(self._can_pool, jobs))
            and padded <= min(self.tokens, MAX_PADDING * needed)
            and rows <= self._rows_that_fit(jobs)
        )

    def _can_pool(self, job: AblationJob) -> bool:
        """Tell whether *job* can share passes."""
        return self.pools_queries and self.takes_masks(_length(job.encoded)) and bool(job.targets)

    def takes_masks(self, longest: int) -> bool:
        """Tell whether rows of *longest* tokens can use our masks, which have no sliding windows."""
        windows = vars(text_config(self.driver.model.config)).items()
        return not any(
            isinstance(size, int) and not isinstance(size, bool) and 0 < size < longest
            for name, size in windows
            if ("window" in name or "chunk" in name) and "layer" not in name
        )

    def _decodes_together(self, jobs: Sequence[AblationJob]) -> bool:
        """Tell whether rows of *jobs* of any length are decoded in one batch, each at its own position.

        They are where a mask costs nothing, since the attention of fixed tiles has one anyhow, and caches hold zeros
        where nothing is known, which a mask can hide.
        """
        return self.driver.numerics.caches_tiles and all(map(self._can_pool, jobs))

    def _answer_pooled(
        self, jobs: Sequence[AblationJob], pools: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Verify each of *pools* in a pass, and decode the diverged rows of all of them together."""
        rows = {index: self._rows(jobs[index]) for pool in pools for index in pool}
        with torch.inference_mode(), self.driver.driving():
            diverged_rows, decoded = self._verify_pools(jobs, pools, rows)
            self._decode_ragged(diverged_rows)
        self._count(sum(map(len, rows.values())), decoded + len(diverged_rows))
        for index, of_job in rows.items():
            yield index, [self._completion(row, jobs[index]) for row in of_job]

    def _verify_pools(
        self, jobs: Sequence[AblationJob], pools: Sequence[Sequence[int]], rows: Mapping[int, Sequence[Row]]
    ) -> tuple[list[DivergedRow], int]:
        """Verify the *rows* of each of *pools*; return those that diverge, and how many were decoded to free memory."""
        diverged_rows: list[DivergedRow] = []
        decoded = 0

        def verify(pool: Sequence[int]) -> list[DivergedRow]:
            nonlocal decoded
            if len(pool) == 1:  # a half of a pool that did not fit into memory
                diverged, already_decoded = self._verify_singly(jobs, {pool[0]: rows[pool[0]]})
                self._decode(diverged)
                decoded += already_decoded + len(diverged)
                return []
            started, pooled_jobs = time.perf_counter(), [jobs[index] for index in pool]
            verifier = PooledVerifier(self.driver, self.codec, pooled_jobs, [rows[index] for index in pool])
            diverged = verifier.verify()
            self.token_bytes = verifier.token_bytes
            self.counts.add_canary(changed=verifier.canary_diverged, noise=verifier.noise)
            verified = [row for index in pool for row in rows[index]]
            self._keep_pace(
                verified, max(verified_length(job) - job.start for job in pooled_jobs), len(diverged), started
            )
            return diverged

        for pool in pools:
            diverged_rows += run_in_halves(pool, verify, self.memory)
        return diverged_rows, decoded

    # -- one query at a time --------------------------------------------------------------------------------------

    def _answer_singly(
        self, jobs: Sequence[AblationJob], indices: Sequence[int], pools: Sequence[Sequence[int]] = ()
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Verify one query, or one group with a shared prefix, after another; decode the diverged rows of several.

        Queries of similar length are decoded together, since their rows are decoded in step. With *pools*, whose rows
        are decoded with the first ones, rows of any length are.
        """
        decode = self._decode_ragged if self._decodes_together(jobs) else self._decode
        groups = sorted(with_shared_prefix(jobs, indices), key=lambda group: jobs[group[0]].prompt_length)
        rows: dict[int, list[Row]] = {}
        diverged_rows: list[DivergedRow] = []
        decoded = verified = 0
        if pools:
            rows = {index: self._rows(jobs[index]) for pool in pools for index in pool}
            with torch.inference_mode(), self.driver.driving():
                diverged_rows, already_decoded = self._verify_pools(jobs, pools, rows)
            decoded, verified = already_decoded + len(diverged_rows), sum(map(len, rows.values()))
        for group in groups:
            of_group = {index: self._rows(jobs[index]) for index in group}
            rows |= of_group
            with torch.inference_mode(), self.driver.driving():
                diverged, already_decoded = self._verify_singly(jobs, of_group)
                diverged_rows += diverged
                decoded += already_decoded + len(diverged)
                verified += sum(map(len, of_group.values()))
                if group is not groups[-1] and verified < self._max_undecoded(jobs[group[0]]):
                    continue
                decode(diverged_rows)
            self._count(sum(map(len, rows.values())), decoded)
            for index, of_job in rows.items():
                yield index, [self._completion(row, jobs[index]) for row in of_job]
            rows, diverged_rows, decoded, verified = {}, [], 0, 0

    def _verify_singly(
        self, jobs: Sequence[AblationJob], rows: Mapping[int, Sequence[Row]]
    ) -> tuple[list[DivergedRow], int]:
        """Verify the *rows* of each job; return those that diverge, and how many were decoded to free memory."""
        group, decoded = list(rows), 0
        prompts = [jobs[index].encoded.prompt for index in group]
        prefix = run_prefix(self.driver, prompts[0][:, : shared_prefix_length(prompts)])
        baselines = {index: run_baseline(self.driver, jobs[index], prefix) for index in group}
        self.token_bytes = baselines[group[0]].kv_cache.token_bytes()
        size = self._chunk_rows([jobs[index] for index in group], prefix.length)
        first_rows = rows[group[0]]
        by_layer = sorted(range(len(first_rows)), key=lambda target: first_rows[target].lowest_layer)
        diverged_rows: list[DivergedRow] = []
        verified = 0

        def verify(targets: Sequence[int]) -> list[DivergedRow]:
            prefix_cache = run_ablated_prefix(self.driver, prefix, [first_rows[target] for target in targets])
            diverged_rows = []
            for index in group:
                started, chunk_rows = time.perf_counter(), [rows[index][target] for target in targets]
                chunk = RowChunk(self.driver, baselines[index], chunk_rows, prefix_cache)
                diverged = chunk.verify()
                self.counts.add_canary(changed=chunk.canary_diverged, noise=chunk.noise)
                diverged_rows += [DivergedRow(row, jobs[index], chunk.noise) for row in diverged]
                self._keep_pace(chunk_rows, jobs[index].length - chunk.start, len(diverged), started)
            return diverged_rows

        for first in range(0, len(by_layer), size):
            if verified >= self._max_undecoded(jobs[group[0]]):
                self._decode(diverged_rows)
                decoded += len(diverged_rows)
                diverged_rows, verified = [], 0
            diverged_rows += run_in_halves(by_layer[first : first + size], verify, self.memory)
            verified += size * len(group)
        return diverged_rows, decoded

    def _decode(self, diverged_rows: Sequence[DivergedRow]) -> None:
        self._decode_in_halves(diverged_rows, lambda part: Decoder(self.driver, self.codec, part).run())

    def _decode_ragged(self, diverged_rows: Sequence[DivergedRow]) -> None:
        self._decode_in_halves(diverged_rows, partial(decode_ragged, self.driver, self.codec))

    def _max_undecoded(self, job: AblationJob) -> int:
        """Return how many rows to verify before decoding those that diverge: two copies of keys and values fit."""
        return self.memory.rows(2 * self.token_bytes * _job_length(job))

    def _chunk_rows(self, jobs: Sequence[AblationJob], prefix_length: int) -> int:
        """Return how many rows to verify at a time."""
        longest = max(map(_job_length, jobs))
        longest_rest = max(job.prompt_length - max(job.start, prefix_length) for job in jobs)
        by_cache = self.tokens // (max(prefix_length, longest_rest) + WINDOW)
        return min(self.memory.rows(self._row_bytes(longest, WINDOW)), max(4, by_cache))

    # -- common to both -------------------------------------------------------------------------------------------

    @staticmethod
    def _rows(job: AblationJob) -> list[Row]:
        return [
            Row(target, index, target.lowest, replacement=job.replacement) for index, target in enumerate(job.targets)
        ]

    def _keep_pace(self, rows: Sequence[Row], tokens: int, diverged: int, started: float) -> None:
        layers = len(self.driver.blocks)
        self.pace.add_verified([1 - row.lowest_layer / layers for row in rows], tokens, diverged, started)

    def _count(self, rows: int, decoded: int) -> None:
        self.counts.rows += rows
        self.counts.verified += rows - decoded
        self.counts.decoded += decoded

    def _rows_that_fit(self, jobs: Sequence[AblationJob]) -> int:
        longest = max(map(_job_length, jobs))
        return self.rows_that_fit(longest, max(len(job.draft) for job in jobs))

    def rows_that_fit(self, length: int, predicted: int) -> int:
        """Return how many rows of *length* tokens fit into memory while *predicted* of them are predicted."""
        return self.memory.rows(self._row_bytes(length, predicted))

    def _row_bytes(self, length: int, predicted: int) -> int:
        """Return at most how many bytes a row of *length* tokens takes while *predicted* of them are predicted."""
        config, size = text_config(self.driver.model.config), self.driver.model.dtype.itemsize
        return int(length * (self.token_bytes + 12 * self.width * size) + 4 * predicted * config.vocab_size * 4)

    def _decode_in_halves(
        self, diverged_rows: Sequence[DivergedRow], decode: Callable[[Sequence[DivergedRow]], list[DivergedRow]]
    ) -> None:
        """Decode *diverged_rows*, in halves if memory is short, and release their keys and values."""
        lengths = {id(diverged): len(diverged.row.tokens) for diverged in diverged_rows}

        def run(part: Sequence[DivergedRow]) -> list[DivergedRow]:
            for diverged in part:
                del diverged.row.tokens[lengths[id(diverged)] :]  # appended by an attempt that ran out of memory
            for canary in decode(part):
                self.counts.add_canary(changed=canary.changed, noise=canary.noise)
            return list(part)

        with self.pace.decoding(len(diverged_rows)):
            run_in_halves(diverged_rows, run, self.memory)
        for diverged in diverged_rows:
            diverged.row.origin = NO_ORIGIN

    def _completion(self, row: Row, job: AblationJob) -> Completion:
        """Return the row's completion; a near tie in the batch is resolved by running the row alone."""
        if not (row.near_tie and job.resolves_near_ties):
            return Completion(tuple(row.tokens), row.logprob)
        tokens = self.plain.resolve_near_tie(job, row.target, tuple(row.tokens), row.near_tie)
        return Completion(tokens, row.logprob)


def _job_length(job: AblationJob) -> int:
    """Return the most tokens that a row of the job can have while it is decoded."""
    return job.prompt_length + job.encoded.limit


def _length(encoded: EncodedQuery) -> int:
    """Return the most tokens that a row of the query can have."""
    return int(encoded.prompt.shape[1]) + max(encoded.limit, len(encoded.answer))


def _widest(block: Any) -> int:
    """Return the most features that a projection of *block* takes or returns, however its weight is stored."""
    widths = [
        getattr(module, name, 0) for module in block.modules() for name in ("in_features", "out_features", "nf", "nx")
    ]
    shapes = [parameter.shape for parameter in block.parameters() if parameter.dim() == 2 and min(parameter.shape) > 1]
    return max(int(width) for width in (*widths, *(max(shape) for shape in shapes)))
