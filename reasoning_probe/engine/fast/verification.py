"""Verification: one growing pass shows which targets leave the baseline's answer, and where.

Greedy decoding is deterministic. If the arg-max at every position of the baseline's answer is the baseline's token, the
ablated answer *is* the baseline's; if not, it is right up to the first difference. (The idea is that of speculative
decoding: Leviathan et al. 2023, "Fast inference from transformers via speculative decoding".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import ForwardDriver, LayerInput, PassPlan, joining_plan
from reasoning_probe.engine.fast.kv_cache import NOWHERE, Buffers, KVCache, KVOrigin
from reasoning_probe.engine.plain_path import CANARY, last_near_tie, noise_of
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.targets import Target

WINDOW = 8
"""Answer tokens that are verified at a time; rows leave after the window of their first difference."""


@dataclass
class SharedPrefix:
    """The unablated pass over the tokens that begin several prompts; nothing where they have no beginning in common."""

    length: int = 0
    slots: KVCache | None = None
    entries: dict[int, LayerInput] = field(default_factory=dict)  # by layer, what enters it


@dataclass
class BaselinePass:
    """The unablated pass over prompt and answer, behind its stem: what every chunk of one query starts from."""

    job: AblationJob
    stem: SharedPrefix
    slots: KVCache
    entries: dict[int, LayerInput] = field(default_factory=dict)  # as those of the stem, for the tokens behind it
    branch_entries: dict[int, LayerInput] = field(default_factory=dict)
    shared: int = 0  # the expected answer's tokens up to this index are predicted by the first window

    @cached_property
    def buffers(self) -> Buffers:
        """The clean keys and values, of one row."""
        return self.slots.buffers()


@dataclass
class Row:
    """One target on its way: its tokens so far, its keys and values, and where two logits came too close to call."""

    target: Target
    place: int  # among the targets that were asked for; -1 for the canary
    start: int  # its lowest switched-off layer: below it, keys and values are the clean ones
    entry_layer: int = 0  # the layer in which it joins the pass: its start, or the lowest of its chunk
    holds: int = (
        0  # the lowest layer in which its keys and values are computed; up to its start they are the clean ones
    )
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    near_tie: int = 0  # tokens up to the last that was too close to call; 0 if none was
    replacement: Replacement = field(default_factory=dict, repr=False)
    origin: KVOrigin = field(default=NOWHERE, repr=False)  # where its keys and values are once it has left

    @property
    def differs(self) -> int:
        """The lowest layer whose keys and values are not taken from the clean row."""
        return max(self.start, self.holds)


def stem_pass(driver: ForwardDriver, ids: Tensor) -> SharedPrefix:
    """Run the tokens *ids*, ``(1, tokens)``, that begin several prompts."""
    if not ids.shape[1]:
        return SharedPrefix()
    slots = KVCache(len(driver.blocks), ids.shape[1], rows=1)
    stem = SharedPrefix(ids.shape[1], slots)
    driver.run(ids, slots, PassPlan(record=stem.entries, logits_at=slice(-1, None)))
    slots.length = stem.length
    return stem


def clean_pass(driver: ForwardDriver, job: AblationJob, stem: SharedPrefix) -> BaselinePass:
    """Run prompt and baseline answer once, keeping what enters every layer."""
    layers = len(driver.blocks)
    draft, answer = job.draft, job.encoded.answer
    slots = KVCache(layers, job.length, rows=1) if stem.slots is None else stem.slots.grown(job.length)
    clean = BaselinePass(job, stem, slots)
    device = job.encoded.prompt.device
    ids = torch.cat([job.encoded.prompt, torch.tensor([draft[:-1]], dtype=torch.long, device=device)], dim=1)
    driver.run(ids[:, stem.length :], slots, PassPlan(record=clean.entries, logits_at=slice(-1, None)))
    slots.length = ids.shape[1]
    common = next((at for at in range(min(len(answer), len(draft))) if answer[at] != draft[at]), len(answer))
    clean.shared = min(common, min(WINDOW, len(draft)) - 1, len(answer) - 1)
    if clean.shared < len(answer) - 1:
        slots.branch = job.prompt_length + clean.shared
        driver.run(_branch_ids(clean), slots, PassPlan(record=clean.branch_entries, logits_at=slice(-1, None)))
        slots.branch = None
    return clean


def _branch_ids(clean: BaselinePass) -> Tensor:
    tokens = clean.job.encoded.answer[clean.shared : -1]
    return torch.tensor([tokens], device=clean.job.encoded.prompt.device)  # (1, tokens)


def lined_up(driver: ForwardDriver, rows: Sequence[Row], entries: dict[int, LayerInput]) -> list[Row]:
    """Return *rows* in the order in which they join a pass by *entries*, their ``enters`` and ``holds`` set."""
    ordered = sorted(rows, key=lambda row: row.start)
    for row in ordered:
        # A family that takes no growing batch has all rows from the lowest layer on.
        row.entry_layer = row.start if driver.grows else ordered[0].start
        row.holds = row.entry_layer + (entries[row.entry_layer].heads is not None)
    return ordered


def canary_for(rows: Sequence[Row]) -> Row:
    """Return the row with nothing switched off that goes along with *rows*."""
    return Row(CANARY, -1, max(row.start for row in rows))


def begin(driver: ForwardDriver, stem: SharedPrefix, rows: Sequence[Row]) -> KVCache | None:
    """Run the stem with the heads of *rows* off; return the keys and values that all its queries go on from."""
    if stem.slots is None:
        return None
    ordered = lined_up(driver, [*rows, canary_for(rows)], stem.entries)
    slots = KVCache(len(driver.blocks), stem.length)
    device = stem.entries[ordered[0].entry_layer].hidden.device
    ids = torch.zeros(1 if driver.grows else len(ordered), stem.length, dtype=torch.long, device=device)
    driver.run(ids, slots, _plan(ordered, stem.entries, slice(-1, None)))
    slots.length = stem.length
    return slots


def _plan(rows: Sequence[Row], entries: dict[int, LayerInput], logits_at: slice) -> PassPlan:
    switched = [(row.target, row.replacement) for row in rows]
    device = entries[rows[0].entry_layer].hidden.device
    return joining_plan(switched, [row.entry_layer for row in rows], entries, device, logits_at)


class RowChunk:
    """A few targets of neighbouring layers, verified together from the clean hidden state of the lowest."""

    def __init__(
        self, driver: ForwardDriver, clean: BaselinePass, rows: Sequence[Row], begun: KVCache | None = None
    ) -> None:
        self.driver, self.clean = driver, clean
        self.rows = lined_up(driver, [*rows, canary_for(rows)], clean.entries)
        length = clean.job.length
        self.slots = KVCache(len(driver.blocks), length) if begun is None else begun.grown(length)
        self.noise = 0.0
        self.canary_left = False

    def verify(self) -> list[Row]:
        """Return the rows that leave the baseline's answer, each up to its difference; the others have all of it."""
        left: list[Row] = []
        draft, prompt = self.clean.job.draft, self.clean.job.prompt_length
        first = 0
        while first < len(draft):
            window = draft[first : first + WINDOW]
            # The token before the window is fed with it: its logits predict the window's first token.
            start = prompt + first - 1 if first else self.clean.stem.length
            end = prompt + first + len(window) - 1
            logits = self._run(start, end, len(window))
            if first == 0:
                self._answer_logprobs(logits)
            leaving = self._compare(logits, window, first)
            self.slots.length = end
            first += len(window)
            if leaving:
                left += leaving
                self._drop(leaving)
                if all(row.place < 0 for row in self.rows):
                    break
        if self.canary_left:
            for row in [*self.rows, *left]:
                row.near_tie = self.clean.job.encoded.limit
        return [row for row in left if row.place >= 0]

    def _run(self, start: int, end: int, predicted: int) -> Tensor:
        """Run positions *start* to *end* and return the last *predicted* logits, ``(rows, predicted, vocabulary)``."""
        own = slice(start - self.clean.stem.length, end - self.clean.stem.length)
        entries = {row.entry_layer: self.clean.entries[row.entry_layer].at((slice(None), own)) for row in self.rows}
        plan = _plan(self.rows, entries, slice(-predicted, None))
        return self.driver.run(self._dummy(end - start), self.slots, plan)

    def _dummy(self, tokens: int) -> Tensor:
        """Return token ids whose embeddings no layer will see: one row where masks broadcast, else all."""
        rows = 1 if self.driver.grows else len(self.rows)
        return self.clean.job.encoded.prompt.new_zeros(rows, tokens)

    def _compare(self, logits: Tensor, window: Sequence[int], first: int) -> list[Row]:
        """Return the rows whose arg-max differs from *window* somewhere, with their tokens up to there."""
        wanted = torch.tensor(window, device=logits.device).expand(logits.shape[0], -1)[..., None]
        own = logits.gather(-1, wanted)  # (rows, window, 1)
        rival = logits.scatter_(-1, wanted, float("-inf")).max(-1)  # the best of all other tokens
        margin = (own[..., 0] - rival.values).float()  # (rows, window); negative where the baseline's token lost
        best = torch.where(margin >= 0, own[..., 0], rival.values).float()
        margins, rivals, bests = margin.tolist(), rival.indices.tolist(), best.tolist()
        for row, values in zip(self.rows, bests, strict=True):
            if row.place < 0:
                self.noise = max(self.noise, noise_of(self.clean.job.baseline, values, first))
        leaving = []
        buffers, clean = self.slots.buffers(), self.clean.buffers
        for index, row in enumerate(self.rows):
            said, leads, left = read(window, margins[index], rivals[index], logits[index])
            row.tokens = [*self.clean.job.draft[:first], *said]
            if left:
                leaving.append(row)
                row.origin = KVOrigin(row.differs, buffers, index, clean, 0)
                self.canary_left |= row.place < 0
            close = last_near_tie(leads, self.noise)
            row.near_tie = first + close if close else row.near_tie
        return leaving

    def _drop(self, leaving: list[Row]) -> None:
        gone = {id(row) for row in leaving}
        kept = [index for index, row in enumerate(self.rows) if id(row) not in gone]
        holds = [row.holds for row in self.rows]
        device = self.clean.job.encoded.prompt.device
        self.slots.keep(
            {
                layer: torch.tensor([i for i in kept if holds[i] <= layer], dtype=torch.long, device=device)
                for layer, _, _ in self.slots.buffers()
            }
        )
        self.rows = [self.rows[index] for index in kept]

    def _answer_logprobs(self, logits: Tensor) -> None:
        """Set every row's log-probability of the expected answer, which may share only its beginning with the draft."""
        clean = self.clean
        parts = [logits[:, : clean.shared + 1]]  # (rows, shared + 1, vocabulary)
        if clean.branch_entries:
            self.slots.branch = clean.job.prompt_length + clean.shared
            entries = {row.entry_layer: clean.branch_entries[row.entry_layer] for row in self.rows}
            dummy = self._dummy(_branch_ids(clean).shape[1])
            parts.append(self.driver.run(dummy, self.slots, _plan(self.rows, entries, slice(None))))
            self.slots.branch = None
        total: Any = 0.0
        at = 0
        for part in parts:
            wanted = torch.tensor(clean.job.encoded.answer[at : at + part.shape[1]], device=part.device)
            logs = part.float().gather(-1, wanted.expand(part.shape[0], -1)[..., None])[..., 0]
            total = total + (logs - part.float().logsumexp(-1)).sum(-1)  # (rows,)
            at += part.shape[1]
        for row, value in zip(self.rows, total.tolist(), strict=True):
            row.logprob = value


def read(
    wanted: Sequence[int], margins: Sequence[float], rivals: Sequence[int], logits: Tensor
) -> tuple[list[int], list[float], bool]:
    """Return a row's tokens up to the first that is not *wanted*, the lead of each, and whether there is such a one.

    *margins* is by how much a wanted token leads the best other one, its *rivals*; *logits* ``(tokens, vocabulary)``.
    """
    lost = next((at for at in range(len(wanted)) if margins[at] < 0), None)
    if lost is None:
        return list(wanted), list(margins[: len(wanted)]), False
    best, second = logits[lost].topk(2).values.float().tolist()
    return [*wanted[:lost], rivals[lost]], [*margins[:lost], min(-margins[lost], best - second)], True
