"""Several queries in one pass: what small models and large devices need, where a query alone is mostly overhead.

Verification needs nothing new: prompts and answers are padded on the right, where causal attention never looks, so the
dummy's mask still serves all rows. In decoding rows have different lengths; each writes its keys and values at its own
position, and gets a mask and a position of its own. Families that take no such mask show it in the self-check, and
their queries go one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning_probe.engine.decode import two_best
from reasoning_probe.engine.passes import Driver, Off, Plan, off_pairs
from reasoning_probe.engine.plain import CANARY, NOISE_MARGIN
from reasoning_probe.engine.replies import Codec, Job
from reasoning_probe.engine.slots import Slots
from reasoning_probe.engine.verify import Row, noise_of


@dataclass(frozen=True)
class Strand:
    """A prompt with tokens that continue it: the baseline's answer, or where they part the expected one."""

    prompt: tuple[int, ...]
    follow: tuple[int, ...]

    @property
    def fed(self) -> tuple[int, ...]:
        """What goes in: the last token that follows is only predicted."""
        return (*self.prompt, *self.follow[:-1])


@dataclass
class Member:
    """A row on its strand: ``row`` is shared by the strands of one target."""

    row: Row
    job: int
    strand: int
    is_draft: bool
    order: int = 0  # its row in the pass


