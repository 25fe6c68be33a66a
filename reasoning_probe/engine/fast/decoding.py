"""Decoding what differs, from the keys and values of the verification pass, rows of equal length in step.

A row joins the batch when the clock comes to its length and leaves when its answer ends, so at any time all rows in the
batch are equally long, whichever query they answer: there is no padding and no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import DisabledHeads, ForwardDriver, PassPlan, off_pairs
from reasoning_probe.engine.fast.kv_cache import KVCache, KVOrigin
from reasoning_probe.engine.fast.verification import Row
from reasoning_probe.engine.plain_path import CANARY, last_near_tie, noise_of
from reasoning_probe.engine.tokenization import AblationJob, TokenCodec


@dataclass
class DivergedRow:
    """A row that left its baseline, with its job and the noise of the pass that verified it."""

    row: Row
    job: AblationJob
    noise: float

    @property
    def length(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return self.job.prompt_length + len(self.row.tokens) - 1

    @property
    def is_canary(self) -> bool:
        """Tell whether nothing is switched off: fed the baseline's tokens, the row shows the noise of batching."""
        return self.row.place < 0

    def ended(self, codec: TokenCodec) -> bool:
        """Tell whether the answer is complete."""
        if self.is_canary:
            return len(self.row.tokens) >= len(self.job.draft)
        return self.job.ended(self.row.tokens, codec)


def canary_of(stray: DivergedRow, layers: int) -> DivergedRow:
    """Return a row with nothing switched off that goes on from where *stray* left the same baseline."""
    held = stray.row.origin
    origin = KVOrigin(layers, [], 0, held.clean, held.clean_row)
    tokens = list(stray.job.draft[: len(stray.row.tokens)])
    return DivergedRow(Row(CANARY, -1, layers, tokens=tokens, origin=origin), stray.job, stray.noise)


class Decoder:
    """Decodes rows, each from its last token on, until they end; sets ``tokens`` and ``near_tie`` on them."""

    def __init__(self, driver: ForwardDriver, codec: TokenCodec, strays: Sequence[DivergedRow]) -> None:
        self.driver, self.codec = driver, codec
        layers = len(driver.blocks)
        unfinished = sorted((stray for stray in strays if not stray.ended(codec)), key=lambda stray: stray.length)
        first = {id(stray.job): stray for stray in reversed(unfinished)}
        canaries = [canary_of(stray, layers) for stray in first.values()]
        self.waiting = sorted([*unfinished, *canaries], key=lambda stray: stray.length)
        self.active: list[DivergedRow] = []
        self.length = 0  # tokens of the rows in step whose keys and values are known
        self.noise = 0.0
        self.off: dict[int, DisabledHeads] = {}
        if unfinished:
            self.device = unfinished[0].job.encoded.prompt.device
            capacity = max(stray.job.prompt_length + stray.job.encoded.limit for stray in unfinished) + driver.stride
            self.slots = KVCache(layers, capacity, rows=len(self.waiting))

    def run(self) -> None:
        """Decode until every row has ended."""
        while not all(stray.is_canary for stray in [*self.waiting, *self.active]):
            if not self.active:
                self.length = self.waiting[0].length
            self.slots.length = self.length
            if self._join() | self._leave():
                self.off = off_pairs([(stray.row.target, stray.row.replacement) for stray in self.active], self.device)
            if self.active:
                self.length += self._steps(self._until_next())

    def _join(self) -> bool:
        """Take in the rows whose first difference is at this position."""
        joined = False
        while self.waiting and self.waiting[0].length == self.length:
            stray = self.waiting.pop(0)
            self.slots.take(stray.row.origin, len(self.active))
            self.active.append(stray)
            joined = True
        return joined

    def _leave(self) -> bool:
        """Let go of the rows that have ended, and of canaries that nobody needs."""
        needed = {id(stray.job) for stray in [*self.waiting, *self.active] if not stray.is_canary}
        return leave(self.active, self.slots, lambda stray: stray.ended(self.codec) or id(stray.job) not in needed)

    def _until_next(self) -> int:
        """Return how many steps to make before anybody looks at the tokens: until the next row joins, at most."""
        ends = [stray.length for stray in self.waiting[:1]]
        ends += [self.length + len(s.job.draft) - len(s.row.tokens) for s in self.active if s.is_canary]
        return min(self.driver.stride, *(end - self.length for end in ends)) if ends else self.driver.stride

    def _steps(self, count: int) -> int:
        """Feed every row its last token and append the next, *count* times; rows that end on the way are cut there."""
        ids = torch.tensor([[stray.row.tokens[-1]] for stray in self.active], device=self.device)  # (rows, 1)
        canaries = [(at, stray) for at, stray in enumerate(self.active) if stray.is_canary]
        found = []
        for step in range(count):
            found.append(two_best(self.driver.run(ids, self.slots, PassPlan(off=self.off))[:, -1]))
            self.slots.length += 1
            ids = fed(found[-1].tokens, canaries, step)
        for best in found:
            self.noise = note(best, self.active, self.codec, self.noise)
        return count


def leave(active: list[DivergedRow], slots: KVCache, gone: Callable[[DivergedRow], bool]) -> bool:
    """Take what is *gone* out of the batch, the last row into each one's place; tell whether there was any."""
    before = len(active)
    for place in reversed(range(before)):
        stray = active[place]
        if gone(stray):
            last = active.pop()
            if last is not stray:
                slots.move(len(active), place)
                active[place] = last
    return len(active) < before


def fed(tokens: Tensor, canaries: Sequence[tuple[int, DivergedRow]], step: int) -> Tensor:
    """Return the next tokens to feed, ``(rows, 1)``: those found, ``(rows,)``, but the baseline's to each canary."""
    for at, stray in canaries:
        draft = stray.job.draft
        tokens[at] = draft[min(len(stray.row.tokens) + step, len(draft) - 1)]
    return tokens[:, None]


def note(best: Best, strays: Sequence[DivergedRow], codec: TokenCodec, noise: float) -> float:
    """Append each row's next token and mark what is too close to call; return the noise, of the canaries here, too."""
    values, tokens, margins = best.lists()
    for stray, value in zip(strays, values, strict=True):
        if stray.is_canary and not stray.ended(codec):
            noise = max(noise, noise_of(stray.job.baseline, [value], len(stray.row.tokens)))
    for stray, token, margin in zip(strays, tokens, margins, strict=True):
        if stray.ended(codec):
            continue
        row = stray.row
        row.tokens.append(stray.job.draft[len(row.tokens)] if stray.is_canary else token)
        if last_near_tie([margin], max(noise, stray.noise)):
            row.near_tie = max(row.near_tie, len(row.tokens))
    return noise


class Best(NamedTuple):
    """Each row's best logit, its token, and its lead over the second, ``(rows,)`` each, on the model's device."""

    values: Tensor
    tokens: Tensor
    margins: Tensor

    def lists(self) -> tuple[list[float], list[int], list[float]]:
        """Return the three in Python's numbers."""
        return self.values.tolist(), self.tokens.tolist(), self.margins.tolist()


def two_best(logits: Tensor) -> Best:
    """Return each row's best logit, its token and its lead over the second; *logits* ``(rows, vocabulary)`` is spent.

    Two passes for the maximum are several times faster than ``topk(2)`` on a CPU.
    """
    best = logits.max(-1)
    second = logits.scatter_(-1, best.indices[:, None], float("-inf")).amax(-1)  # (rows,)
    values = best.values.float()
    return Best(values, best.indices, values - second.float())
