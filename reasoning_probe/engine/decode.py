"""Decoding what differs, from the keys and values of the verification pass, all rows of a query in step.

Rows of one query share the prompt's length, so at any position all of them are equally long: a row joins the batch at
the position of its first difference and leaves when its answer ends. There is no padding and no mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reasoning_probe.engine.passes import Driver, Off, Plan, off_pairs
from reasoning_probe.engine.plain import CANARY, NOISE_MARGIN
from reasoning_probe.engine.replies import Codec
from reasoning_probe.engine.slots import Slots
from reasoning_probe.engine.verify import Clean, Row, noise_of


class Decoder:
    """Decodes rows, each from its last token on, until they end; sets ``tokens`` and ``near_tie`` on them."""

    def __init__(
        self,
        driver: Driver,
        codec: Codec,
        clean: Clean,
        rows: Sequence[Row],
    ) -> None:
        self.driver, self.codec, self.clean = driver, codec, clean
        unfinished = [row for row in rows if not self._ended(row)]
        self.length = min((len(row.tokens) for row in unfinished), default=0)  # tokens of the rows in step
        self.canary = Row(CANARY, -1, len(driver.blocks), tokens=list(clean.job.draft[: self.length]))
        self.noise = 0.0
        self.waiting = sorted([*unfinished, self.canary], key=lambda row: len(row.tokens)) if unfinished else []
        self.homes = {id(row): place for place, row in enumerate(self.waiting)}
        self.active: list[Row] = []
        self.off: dict[int, Off] = {}
        self.slots = gathered(driver, clean, self.waiting) if unfinished else Slots(0, 0)

    def run(self) -> None:
        """Decode until every row has ended."""
        while any(row is not self.canary for row in [*self.waiting, *self.active]):
            self.slots.length = self.clean.job.prompt_length + self.length - 1  # tokens with known keys and values
            if self._join() | self._leave():
                device = self.clean.job.encoded.prompt.device
                self.off = off_pairs([(row.target, row.replacement) for row in self.active], device)
            if self.active:
                self._step()
            self.length += 1

    def _ended(self, row: Row) -> bool:
        if len(row.tokens) >= self.clean.job.encoded.limit:
            return True
        return self.codec.ended(tuple(row.tokens), self.clean.job.stop)

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
            over = len(row.tokens) >= len(self.clean.job.draft) if row is self.canary else self._ended(row)
            if over:
                last = self.active.pop()
                if last is not row:
                    self.slots.move(len(self.active), place)
                    self.active[place] = last
        return len(self.active) < before

    def _step(self) -> None:
        """Feed every row its last token and append the next."""
        device = self.clean.job.encoded.prompt.device
        ids = torch.tensor([[row.tokens[-1]] for row in self.active], device=device)  # (rows, 1)
        logits = self.driver.run(ids, self.slots, Plan(off=self.off))[:, -1]  # (rows, vocabulary)
        best, tokens, margins = two_best(logits)
        for row, value in zip(self.active, best, strict=True):
            if row is self.canary:
                self.noise = max(self.noise, noise_of(self.clean.job.baseline, [value], self.length))
        for row, token, margin in zip(self.active, tokens, margins, strict=True):
            row.tokens.append(self.clean.job.draft[self.length] if row is self.canary else token)
            row.near_tie |= margin <= NOISE_MARGIN * self.noise


def two_best(logits: Tensor) -> tuple[list[float], list[int], list[float]]:
    """Return each row's best logit, its token, and its lead over the second; *logits* ``(rows, vocabulary)`` is spent.

    Two passes for the maximum are several times faster than ``topk(2)`` on a CPU.
    """
    best = logits.max(-1)
    second = logits.scatter_(-1, best.indices[:, None], float("-inf")).amax(-1)  # (rows,)
    values = best.values.float()
    return values.tolist(), best.indices.tolist(), (values - second.float()).tolist()


def gathered(driver: Driver, clean: Clean, rows: Sequence[Row]) -> Slots:
    """Return slots in which row *i* holds the keys and values of ``rows[i]``: its own from its start on, else clean."""
    capacity = clean.job.prompt_length + clean.job.encoded.limit
    slots = Slots(len(driver.blocks), capacity, rows=len(rows))
    length = clean.job.prompt_length + max(len(row.tokens) for row in rows) - 1
    for layer, *buffers in clean.slots.buffers():
        slots.layers[layer].fill(*(_repeated(buffer, len(rows), capacity, length) for buffer in buffers))
    sources: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        sources.setdefault(id(row.source), []).append(place)
    for places in sources.values():
        for layer, *buffers in rows[places[0]].source:
            own = [place for place in places if rows[place].start <= layer]
            if own:
                taken = torch.tensor([rows[place].source_row for place in own])
                for to, buffer in zip(slots.layers[layer].filled(), buffers, strict=True):
                    known = min(length, buffer.shape[2])
                    to[own, :, :known] = buffer[taken.to(buffer.device), :, :known]
    return slots


def _repeated(buffer: Tensor, rows: int, capacity: int, length: int) -> Tensor:
    _, heads, known, size = buffer.shape
    wide = buffer.new_empty(rows, heads, capacity, size)
    known = min(length, known)
    wide[:, :, :known] = buffer[:, :, :known]
    return wide
