"""Several queries in one pass: what small models and large devices need, where a query alone is mostly overhead.

Prompts and answers are padded on the right, where causal attention never looks, so the dummy's mask still serves all
rows. What differs is decoded by :mod:`reasoning_probe.engine.fast.ragged_decoding`, for several pools together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning_probe.engine.fast.decoding import DivergedRow
from reasoning_probe.engine.fast.forward import ForwardDriver, LayerInput, PassPlan, joining_plan, off_pairs
from reasoning_probe.engine.fast.kv_cache import KVCache, KVOrigin, gathered
from reasoning_probe.engine.fast.ragged_decoding import run_ragged
from reasoning_probe.engine.fast.verification import Row, canary_for, lined_up, read
from reasoning_probe.engine.plain_path import last_near_tie, noise_of
from reasoning_probe.engine.tokenization import AblationJob, TokenCodec


@dataclass
class Member:
    """A row and the job that it answers, by its place in the pool."""

    row: Row
    job: int
    order: int = 0  # its row in the pass


class PooledVerifier:
    """Verifies several jobs together; rows get ``tokens``, ``logprob`` and ``near_tie``."""

    def __init__(
        self, driver: ForwardDriver, codec: TokenCodec, jobs: Sequence[AblationJob], rows: Sequence[Sequence[Row]]
    ) -> None:
        self.driver, self.codec, self.jobs = driver, codec, jobs
        self.device = jobs[0].encoded.prompt.device
        self.entries: dict[int, LayerInput] = {}  # by layer, what enters it, a row a job
        self.longest = max(job.length for job in jobs) - 1  # the last token of an answer is only predicted
        self.shared = [_shared(job) for job in jobs]
        self.noise = 0.0
        self.members = [Member(row, at) for at, of_job in enumerate(rows) for row in of_job]
        self.canary = canary_for([member.row for member in self.members])
        self.members.append(Member(self.canary, 0))

    def verify(self) -> list[DivergedRow]:
        """Return the rows that left their baseline, each up to its difference; the others have all of it."""
        clean = KVCache(len(self.driver.blocks), self.longest)
        ids = self._padded([(*job.encoded.prompt[0].tolist(), *job.draft[:-1]) for job in self.jobs])  # (jobs, tokens)
        self.driver.run(ids, clean, PassPlan(record=self.entries, logits_at=slice(-1, None)))
        self._line_up()
        slots = KVCache(len(self.driver.blocks), self.longest)
        logits = self._run(slots)  # (rows, answer, vocabulary)
        own, clean_ones = slots.buffers(), clean.buffers()
        for member in self.members:
            member.row.origin = KVOrigin(member.row.differs, own, member.order, clean_ones, member.job)
        self._begin_logprobs(logits)
        left = self._compare(logits)
        self._finish_logprobs()
        return [DivergedRow(member.row, self.jobs[member.job], self.noise) for member in left]

    def _line_up(self) -> None:
        by_row = {id(member.row): member for member in self.members}
        ordered = lined_up(self.driver, [member.row for member in self.members], self.entries)
        self.members = [by_row[id(row)] for row in ordered]
        for order, member in enumerate(self.members):
            member.order = order

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest = max(len(row) for row in rows)
        return torch.tensor([[*row, *[self.codec.pad] * (longest - len(row))] for row in rows], device=self.device)

    def _run(self, slots: KVCache) -> Tensor:
        """Return every row's logits for the tokens of its baseline's answer, ``(rows, answer, vocabulary)``."""
        enters = [member.row.entry_layer for member in self.members]
        entries = {}
        for layer in dict.fromkeys(enters):
            which = [member.job for member in self.members if member.row.entry_layer == layer]
            entries[layer] = self.entries[layer].at(which)  # a row that joins each
        switched = [(member.row.target, member.row.replacement) for member in self.members]
        firsts = torch.tensor([self.jobs[member.job].prompt_length - 1 for member in self.members], device=self.device)
        steps = torch.arange(max(len(job.draft) for job in self.jobs), device=self.device)
        at = (firsts[:, None] + steps).clamp(max=self.longest - 1)  # (rows, answer)
        dummy = at.new_zeros(1 if self.driver.grows else len(self.members), self.longest)
        logits = self.driver.run(dummy, slots, joining_plan(switched, enters, entries, self.device, at))
        slots.length = self.longest
        return logits

    def _begin_logprobs(self, logits: Tensor) -> None:
        """Add the log-probabilities of the expected answer's tokens that the baseline's answer shares, and one more."""
        answers = [self.jobs[member.job].encoded.answer for member in self.members]
        logs = log_probabilities(logits, self._padded([answer[: logits.shape[1]] for answer in answers]))
        for member, of_row in zip(self.members, logs, strict=True):
            member.row.logprob = sum(of_row[: self.shared[member.job] + 1])

    def _finish_logprobs(self) -> None:
        """Add the others, from the keys and values of what is shared, for all rows that have any left."""
        rest = [job.encoded.answer[shared:] for job, shared in zip(self.jobs, self.shared, strict=True)]
        members = [member for member in self.members if len(rest[member.job]) > 1]
        if not members:
            return
        fed = self._padded([rest[member.job][:-1] for member in members])  # (rows, new)
        starts = [self.jobs[member.job].prompt_length + self.shared[member.job] for member in members]
        positions = torch.tensor(starts, device=self.device)[:, None] + torch.arange(fed.shape[1], device=self.device)
        length = max(starts)
        slots = gathered([member.row.origin for member in members], len(self.driver.blocks), length + fed.shape[1])
        slots.length = length
        off = off_pairs([(member.row.target, member.row.replacement) for member in members], self.device)
        logits = run_ragged(self.driver, fed, slots, positions, PassPlan(off=off))  # (rows, new, vocabulary)
        logs = log_probabilities(logits, self._padded([rest[member.job][1:] for member in members]))
        for member, of_row in zip(members, logs, strict=True):
            member.row.logprob += sum(of_row[: len(rest[member.job]) - 1])

    def _compare(self, logits: Tensor) -> list[Member]:
        """Set the rows' tokens; return the members that left their baseline, up to their difference."""
        wanted = self._padded([self.jobs[member.job].draft for member in self.members])  # (rows, answer)
        own = logits.gather(-1, wanted[..., None])[..., 0]  # (rows, answer)
        rival = logits.scatter(-1, wanted[..., None], float("-inf")).max(-1)
        margins = (own - rival.values).float().tolist()
        rivals = rival.indices.tolist()
        bests = torch.maximum(own, rival.values).float().tolist()
        canary = next(member for member in self.members if member.row is self.canary)
        baseline = self.jobs[0].baseline
        self.noise = noise_of(baseline, bests[canary.order][: len(self.jobs[0].draft)])
        canary_left = min(margins[canary.order][: len(self.jobs[0].draft)]) < 0
        left = []
        for member, margin in zip(self.members, margins, strict=True):
            draft, row = self.jobs[member.job].draft, member.row
            if row is self.canary:
                continue
            row.tokens, leads, differs = read(draft, margin, rivals[member.order], logits[member.order])
            if differs:
                left.append(member)
            row.near_tie = self.jobs[member.job].encoded.limit if canary_left else last_near_tie(leads, self.noise)
        return left


def _shared(job: AblationJob) -> int:
    """Return how many tokens the expected answer begins with that the baseline's answer begins with, too.

    The last token of either is only predicted, so it does not count.
    """
    most = min(len(job.encoded.answer), len(job.draft)) - 1
    return next((at for at in range(most) if job.encoded.answer[at] != job.draft[at]), most)


def log_probabilities(logits: Tensor, wanted: Tensor) -> list[list[float]]:
    """Return the log-probability of each *wanted* token ``(rows, tokens)``, by ``(rows, tokens, vocabulary)``."""
    logits = logits[:, : wanted.shape[1]].float()
    found: list[list[float]] = (logits.gather(-1, wanted[..., None])[..., 0] - logits.logsumexp(-1)).tolist()
    return found
