"""Decoding of the rows that diverged from their baseline, from the keys and values of the verification pass.

A row joins the batch when the batch reaches its length and leaves it when its answer ends, so all rows in the batch
are equally long at any time, whichever query they answer: there is no padding and no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVCache, KVOrigin
from reasoning_probe.engine.fast.pass_plan import DisabledHeads, PassPlan, disabled_heads
from reasoning_probe.engine.fast.verification import CANARY_INDEX, Row
from reasoning_probe.engine.numerics import NO_NOISE, logit_digests
from reasoning_probe.engine.plain_path import CANARY, batch_noise, last_near_tie
from reasoning_probe.engine.sampling import row_scores
from reasoning_probe.engine.tokenization import AblationJob, TokenCodec
from reasoning_probe.engine.transfers import to_device, to_host


@dataclass
class DivergedRow:
    """A row that diverged from its baseline, with its job and the noise of the pass that verified it."""

    row: Row
    job: AblationJob
    noise: float
    changed: bool = False  # of a canary: noise alone made another token of one of the baseline's

    @property
    def length(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return self.job.prompt_length + len(self.row.tokens) - 1

    @property
    def is_canary(self) -> bool:
        """Tell whether nothing is switched off: fed the baseline's tokens, the row shows the noise of batching."""
        return self.row.is_canary

    def ended(self, codec: TokenCodec) -> bool:
        """Tell whether the answer is complete."""
        if self.is_canary:
            return len(self.row.tokens) >= len(self.job.draft)
        return self.job.ended(self.row.tokens, codec)


def canary_for(diverged: DivergedRow, layers: int) -> DivergedRow:
    """Return a row with nothing switched off that continues the baseline from where *diverged* left it."""
    origin = KVOrigin(layers, [], 0, diverged.row.origin.baseline, diverged.row.origin.baseline_row)
    tokens = list(diverged.job.draft[: len(diverged.row.tokens)])
    return DivergedRow(Row(CANARY, CANARY_INDEX, layers, tokens=tokens, origin=origin), diverged.job, NO_NOISE)


def disabled_in(rows: Sequence[DivergedRow], device: Any) -> dict[int, DisabledHeads]:
    """Return which heads are disabled in each layer for *rows*."""
    return disabled_heads([(diverged.row.target, diverged.row.replacement) for diverged in rows], device)


class Decoder:
    """Decodes rows, each from its last token on, until they end; sets ``tokens`` and ``near_tie`` on them."""

    def __init__(self, driver: ForwardDriver, codec: TokenCodec, diverged_rows: Sequence[DivergedRow]) -> None:
        self.driver, self.codec = driver, codec
        layers = len(driver.blocks)
        unfinished = sorted((row for row in diverged_rows if not row.ended(codec)), key=lambda row: row.length)
        first_of_job = {id(diverged.job): diverged for diverged in reversed(unfinished)}
        self.canaries = [canary_for(diverged, layers) for diverged in first_of_job.values()]
        self.waiting = sorted([*unfinished, *self.canaries], key=lambda diverged: diverged.length)
        self.active: list[DivergedRow] = []
        self.length = 0  # tokens of the active rows whose keys and values are known
        self.noise = NO_NOISE
        self.disabled: dict[int, DisabledHeads] = {}
        if unfinished:
            self.device = unfinished[0].job.encoded.prompt.device
            longest = max(diverged.job.prompt_length + diverged.job.encoded.limit for diverged in unfinished)
            self.kv_cache = driver.new_cache(longest + driver.stride, rows=len(self.waiting))

    def run(self) -> list[DivergedRow]:
        """Decode until every row has ended; return the canaries, the first of them with the noise of the batch."""
        while not all(diverged.is_canary for diverged in [*self.waiting, *self.active]):
            if not self.active:
                self.length = self.waiting[0].length
            self.kv_cache.length = self.length
            if self._join_rows() | self._remove_ended():
                self.disabled = disabled_in(self.active, self.device)
            if self.active:
                self.length += self._steps(self._steps_until_join())
        for canary in self.canaries[:1]:
            canary.noise = self.noise
        return self.canaries

    def _join_rows(self) -> bool:
        """Add the rows that diverged at this position; tell whether there was any."""
        joined = False
        while self.waiting and self.waiting[0].length == self.length:
            diverged = self.waiting.pop(0)
            self.kv_cache.load_row(diverged.row.origin, len(self.active))
            self.active.append(diverged)
            joined = True
        return joined

    def _remove_ended(self) -> bool:
        """Remove the rows that have ended, and the canaries of jobs that have no other row left."""
        needed = {id(diverged.job) for diverged in [*self.waiting, *self.active] if not diverged.is_canary}
        return remove_rows(
            self.active,
            self.kv_cache,
            lambda diverged: diverged.ended(self.codec) or id(diverged.job) not in needed,
        )

    def _steps_until_join(self) -> int:
        """Return how many steps to run before the host reads the tokens: until the next row joins, at most."""
        ends = [diverged.length for diverged in self.waiting[:1]]
        ends += [self.length + len(row.job.draft) - len(row.row.tokens) for row in self.active if row.is_canary]
        return min(self.driver.stride, *(end - self.length for end in ends)) if ends else self.driver.stride

    def _steps(self, count: int) -> int:
        """Run *count* steps, each of which appends a token to every row; rows that end in between are cut there."""
        ids = to_device([[diverged.row.tokens[-1]] for diverged in self.active], self.device)  # (rows, 1)
        canaries = [(index, diverged) for index, diverged in enumerate(self.active) if diverged.is_canary]
        steps = []
        for step in range(count):
            logits = self.driver.run(ids, self.kv_cache, PassPlan(disabled=self.disabled))  # (rows, 1, vocabulary)
            scores = next_scores(logits, self.active, step, exact=self.driver.numerics.invariant)
            steps.append(top_two(scores, canaries))
            self.kv_cache.length += 1
            ids = next_inputs(steps[-1].tokens, canaries, step)  # (rows, 1)
        for best in on_host(steps):
            self.noise = append_tokens(best, self.active, self.codec, self.noise)
        return count


