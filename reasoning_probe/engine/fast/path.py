"""The fast path: verify all targets of a query in growing passes, decode only the rows that differ."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, product
from typing import Any

import torch

from reasoning_probe.engine.fast.decoding import Decoder, DivergedRow
from reasoning_probe.engine.fast.forward import ForwardDriver, Unsupported
from reasoning_probe.engine.fast.kv_cache import NOWHERE
from reasoning_probe.engine.fast.packed_linear import PackedLinears
from reasoning_probe.engine.fast.pooled_verification import PooledVerifier
from reasoning_probe.engine.fast.ragged_decoding import decode_ragged
from reasoning_probe.engine.fast.verification import WINDOW, Row, RowChunk, begin, clean_pass, stem_pass
from reasoning_probe.engine.memory import Memory, out_of_memory, run_in_halves
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Encoded, Reply, TokenCodec
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.hooks import probe_ids, text_config
from reasoning_probe.models.targets import every_head, every_mlp
from reasoning_probe.models.weights import offloaded

CPU_BYTES = 16_000_000
"""Of a pass's widest activation, all rows together, on a CPU: about what its caches hold."""

PACKED_SHARE = 0.25
"""Of the memory that the sweep may use, for packed copies of the weights."""

PADDING = 1.25
"""Queries share a pass where that makes it at most so much longer."""

STEM = 16
"""Tokens that prompts must begin with alike for each target to run them once for all."""


