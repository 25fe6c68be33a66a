"""The fast path: verify all targets of a query in growing passes, decode only the rows that differ."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from reasoning_probe.ablation import ZERO
from reasoning_probe.engine.decode import Decoder
from reasoning_probe.engine.memory import Memory, in_halves, out_of_memory
from reasoning_probe.engine.passes import Driver, Unsupported
from reasoning_probe.engine.plain import Plain
from reasoning_probe.engine.pool import Pool
from reasoning_probe.engine.replies import Codec, Encoded, Job, Reply
from reasoning_probe.engine.verify import WINDOW, Chunk, Clean, Row, clean_pass
from reasoning_probe.heads import HeadMap, probe_ids, text_config
from reasoning_probe.targets import every_head

CPU_BYTES = 16_000_000
"""Of a pass's widest activation, all rows together, on a CPU: measured best of 2 to 32 MB on two cores."""


POOL_BYTES = 4_000_000
"""The same for queries that share passes, where all rows are as long as the longest."""


class Fast:
    """Answers queries exactly as :class:`~reasoning_probe.engine.plain.Plain` does, at a fraction of the work."""

    def __init__(
        self,
        model: Any,
        head_map: HeadMap,
        codec: Codec,
        plain: Plain,
        memory: Memory,
        *,
        grows: bool = True,
        pools: bool = True,
    ) -> None:
        self.pools = pools
        self.driver = Driver(model, head_map, grows)
        self.codec, self.plain, self.memory = codec, plain, memory
        self.counts = plain.counts
        shapes = [parameter.shape for parameter in self.driver.blocks[0].parameters() if parameter.dim() == 2]
        widest = max(max(shape) for shape in shapes)
        self.width = int(getattr(text_config(model.config), "hidden_size", widest))
        on_cpu, size = model.device.type == "cpu", widest * model.dtype.itemsize
        self.tokens = CPU_BYTES // size if on_cpu else sys.maxsize
        self.pool_tokens = POOL_BYTES // size if on_cpu else sys.maxsize

    def answer(self, jobs: Sequence[Job]) -> list[list[Reply]]:
        """Return the replies to each job with its targets switched off, in their order."""
        if len(jobs) == 1 or not self._poolable(jobs):
            return [self._replies(job) for job in jobs]
        return in_halves(jobs, self._pooled, self.memory)

    def _pooled(self, jobs: Sequence[Job]) -> list[list[Reply]]:
        if len(jobs) == 1:
            return [self._replies(jobs[0])]
        rows = [self._rows(job) for job in jobs]
        with torch.inference_mode(), self.driver.driving():
            left = len(Pool(self.driver, self.codec, jobs, rows).run())
        self._count(sum(map(len, rows)), left)
        return [[self._settled(row, job) for row in of_job] for job, of_job in zip(jobs, rows, strict=True)]

    @staticmethod
    def _rows(job: Job) -> list[Row]:
        return [Row(target, at, target.lowest, replacement=job.replacement) for at, target in enumerate(job.targets)]

    def _poolable(self, jobs: Sequence[Job]) -> bool:
        """Tell whether *jobs* can share passes: masks of our own know no sliding windows, so none may be reached."""
        longest = max(job.prompt_length + job.encoded.limit for job in jobs)
        windows = vars(text_config(self.driver.model.config)).items()
        reached = any(
            isinstance(size, int) and not isinstance(size, bool) and 0 < size < longest
            for name, size in windows
            if ("window" in name or "chunk" in name) and "layer" not in name
        )
        return self.pools and not reached and all(job.targets for job in jobs)

    def _count(self, rows: int, decoded: int) -> None:
        self.counts.rows += rows
        self.counts.verified += rows - decoded
        self.counts.decoded += decoded

    def _replies(self, job: Job) -> list[Reply]:
        rows = self._rows(job)
        decoded = 0
        with torch.inference_mode(), self.driver.driving():
            clean = clean_pass(self.driver, job)
            chunk_size, held = self._sizes(job)
            ordered = sorted(rows, key=lambda row: row.start)
            left: list[Row] = []
            for at in range(0, len(ordered), chunk_size):
                left += self._verify(clean, ordered[at : at + chunk_size])
                if len(left) >= held or at + chunk_size >= len(ordered):
                    self._decode(clean, left)
                    decoded += len(left)
                    left = []
        self._count(len(rows), decoded)
        return [self._settled(row, job) for row in rows]

    def fit(self, jobs: Sequence[Job]) -> bool:
        """Tell whether *jobs* together fit the passes: the caches of a CPU, the memory of a device."""
        if len(jobs) > 1 and not self._poolable(jobs):
            return False
        longest = max(job.prompt_length + job.encoded.limit for job in jobs)
        rows = sum(len(job.targets) for job in jobs)
        predicted = max(len(job.draft) for job in jobs)
        padded = rows * max(job.prompt_length + len(job.draft) for job in jobs)
        return padded <= self.pool_tokens and rows <= self.memory.rows(self._row_bytes(longest, predicted))

    def _row_bytes(self, length: int, predicted: int) -> int:
        """Return at most how many bytes a row of *length* tokens takes while *predicted* of them are predicted."""
        config, size = text_config(self.driver.model.config), self.driver.model.dtype.itemsize
        held = 2 * len(self.driver.blocks) * length * self.width * size
        return int(held + 12 * length * self.width * size + 4 * predicted * config.vocab_size * 4)

    def _sizes(self, job: Job) -> tuple[int, int]:
        """Return how many rows to verify at a time, and how many that differ to hold before they are decoded."""
        most = self.memory.rows(self._row_bytes(job.prompt_length + job.encoded.limit, WINDOW))
        by_cache = max(4, self.tokens // (job.prompt_length + WINDOW))
        return min(most, by_cache), most

    def _verify(self, clean: Clean, rows: Sequence[Row]) -> list[Row]:
        return in_halves(rows, lambda part: Chunk(self.driver, clean, part).verify(), self.memory)

    def _decode(self, clean: Clean, rows: Sequence[Row]) -> None:
        known = {row.place: len(row.tokens) for row in rows}

        def run(part: Sequence[Row]) -> list[Row]:
            for row in part:
                del row.tokens[known[row.place] :]  # what an attempt that ran out of memory had appended
            Decoder(self.driver, self.codec, clean, part).run()
            return list(part)

        in_halves(rows, run, self.memory)
        for row in rows:
            row.source = []

    def _settled(self, row: Row, job: Job) -> Reply:
        """Return the row's reply; what was too close to call in a batch is settled alone."""
        if not row.near_tie:
            return Reply(tuple(row.tokens), row.logprob)
        self.counts.settled_singly += 1
        return Reply(self.plain.alone(job, row.target), row.logprob)


def fast_path(model: Any, head_map: HeadMap, codec: Codec, plain: Plain, memory: Memory) -> tuple[Fast | None, str]:
    """Return the fast path if it answers like the plain one on a small question, else ``None`` and why not.

    No list of families decides: what a model's code assumes of its batches shows when it runs.
    """
    why = ""
    for grows, pools in ((True, True), (True, False), (False, True), (False, False)):
        try:
            fast = Fast(model, head_map, codec, plain, memory, grows=grows, pools=pools)
            why = _disagreement(fast, plain, head_map)
        except Unsupported as problem:
            return None, str(problem)
        except Exception as problem:  # a family's own code stumbles over the batch: any kind of error
            if out_of_memory(problem):
                raise
            why = f"its layers do not take such a pass ({type(problem).__name__}: {str(problem)[:120]})"
        if not why:
            return fast, ("growing passes" if grows else "full passes") + (" of several queries" if pools else "")
    return None, why


def _disagreement(fast: Fast, plain: Plain, head_map: HeadMap) -> str:
    """Return how the two paths differ on two short prompts and heads of all depths; empty where they agree."""
    model = fast.driver.model
    heads = every_head(head_map)
    targets = tuple(dict.fromkeys([heads[0], heads[1 % len(heads)], heads[len(heads) // 2], heads[-1]]))
    counts = vars(plain.counts).copy()
    jobs = []
    try:
        for length, limit in ((7, WINDOW + 3), (11, WINDOW + 1)) if fast.pools else ((7, WINDOW + 3),):
            prompt = probe_ids(model, length)
            encoded = Encoded(prompt, tuple(prompt[0, :3].tolist()), limit)
            jobs.append(Job(encoded, (), plain.baseline(encoded, ()), targets, ZERO))
        expected, got = plain.answer(jobs), fast.answer(jobs)
    finally:
        vars(plain.counts).update(counts)
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 0.5
    for slow, quick in zip(chain(*expected), chain(*got), strict=True):
        if slow.tokens != quick.tokens:
            return "it answers otherwise than the plain path"
        if not abs(slow.logprob - quick.logprob) <= tolerance * max(1.0, abs(slow.logprob)):
            return "its log-probabilities differ from the plain path's"
    return ""