class Pool:
    """Answers several jobs together; rows get ``tokens``, ``logprob`` and ``near_tie``."""

    def __init__(self, driver: Driver, codec: Codec, jobs: Sequence[Job], rows: Sequence[Sequence[Row]]) -> None:
        self.driver, self.codec, self.jobs = driver, codec, jobs
        self.device = jobs[0].encoded.prompt.device
        self.strands: list[Strand] = []
        self.members: list[Member] = []
        self.entries: dict[int, Tensor] = {}
        self.noise = 0.0
        for at, (job, of_job) in enumerate(zip(jobs, rows, strict=True)):
            prompt = tuple(job.encoded.prompt[0].tolist())
            self._add(at, Strand(prompt, job.draft), of_job, is_draft=True)
            if not self._covered(job):
                self._add(at, Strand(prompt, job.encoded.answer), of_job, is_draft=False)
        top = max(member.row.start for member in self.members)
        self.canary = Row(CANARY, -1, top)
        self.members.append(Member(self.canary, 0, 0, is_draft=True))
        # Rows enter where they start; a family that takes no growing batch has all of them from the lowest layer on.
        lowest = min(member.row.start for member in self.members)
        for member in self.members:
            member.row.enters = member.row.start if driver.grows else lowest
        self.members.sort(key=lambda member: member.row.enters)
        for order, member in enumerate(self.members):
            member.order = order

    @staticmethod
    def _covered(job: Job) -> bool:
        """Tell whether the draft's strand predicts every token of the expected answer."""
        inner = job.encoded.answer[:-1]
        return len(inner) < len(job.draft) and job.draft[: len(inner)] == inner

    def _add(self, job: int, strand: Strand, rows: Sequence[Row], *, is_draft: bool) -> None:
        self.strands.append(strand)
        place = len(self.strands) - 1
        self.members += [Member(row, job, place, is_draft) for row in rows]

    def run(self) -> list[Row]:
        """Verify and decode; return the rows that left their baseline."""
        clean = self._clean()
        slots = Slots(len(self.driver.blocks), self._longest())
        left = self._verify(slots)
        if left:
            self._decode(left, slots, clean)
        return [member.row for member in left]

    def _longest(self) -> int:
        return max(len(strand.fed) for strand in self.strands)

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest = max(len(row) for row in rows)
        return torch.tensor([[*row, *[self.codec.pad] * (longest - len(row))] for row in rows], device=self.device)

    def _clean(self) -> Slots:
        """Run every strand once with nothing switched off, keeping what enters each layer."""
        slots = Slots(len(self.driver.blocks), self._longest())
        ids = self._padded([strand.fed for strand in self.strands])  # (strands, tokens)
        self.driver.run(ids, slots, Plan(record=self.entries, logits_at=slice(-1, None)))
        slots.length = ids.shape[1]
        return slots

    def _verify(self, slots: Slots) -> list[Member]:
        strands = [self.strands[member.strand] for member in self.members]
        joins = Counter(member.row.enters for member in self.members)
        entries = {}
        for layer in joins:
            which = [member.strand for member in self.members if member.row.enters == layer]
            entries[layer] = self.entries[layer][torch.tensor(which, device=self.device)]  # (joining, tokens, hidden)
        off = self._off([member.row for member in self.members])
        wanted = self._padded([strand.follow for strand in strands])  # (rows, follow)
        firsts = torch.tensor([len(strand.prompt) - 1 for strand in strands], device=self.device)
        at = (firsts[:, None] + torch.arange(wanted.shape[1], device=self.device)).clamp(max=self._longest() - 1)
        dummy = wanted.new_zeros(1 if self.driver.grows else len(self.members), self._longest())
        plan = Plan(min(joins), dict(joins), entries, off, logits_at=at)
        logits = self.driver.run(dummy, slots, plan)  # (rows, follow, vocabulary)
        slots.length = self._longest()
        return self._read(logits, wanted)

    def _read(self, logits: Tensor, wanted: Tensor) -> list[Member]:
        """Set log-probabilities and tokens; return the members that left their baseline, up to their difference."""
        # A draft's strand may part from the expected answer at the last token: that token's logit is wanted here.
        answers = self._padded([self.jobs[member.job].encoded.answer for member in self.members])[:, : wanted.shape[1]]
        expected = wanted.clone()  # (rows, follow)
        expected[:, : answers.shape[1]] = answers
        logs = (logits.gather(-1, expected[..., None])[..., 0].float() - logits.float().logsumexp(-1)).tolist()
        own = logits.gather(-1, wanted[..., None])[..., 0]  # (rows, follow)
        rival = logits.scatter(-1, wanted[..., None], float("-inf")).max(-1)
        margins = (own - rival.values).float().tolist()
        rivals = rival.indices.tolist()
        bests = torch.maximum(own, rival.values).float().tolist()
        canary = next(member for member in self.members if member.row is self.canary)
        baseline = self.jobs[0].baseline
        self.noise = noise_of(baseline, bests[canary.order][: len(self.jobs[0].draft)], 0)
        canary_left = min(margins[canary.order][: len(self.jobs[0].draft)]) < 0
        left = []
        for member, margin in zip(self.members, margins, strict=True):
            job, row = self.jobs[member.job], member.row
            if not member.is_draft or self._covered(job):
                row.logprob = sum(logs[member.order][: len(job.encoded.answer)])
            if not member.is_draft or row is self.canary:
                continue
            draft = job.draft
            lost = next((at for at, value in enumerate(margin[: len(draft)]) if value < 0), None)
            closest = min(abs(value) for value in margin[: len(draft) if lost is None else lost + 1])
            if lost is None:
                row.tokens = list(draft)
            else:
                row.tokens = [*draft[:lost], rivals[member.order][lost]]
                two = logits[member.order, lost].topk(2).values.float().tolist()
                closest = min(closest, two[0] - two[1])
                left.append(member)
            row.near_tie |= canary_left or closest <= NOISE_MARGIN * self.noise
        return left

    def _off(self, rows: Sequence[Row]) -> dict[int, Off]:
        return off_pairs([(row.target, row.replacement) for row in rows], self.device)

    def _decode(self, left: list[Member], verified: Slots, clean: Slots) -> None:
        """Decode rows of different lengths together, each from its difference on, until all have ended."""
        active = [member for member in left if not self._over(member)]
        if not active:
            return
        capacity = max(self.jobs[m.job].prompt_length + self.jobs[m.job].encoded.limit for m in active)
        slots = self._gathered(active, verified, clean, capacity)
        kept = torch.arange(len(active), device=self.device)
        off = self._off([member.row for member in active])
        while active:
            lengths = [self.jobs[m.job].prompt_length + len(m.row.tokens) - 1 for m in active]
            slots.positions = torch.tensor(lengths, device=self.device)  # (rows,): where each row's token goes
            slots.length = max(lengths)
            ids = torch.tensor([[m.row.tokens[-1]] for m in active], device=self.device)
            logits = self.driver.run(
                ids,
                slots,
                Plan(off=off),
                attention_mask=causal_mask(slots.positions, self.driver.model.dtype),
                position_ids=slots.positions[:, None],
            )[:, -1]
            _, tokens, margins = two_best(logits)
            for member, token, margin in zip(active, tokens, margins, strict=True):
                member.row.tokens.append(token)
                member.row.near_tie |= margin <= NOISE_MARGIN * self.noise
            stay = [at for at, member in enumerate(active) if not self._over(member)]
            if len(stay) < len(active):
                active = [active[at] for at in stay]
                kept = torch.tensor(stay, dtype=torch.long, device=self.device)
                slots.keep({layer: kept for layer, _, _ in slots.buffers()})
                off = self._off([member.row for member in active])

    def _over(self, member: Member) -> bool:
        job, tokens = self.jobs[member.job], member.row.tokens
        return len(tokens) >= job.encoded.limit or self.codec.ended(tuple(tokens), job.stop)

    def _gathered(self, members: Sequence[Member], verified: Slots, clean: Slots, capacity: int) -> Slots:
        """Return slots that hold each member's keys and values: its own from its start on, the clean ones below."""
        slots = Slots(len(self.driver.blocks), capacity, rows=len(members))
        own = {layer: buffers for layer, *buffers in verified.buffers()}
        strands = torch.tensor([member.strand for member in members], device=self.device)
        for layer, *clean_buffers in clean.buffers():
            above = [at for at, member in enumerate(members) if member.row.start <= layer]
            rows = torch.tensor([members[at].order for at in above], dtype=torch.long, device=self.device)
            filled = []
            for which, buffer in enumerate(clean_buffers):
                _, heads, known, size = buffer.shape
                wide = buffer.new_zeros(len(members), heads, capacity, size)
                wide[:, :, :known] = buffer[strands]
                if above:
                    wide[above, :, :known] = own[layer][which][rows]
                filled.append(wide)
            slots.layers[layer].fill(*filled)
        return slots


def causal_mask(positions: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of one new token a row, ``(rows, 1, 1, keys)``: row *i* sees keys up to its position."""
    keys = torch.arange(int(positions.max()) + 1, device=positions.device)
    hidden = keys > positions[:, None]  # (rows, keys)
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill(hidden, torch.finfo(dtype).min)[
        :, None, None
    ]