class FastPath:
    """Answers queries exactly as ``PlainPath`` does, at a fraction of the work."""

    def __init__(
        self,
        model: Any,
        head_map: HeadMap,
        codec: TokenCodec,
        plain: PlainPath,
        memory: Memory,
        *,
        grows: bool = True,
        forks: bool = True,
        pools: bool = True,
        trims: bool = True,
        packed: PackedLinears | None = None,
    ) -> None:
        self.pools = pools
        self.driver = ForwardDriver(model, head_map, grows=grows, forks=forks, trims=trims, packed=packed)
        self.codec, self.plain, self.memory = codec, plain, memory
        self.counts = plain.counts
        widest = _widest(self.driver.blocks[0])
        self.width = int(getattr(text_config(model.config), "hidden_size", widest))
        # What comes from disk in every pass is worth as many rows as fit, whatever the caches hold.
        on_cpu, size = codec.device.type == "cpu" and not offloaded(model), widest * model.dtype.itemsize
        self.tokens = CPU_BYTES // size if on_cpu else sys.maxsize
        # The keys and values of a token, until a pass has shown what they are: as wide as the hidden state.
        self.token_bytes = 2 * len(self.driver.blocks) * self.width * model.dtype.itemsize

    def answer(self, jobs: Sequence[AblationJob]) -> Iterator[tuple[int, list[Reply]]]:
        """Yield the place of each job with the replies to its targets, in their order, as they are found."""
        small, alone = self._pools(jobs)
        for pools in small:
            yield from self._pooled(jobs, pools)
        yield from self._one_by_one(jobs, alone)

    def expected(self, jobs: Sequence[AblationJob]) -> list[list[float]]:
        """Return the log-probability of each job's expected answer under each of its targets; nothing is settled."""
        with self.counts.untouched():
            found = replies(self, [replace(job, settles=False) for job in jobs])
        return [[reply.logprob for reply in of_job] for of_job in found]

    # -- several queries in a pass --------------------------------------------------------------------------------

    def _pools(self, jobs: Sequence[AblationJob]) -> tuple[list[list[list[int]]], list[int]]:
        """Return the pools of jobs that share passes, in lists that are decoded together, and the jobs left alone."""
        together: list[list[list[int]]] = []
        alone: list[int] = []
        held = 0
        for pool in self._by_length(jobs):
            if len(pool) == 1:
                alone += pool
                continue
            rows = sum(len(jobs[at].targets) for at in pool)
            most = self._rows_that_fit([jobs[at] for at in pool])
            if not together or held + rows > most:
                together.append([])
                held = 0
            together[-1].append(pool)
            held += rows
        return together, sorted(alone)

    def _by_length(self, jobs: Sequence[AblationJob]) -> list[list[int]]:
        """Return the jobs in groups of similar length that fit a pass: the caches of a CPU, the memory of a device."""
        pools: list[list[int]] = []
        for at in sorted(range(len(jobs)), key=lambda at: jobs[at].length):
            if pools and self._fit([jobs[other] for other in pools[-1]], jobs[at]):
                pools[-1].append(at)
            else:
                pools.append([at])
        return pools

    def _fit(self, pool: Sequence[AblationJob], job: AblationJob) -> bool:
        jobs = [*pool, job]
        rows = sum(len(other.targets) for other in jobs)
        padded, needed = rows * job.length, sum(len(other.targets) * other.length for other in jobs)
        return (
            all(map(self._poolable, jobs))
            and padded <= min(self.tokens, PADDING * needed)
            and rows <= self._rows_that_fit(jobs)
        )

    def _poolable(self, job: AblationJob) -> bool:
        """Tell whether *job* can share passes: masks of our own know no sliding windows, so none may be reached."""
        longest = job.prompt_length + job.encoded.limit
        windows = vars(text_config(self.driver.model.config)).items()
        reached = any(
            isinstance(size, int) and not isinstance(size, bool) and 0 < size < longest
            for name, size in windows
            if ("window" in name or "chunk" in name) and "layer" not in name
        )
        return self.pools and not reached and bool(job.targets)

    def _pooled(self, jobs: Sequence[AblationJob], pools: Sequence[Sequence[int]]) -> Iterator[tuple[int, list[Reply]]]:
        rows = {at: self._rows(jobs[at]) for pool in pools for at in pool}
        strays: list[DivergedRow] = []
        decoded = 0

        def verify(pool: Sequence[int]) -> list[DivergedRow]:
            nonlocal decoded
            if len(pool) == 1:  # what is left of a pool that did not fit
                left, before = self._verified(jobs, {pool[0]: rows[pool[0]]})
                self._decode(left)
                decoded += before + len(left)
                return []
            return PooledVerifier(
                self.driver, self.codec, [jobs[at] for at in pool], [rows[at] for at in pool]
            ).verify()

        with torch.inference_mode(), self.driver.driving():
            for pool in pools:
                strays += run_in_halves(pool, verify, self.memory)
            self._decoded(strays, partial(decode_ragged, self.driver, self.codec))
        self._count(sum(map(len, rows.values())), decoded + len(strays))
        for at, of_job in rows.items():
            yield at, [self._reply(row, jobs[at]) for row in of_job]

    # -- one query at a time --------------------------------------------------------------------------------------

    def _one_by_one(self, jobs: Sequence[AblationJob], places: Sequence[int]) -> Iterator[tuple[int, list[Reply]]]:
        """Verify one query after another, or those whose prompts begin alike; decode what differs for several together.

        Queries of about one length come together: their rows are decoded in step.
        """
        groups = sorted(_same_beginning(jobs, places), key=lambda group: jobs[group[0]].prompt_length)
        rows: dict[int, list[Row]] = {}
        strays: list[DivergedRow] = []
        decoded = held = 0
        for group in groups:
            of_group = {at: self._rows(jobs[at]) for at in group}
            rows |= of_group
            with torch.inference_mode(), self.driver.driving():
                left, already = self._verified(jobs, of_group)
                strays += left
                decoded += already + len(left)
                held += sum(map(len, of_group.values()))
                if group is not groups[-1] and held < self._held_rows(jobs[group[0]]):
                    continue
                self._decode(strays)
            self._count(sum(map(len, rows.values())), decoded)
            for at, of_job in rows.items():
                yield at, [self._reply(row, jobs[at]) for row in of_job]
            rows, strays, decoded, held = {}, [], 0, 0

    def _verified(
        self, jobs: Sequence[AblationJob], rows: Mapping[int, Sequence[Row]]
    ) -> tuple[list[DivergedRow], int]:
        """Verify the *rows* of each job; return those that differ, and how many were decoded for want of memory."""
        group, decoded = list(rows), 0
        prompts = [jobs[at].encoded.prompt for at in group]
        stem = stem_pass(self.driver, prompts[0][:, : common_beginning(prompts)])
        cleans = {at: clean_pass(self.driver, jobs[at], stem) for at in group}
        self.token_bytes = cleans[group[0]].slots.token_bytes()
        size = self._chunk_rows([jobs[at] for at in group], stem.length)
        order = sorted(range(len(rows[group[0]])), key=lambda place: rows[group[0]][place].start)
        strays: list[DivergedRow] = []
        held = 0

        def verify(places: Sequence[int]) -> list[DivergedRow]:
            begun = begin(self.driver, stem, [rows[group[0]][place] for place in places])
            found = []
            for at in group:
                chunk = RowChunk(self.driver, cleans[at], [rows[at][place] for place in places], begun)
                left = chunk.verify()
                found += [DivergedRow(row, jobs[at], chunk.noise) for row in left]
            return found

        for first in range(0, len(order), size):
            if held >= self._held_rows(jobs[group[0]]):
                self._decode(strays)
                decoded += len(strays)
                strays, held = [], 0
            strays += run_in_halves(order[first : first + size], verify, self.memory)
            held += size * len(group)
        return strays, decoded

    def _decode(self, strays: Sequence[DivergedRow]) -> None:
        self._decoded(strays, lambda part: Decoder(self.driver, self.codec, part).run())

    def _held_rows(self, job: AblationJob) -> int:
        """Return how many rows may be verified before those that differ are decoded: two copies of keys and values."""
        return self.memory.rows(2 * self.token_bytes * (job.prompt_length + job.encoded.limit))

    def _chunk_rows(self, jobs: Sequence[AblationJob], begun: int) -> int:
        """Return how many rows to verify at a time."""
        longest = max(job.prompt_length + job.encoded.limit for job in jobs)
        by_cache = self.tokens // (max(begun, max(job.prompt_length for job in jobs) - begun) + WINDOW)
        return min(self.memory.rows(self._row_bytes(longest, WINDOW)), max(4, by_cache))

    # -- what both share ------------------------------------------------------------------------------------------

    @staticmethod
    def _rows(job: AblationJob) -> list[Row]:
        return [Row(target, at, target.lowest, replacement=job.replacement) for at, target in enumerate(job.targets)]

    def _count(self, rows: int, decoded: int) -> None:
        self.counts.rows += rows
        self.counts.verified += rows - decoded
        self.counts.decoded += decoded

    def _rows_that_fit(self, jobs: Sequence[AblationJob]) -> int:
        longest = max(job.prompt_length + job.encoded.limit for job in jobs)
        return self.memory.rows(self._row_bytes(longest, max(len(job.draft) for job in jobs)))

    def _row_bytes(self, length: int, predicted: int) -> int:
        """Return at most how many bytes a row of *length* tokens takes while *predicted* of them are predicted."""
        config, size = text_config(self.driver.model.config), self.driver.model.dtype.itemsize
        return int(length * (self.token_bytes + 12 * self.width * size) + 4 * predicted * config.vocab_size * 4)

    def _decoded(self, strays: Sequence[DivergedRow], decode: Callable[[Sequence[DivergedRow]], None]) -> None:
        """Decode *strays*, in halves where memory is short, and let go of their keys and values."""
        known = {id(stray): len(stray.row.tokens) for stray in strays}

        def run(part: Sequence[DivergedRow]) -> list[DivergedRow]:
            for stray in part:
                del stray.row.tokens[known[id(stray)] :]  # what an attempt that ran out of memory had appended
            decode(part)
            return list(part)

        run_in_halves(strays, run, self.memory)
        for stray in strays:
            stray.row.origin = NOWHERE

    def _reply(self, row: Row, job: AblationJob) -> Reply:
        """Return the row's reply; what was too close to call in a batch is settled alone."""
        if not (row.near_tie and job.settles):
            return Reply(tuple(row.tokens), row.logprob)
        return Reply(self.plain.resolve_near_tie(job, row.target, tuple(row.tokens), row.near_tie), row.logprob)