def remove_rows(active: list[DivergedRow], kv_cache: KVCache, ended: Callable[[DivergedRow], bool]) -> bool:
    """Remove the rows that have *ended*, moving the last row into each gap; tell whether there was any."""
    count = len(active)
    for index in reversed(range(count)):
        diverged = active[index]
        if ended(diverged):
            last = active.pop()
            if last is not diverged:
                kv_cache.copy_row(len(active), index)
                active[index] = last
    return len(active) < count


def next_scores(logits: Tensor, rows: Sequence[DivergedRow], step: int, *, exact: bool) -> Tensor:
    """Return what the arg-max of is the next token of each of *rows*, ``(rows, vocabulary)``, so many steps on.

    *logits* are ``(rows, 1, vocabulary)``.
    """
    samplers = [diverged.job.encoded.sampler for diverged in rows]
    return row_scores(logits, samplers, [len(diverged.row.tokens) + step for diverged in rows], exact=exact)[:, -1]


def next_inputs(tokens: Tensor, canaries: Sequence[tuple[int, DivergedRow]], step: int) -> Tensor:
    """Return the next ids to feed, ``(rows, 1)``: the predicted *tokens*, ``(rows,)``; canaries get their draft's."""
    for index, diverged in canaries:
        draft = diverged.job.draft
        tokens[index] = draft[min(len(diverged.row.tokens) + step, len(draft) - 1)]
    return tokens[:, None]  # (rows, 1)


def append_tokens(best: TopTwo, rows: Sequence[DivergedRow], codec: TokenCodec, noise: float) -> float:
    """Append each row's next token and mark near ties; return *noise*, raised to what the canaries show here."""
    logits, tokens, margins = best.to_lists()
    digests = iter(best.digests)
    for diverged, logit, token in zip(rows, logits, tokens, strict=True):
        if not diverged.is_canary:
            continue
        digest = next(digests)
        if not diverged.ended(codec):
            position = len(diverged.row.tokens)
            noise = max(noise, batch_noise(diverged.job.baseline, [logit], [digest], position))
            diverged.changed |= token != diverged.job.draft[position]
    for diverged, token, margin in zip(rows, tokens, margins, strict=True):
        if diverged.ended(codec):
            continue
        row = diverged.row
        row.tokens.append(diverged.job.draft[len(row.tokens)] if diverged.is_canary else token)
        if last_near_tie([margin], max(noise, diverged.noise)):
            row.near_tie = max(row.near_tie, len(row.tokens))
    return noise


class TopTwo(NamedTuple):
    """Each row's best logit, its token, and its margin over the second, ``(rows,)`` each, on the model's device.

    ``all_digests`` holds those of the canaries' logits, in the order of their rows, ``(canaries,)``.
    """

    logits: Tensor
    tokens: Tensor
    margins: Tensor
    all_digests: Tensor | None

    @property
    def digests(self) -> list[int]:
        """The digests of the canaries' logits, in the order of their rows."""
        return [] if self.all_digests is None else self.all_digests.tolist()

    def to_lists(self) -> tuple[list[float], list[int], list[float]]:
        """Return the three as lists of Python numbers."""
        return self.logits.tolist(), self.tokens.tolist(), self.margins.tolist()


def top_two(logits: Tensor, canaries: Sequence[tuple[int, DivergedRow]]) -> TopTwo:
    """Return each row's best logit, its token and its margin over the second; overwrites *logits*.

    *canaries* are the rows whose logits are digested, with their indices. *logits* is ``(rows, vocabulary)``. Two
    passes for the maximum are several times faster than ``topk(2)`` on a CPU.
    """
    rows = [logits[index] for index, _ in canaries]  # views: a list as an index would be copied to the device
    digests = logit_digests(torch.stack(rows)) if rows else None  # (canaries,)
    best = logits.max(-1)  # (rows,) values and indices
    second = logits.scatter_(-1, best.indices[:, None], float("-inf")).amax(-1)  # (rows,)
    values = best.values.float()
    return TopTwo(values, best.indices, values - second.float(), digests)


def on_host(steps: Sequence[TopTwo]) -> list[TopTwo]:
    """Return *steps* with their tensors on the CPU; the host waits once for all of them."""
    fields = iter(to_host([tensor for step in steps for tensor in step if tensor is not None]))
    return [TopTwo(*(None if tensor is None else next(fields) for tensor in step)) for step in steps]  # type: ignore[arg-type]
