"""Decoding what differs, from the keys and values of the verification pass, all rows of a query in step.

Rows of one query share the prompt's length, so at any position all of them are equally long: a row joins the batch at
the position of its first difference and leaves when its answer ends. There is no padding and no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reasoning_probe.engine.passes import Driver, Off, Plan, off_pairs
from reasoning_probe.engine.plain import CANARY, NOISE_MARGIN
from reasoning_probe.engine.replies import Codec
from reasoning_probe.engine.slots import Origin, gathered
from reasoning_probe.engine.verify import Clean, Row, noise_of


class Decoder:
    """Decodes rows, each from its last token on, until they end; sets ``tokens`` and ``near_tie`` on them."""

    def __init__(self, driver: Driver, codec: Codec, clean: Clean, rows: Sequence[Row]) -> None:
        self.driver, self.codec, self.clean, self.job = driver, codec, clean, clean.job
        self.device = self.job.encoded.prompt.device
        unfinished = [row for row in rows if not self.job.ended(row.tokens, codec)]
        self.length = min((len(row.tokens) for row in unfinished), default=0)  # tokens of the rows in step
        origin = Origin(len(driver.blocks), [], 0, clean.slots.buffers(), 0)
        self.canary = Row(CANARY, -1, origin.start, tokens=list(self.job.draft[: self.length]), origin=origin)
        self.noise = 0.0
        self.waiting = sorted([*unfinished, self.canary], key=lambda row: len(row.tokens)) if unfinished else []
        self.homes = {id(row): place for place, row in enumerate(self.waiting)}
        self.active: list[Row] = []
        self.off: dict[int, Off] = {}
        capacity = self.job.prompt_length + self.job.encoded.limit
        self.slots = gathered([row.origin for row in self.waiting], len(driver.blocks), capacity)

    def run(self) -> None:
        """Decode until every row has ended."""
        while any(row is not self.canary for row in [*self.waiting, *self.active]):
            self.slots.length = self.job.prompt_length + self.length - 1  # tokens with known keys and values
            if self._join() | self._leave():
                self.off = off_pairs([(row.target, row.replacement) for row in self.active], self.device)
            self.length += self._steps(self._until_next()) if self.active else 1

    def _ended(self, row: Row) -> bool:
        if row is self.canary:
            return len(row.tokens) >= len(self.job.draft)
        return self.job.ended(row.tokens, self.codec)

    def _join(self) -> bool:
        """Take in the rows whose first difference is at this position."""
        joined = False
        while self.waiting and len(self.waiting[0].tokens) == self.length:
            row = self.waiting.pop(0)
            if self.homes[id(row)] != len(self.active):
                self.slots.move(self.homes[id(row)], len(self.active))
            self.active.append(row)
            joined = True
        return joined

    def _leave(self) -> bool:
        """Let go of the rows that have ended; the last row takes the place of each."""
        before = len(self.active)
        for place in reversed(range(before)):
            row = self.active[place]
            if self._ended(row):
                last = self.active.pop()
                if last is not row:
                    self.slots.move(len(self.active), place)
                    self.active[place] = last
        return len(self.active) < before

    def _until_next(self) -> int:
        """Return how many steps to make before anybody looks at the tokens: until the next row joins, at most."""
        ends = [self.job.encoded.limit, *(len(row.tokens) for row in self.waiting[:1])]
        if self.canary in self.active:
            ends.append(len(self.job.draft))
        return min(self.driver.stride, min(ends) - self.length)

    def _steps(self, count: int) -> int:
        """Feed every row its last token and append the next, *count* times; rows that end on the way are cut there."""
        ids = torch.tensor([[row.tokens[-1]] for row in self.active], device=self.device)  # (rows, 1)
        known = next((at for at, row in enumerate(self.active) if row is self.canary), None)
        found = []
        for step in range(count):
            found.append(two_best(self.driver.run(ids, self.slots, Plan(off=self.off))[:, -1]))
            self.slots.length += 1
            ids = found[-1].tokens[:, None]
            if known is not None:
                ids[known] = self.job.draft[self.length + step]
        for step, best in enumerate(found):
            values, tokens, margins = best.lists()
            if known is not None:
                self.noise = max(self.noise, noise_of(self.job.baseline, [values[known]], self.length + step))
            for row, token, margin in zip(self.active, tokens, margins, strict=True):
                if row is self.canary:
                    row.tokens.append(self.job.draft[self.length + step])
                elif not self._ended(row):
                    row.tokens.append(token)
                    row.near_tie |= margin <= NOISE_MARGIN * self.noise
        return count


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