def _widest(block: Any) -> int:
    """Return the most features that a projection of *block* takes or gives, however its weight is stored."""
    widths = [
        getattr(part, name, 0) for part in block.modules() for name in ("in_features", "out_features", "nf", "nx")
    ]
    shapes = [parameter.shape for parameter in block.parameters() if parameter.dim() == 2 and min(parameter.shape) > 1]
    return max(int(width) for width in (*widths, *(max(shape) for shape in shapes)))


def common_beginning(prompts: Sequence[torch.Tensor]) -> int:
    """Return how many tokens *prompts*, ``(1, tokens)`` each, begin with alike; 0 where sharing them is not worth it.

    The last token of each stays outside: its logits predict the first token of the answer.
    """
    if len(prompts) < 2:
        return 0
    first = prompts[0][0]
    length = min(prompt.shape[1] for prompt in prompts) - 1
    for prompt in prompts[1:]:
        differs = (prompt[0, :length] != first[:length]).nonzero()
        length = int(differs[0]) if len(differs) else length
    return length if length >= STEM else 0


def _same_beginning(jobs: Sequence[AblationJob], places: Sequence[int]) -> list[list[int]]:
    """Return *places* in groups of neighbours whose targets are the same and whose prompts begin alike."""
    groups: list[list[int]] = []
    for at in places:
        alike = [jobs[other].encoded.prompt for other in (groups[-1] if groups else ())]
        like = jobs[groups[-1][0]] if groups else jobs[at]
        same = like.targets == jobs[at].targets and like.replacement is jobs[at].replacement
        if same and common_beginning([*alike, jobs[at].encoded.prompt]):
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups


def fast_path(
    model: Any, head_map: HeadMap, codec: TokenCodec, plain: PlainPath, memory: Memory
) -> tuple[FastPath | None, str]:
    """Return the fast path if it answers like the plain one on a small question, else ``None`` and why not.

    No list of families decides: what a model's code assumes of its batches shows when it runs.
    """
    why = ""
    asked: tuple[list[AblationJob], list[list[Reply]]] | None = None
    packed = PackedLinears(model.modules(), int(PACKED_SHARE * memory.budget))
    ways = ({"grows": True, "forks": True}, {"grows": True, "forks": False}, {"grows": False, "forks": False})
    for way, pools, trims in product(ways, (True, False), (True, False)):
        try:
            fast = FastPath(model, head_map, codec, plain, memory, **way, pools=pools, trims=trims, packed=packed)
            asked = asked or _small_questions(plain, head_map)
            why = _disagreement(fast, *asked)
        except Unsupported as error:
            return None, str(error)
        except Exception as error:  # a family's own code stumbles over the batch: any kind of error
            if out_of_memory(error):
                raise
            why = f"its layers do not take such a pass ({type(error).__name__}: {str(error)[:120]})"
        if not why:
            kind = "growing passes" if way["grows"] else "full passes"
            return fast, kind + (" of several queries" if pools else "")
    return None, why


def _small_questions(plain: PlainPath, head_map: HeadMap) -> tuple[list[AblationJob], list[list[Reply]]]:
    """Return two short prompts with heads and MLPs of all depths, and what the plain path replies."""
    heads, mlps = every_head(head_map), every_mlp(head_map)
    some = [heads[0], heads[1 % len(heads)], heads[len(heads) // 2], heads[-1], *mlps[:1], *mlps[-1:]]
    targets = tuple(dict.fromkeys(some))
    jobs = []
    with plain.counts.untouched():
        for length, limit in ((7, WINDOW + 3), (11, WINDOW + 1)):
            prompt = probe_ids(plain.model, length)
            encoded = Encoded(prompt, tuple(prompt[0, :3].tolist()), limit)
            jobs.append(AblationJob(encoded, (), plain.baseline(encoded, ()), targets, ZERO))
        return jobs, replies(plain, jobs)


def _disagreement(fast: FastPath, jobs: Sequence[AblationJob], expected: Sequence[Sequence[Reply]]) -> str:
    """Return how *fast* differs from what is *expected* of *jobs*; empty where it does not."""
    model, most = fast.driver.model, 2 if fast.pools else 1
    with fast.counts.untouched():
        got = replies(fast, jobs[:most])
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 0.5
    for slow, quick in zip(chain(*expected[:most]), chain(*got), strict=True):
        if slow.tokens != quick.tokens:
            return "it answers otherwise than the plain path"
        if not abs(slow.logprob - quick.logprob) <= tolerance * max(1.0, abs(slow.logprob)):
            return "its log-probabilities differ from the plain path's"
    return ""


def replies(way: FastPath | PlainPath, jobs: Sequence[AblationJob]) -> list[list[Reply]]:
    """Return what *way* replies to *jobs*, in their order."""
    found = dict(way.answer(jobs))
    return [found[at] for at in range(len(jobs))]
