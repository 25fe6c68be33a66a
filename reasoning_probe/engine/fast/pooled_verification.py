"""Verification of several queries in one pass, for small models and large devices, where one alone is mostly overhead.

Prompts and answers are padded on the right, where causal attention never looks, so the dummy row's mask still serves
all rows. :mod:`reasoning_probe.engine.fast.ragged_decoding` decodes the diverged rows of several pools together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning_probe.engine.fast.decoding import DivergedRow
from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVCache, KVOrigin
from reasoning_probe.engine.fast.pass_plan import LayerInput, PassPlan, disabled_heads, joining_plan
from reasoning_probe.engine.fast.ragged_decoding import run_ragged
from reasoning_probe.engine.fast.verification import (
    WINDOW,
    Row,
    canary_row,
    clean_cache,
    compared_with,
    in_joining_order,
    read_tokens,
)
from reasoning_probe.engine.numerics import NO_NOISE, logit_digests
from reasoning_probe.engine.plain_path import batch_noise, last_near_tie
from reasoning_probe.engine.sampling import row_scores
from reasoning_probe.engine.tokenization import AblationJob, TokenCodec
from reasoning_probe.engine.transfers import to_device, to_host


@dataclass
class PooledRow:
    """A row, the index of its job in the pool, and the index of its row in the pass."""

    row: Row
    job: int
    index: int = 0


class PooledVerifier:
    """Verifies several jobs together; rows get ``tokens``, ``logprob`` and ``near_tie``."""

    def __init__(
        self, driver: ForwardDriver, codec: TokenCodec, jobs: Sequence[AblationJob], rows: Sequence[Sequence[Row]]
    ) -> None:
        self.driver, self.codec, self.jobs = driver, codec, jobs
        self.device = jobs[0].encoded.prompt.device
        self.layer_inputs: dict[int, LayerInput] = {}  # by layer, of the baselines: (jobs, tokens, hidden)
        self.drafts = [verified_draft(job) for job in jobs]
        self.longest = max(map(verified_length, jobs)) - 1  # the last token of an answer is only predicted
        self.start = min(job.start for job in jobs)  # before it, all rows are their baselines
        self.common_lengths = [
            _common_length(job.encoded.answer, draft) for job, draft in zip(jobs, self.drafts, strict=True)
        ]
        self.noise = NO_NOISE
        self.canary_diverged = False
        self.token_bytes = 0  # of the keys and values of a token, once a pass has shown their size
        self.rows = [PooledRow(row, index) for index, of_job in enumerate(rows) for row in of_job]
        self.canary = canary_row([pooled.row for pooled in self.rows])
        self.rows.append(PooledRow(self.canary, 0))

    def verify(self) -> list[DivergedRow]:
        """Return the rows to decode, each up to its difference or the end of what was verified; the others are done."""
        baseline_cache = self.driver.new_cache(self.longest)
        prompts = [(job.encoded.prompt, draft[:-1]) for job, draft in zip(self.jobs, self.drafts, strict=True)]
        ids = padded_prompts(prompts, self.codec.pad)  # (jobs, tokens)
        self.driver.run(ids, baseline_cache, PassPlan(record=self.layer_inputs, logits_at=slice(-1, None)))
        self._sort_rows()
        rows, origins = [pooled.row for pooled in self.rows], [pooled.job for pooled in self.rows]
        baseline_buffers, self.token_bytes = baseline_cache.buffers(), baseline_cache.token_bytes()
        kv_cache = clean_cache(self.driver, rows, origins, baseline_buffers, self.start, self.longest)
        logits = self._run(kv_cache)  # (rows, answer, vocabulary)
        buffers = kv_cache.buffers()
        for pooled in self.rows:
            pooled.row.origin = KVOrigin(pooled.row.kv_start, buffers, pooled.index, baseline_buffers, pooled.job)
        common, other = self._common_logprobs(logits), self._other_logprobs()
        compared = self._compared(logits)
        on_host = to_host([common, *compared, *([] if other is None else [other])])  # the only wait
        self._set_logprobs(on_host[0], None if other is None else on_host[-1])
        diverging = self._read(*on_host[1 : 1 + len(compared)])
        return [DivergedRow(pooled.row, self.jobs[pooled.job], self.noise) for pooled in diverging]

    def _sort_rows(self) -> None:
        """Bring the rows into the order in which they join the pass."""
        by_row = {id(pooled.row): pooled for pooled in self.rows}
        ordered = in_joining_order(self.driver, [pooled.row for pooled in self.rows], self.layer_inputs)
        self.rows = [by_row[id(row)] for row in ordered]
        for index, pooled in enumerate(self.rows):
            pooled.index = index

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the token ids of *rows*, ``(rows, tokens)``, padded on the right."""
        longest = max(len(row) for row in rows)
        return to_device([[*row, *[self.codec.pad] * (longest - len(row))] for row in rows], self.device)

    def _run(self, kv_cache: KVCache) -> Tensor:
        """Return every row's logits for the tokens of its baseline's answer, ``(rows, answer, vocabulary)``."""
        entry_layers = [pooled.row.entry_layer for pooled in self.rows]
        inputs = {}
        for layer in dict.fromkeys(entry_layers):
            jobs = [pooled.job for pooled in self.rows if pooled.row.entry_layer == layer]
            index = to_device(jobs, self.layer_inputs[layer].hidden.device)
            # (joining, tokens, ...): one row for each that joins, from the start on
            inputs[layer] = self.layer_inputs[layer].select((index, slice(self.start, None)))
        ablated = [(pooled.row.target, pooled.row.replacement) for pooled in self.rows]
        firsts = to_device([self.jobs[pooled.job].prompt_length - 1 for pooled in self.rows], self.device)
        steps = torch.arange(max(map(len, self.drafts)), device=self.device)
        positions = (firsts[:, None] + steps).clamp(max=self.longest - 1) - self.start  # (rows, answer)
        dummy_rows = 1 if self.driver.grows_batch else len(self.rows)
        dummy_ids = positions.new_zeros(dummy_rows, self.longest - self.start)
        plan = joining_plan(ablated, entry_layers, inputs, self.device, positions, (self.start, self.longest))
        logits = self.driver.run(dummy_ids, kv_cache, plan)
        kv_cache.length = self.longest
        return logits

    def _common_logprobs(self, logits: Tensor) -> Tensor:
        """Return the log-probability of each token of the expected answers, as far as the draft: ``(rows, tokens)``.

        Only those of tokens that expected answer and draft have in common, and one more, mean anything.
        """
        answers = [self.jobs[pooled.job].encoded.answer for pooled in self.rows]
        return token_logprobs(logits, self._padded([answer[: logits.shape[1]] for answer in answers]))

    def _other_answers(self) -> list[tuple[int, ...]]:
        """Return the tokens of each job's expected answer from the last that it has in common with the draft."""
        return [job.encoded.answer[length:] for job, length in zip(self.jobs, self.common_lengths, strict=True)]

    def _rows_with_others(self) -> list[PooledRow]:
        rest = self._other_answers()
        return [pooled for pooled in self.rows if len(rest[pooled.job]) > 1]

    def _other_logprobs(self) -> Tensor | None:
        """Return the log-probabilities of the expected answer's other tokens, of all rows that have any."""
        rest, rows = self._other_answers(), self._rows_with_others()
        if not rows:
            return None
        ids = self._padded([rest[pooled.job][:-1] for pooled in rows])  # (rows, new)
        starts = [self.jobs[pooled.job].prompt_length + self.common_lengths[pooled.job] for pooled in rows]
        offsets = torch.arange(ids.shape[1], device=self.device)
        positions = to_device(starts, self.device)[:, None] + offsets  # (rows, new)
        length = max(starts)
        kv_cache = self.driver.gather([pooled.row.origin for pooled in rows], length + ids.shape[1])
        kv_cache.length = length
        disabled = disabled_heads([(pooled.row.target, pooled.row.replacement) for pooled in rows], self.device)
        logits = run_ragged(self.driver, ids, kv_cache, positions, PassPlan(disabled=disabled))  # (rows, new, vocab)
        return token_logprobs(logits, self._padded([rest[pooled.job][1:] for pooled in rows]))  # (rows, new)

    def _set_logprobs(self, common: Tensor, other: Tensor | None) -> None:
        """Set each row's log-probability of the expected answer, from those of its tokens."""
        for pooled, of_row in zip(self.rows, common.tolist(), strict=True):
            pooled.row.logprob = sum(of_row[: self.common_lengths[pooled.job] + 1])
        if other is not None:
            rest = self._other_answers()
            for pooled, of_row in zip(self._rows_with_others(), other.tolist(), strict=True):
                pooled.row.logprob += sum(of_row[: len(rest[pooled.job]) - 1])

    def _compared(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return how the rows compare with their drafts, and the digests of the canary's logits, ``(answer,)``."""
        wanted = self._padded([self.drafts[pooled.job] for pooled in self.rows])  # (rows, answer)
        samplers = [self.jobs[pooled.job].encoded.sampler for pooled in self.rows]
        logits = row_scores(logits, samplers, [0] * len(self.rows), exact=self.driver.numerics.invariant)
        canary = next(pooled for pooled in self.rows if pooled.row is self.canary)
        digests = logit_digests(logits[canary.index, : len(self.drafts[0])])
        return (*compared_with(wanted, logits), digests)

    def _read(self, *compared: Tensor) -> list[PooledRow]:
        """Set the rows' tokens from what :meth:`_compared` returned; return the rows to decode."""
        margins, rivals, best_logits, leads_of_others, digests = (tensor.tolist() for tensor in compared)
        canary = next(pooled for pooled in self.rows if pooled.row is self.canary)
        draft_length = len(self.drafts[0])
        self.noise = batch_noise(self.jobs[0].baseline, best_logits[canary.index][:draft_length], digests)
        self.canary_diverged = canary_diverged = min(margins[canary.index][:draft_length]) < 0
        diverging = []
        for pooled, margin in zip(self.rows, margins, strict=True):
            job, draft, row, index = self.jobs[pooled.job], self.drafts[pooled.job], pooled.row, pooled.index
            if row is self.canary:
                continue
            row.tokens, leads, diverges = read_tokens(draft, margin, rivals[index], leads_of_others[index])
            if diverges or len(draft) < len(job.draft):
                diverging.append(pooled)
            row.near_tie = job.encoded.limit if canary_diverged else last_near_tie(leads, self.noise)
        return diverging


def verified_draft(job: AblationJob) -> tuple[int, ...]:
    """Return the tokens of the baseline's answer that are verified: the first ones where several heads are off at once.

    Most such rows soon leave the baseline, and decoding the others costs no more than verifying them.
    """
    joint = all(len(target.heads) > 1 for target in job.targets)
    return job.draft[:WINDOW] if joint else job.draft


def verified_length(job: AblationJob) -> int:
    """Return the number of tokens of the prompt and of what is verified of the baseline's answer."""
    return job.prompt_length + len(verified_draft(job))


def _common_length(answer: Sequence[int], draft: Sequence[int]) -> int:
    """Return how many tokens the expected *answer* and the *draft* begin with in common.

    The last token of either is only predicted, so it does not count.
    """
    most = min(len(answer), len(draft)) - 1
    return next((index for index in range(most) if answer[index] != draft[index]), most)


def padded_prompts(sequences: Sequence[tuple[Tensor, Sequence[int]]], pad: int) -> Tensor:
    """Return each prompt, ``(1, tokens)``, with the tokens that follow it: ``(rows, tokens)``, padded on the right."""
    longest = max(prompt.shape[1] + len(tokens) for prompt, tokens in sequences)
    rows = []
    for prompt, tokens in sequences:
        padding = [pad] * (longest - prompt.shape[1] - len(tokens))
        rows.append(torch.cat([prompt[0], to_device([*tokens, *padding], prompt.device, torch.long)]))
    return torch.stack(rows)


def token_logprobs(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the log-probability of each *wanted* token ``(rows, tokens)``, by ``(rows, tokens, vocabulary)``."""
    logits = logits[:, : wanted.shape[1]].float()
    wanted_logits = logits.gather(-1, wanted[..., None])[..., 0]  # (rows, tokens)
    return wanted_logits - logits.logsumexp(-1)
