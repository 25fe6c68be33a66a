"""Decoding rows of several queries together, each of its own length.

Each row writes its keys and values at its own position and gets a mask and a position of its own. Families that take
no such mask show it in the self-check, and their queries go one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning_probe.engine.decode import two_best
from reasoning_probe.engine.passes import Driver, Plan, off_pairs
from reasoning_probe.engine.plain import NOISE_MARGIN
from reasoning_probe.engine.replies import Codec, Job
from reasoning_probe.engine.slots import Slots, gathered
from reasoning_probe.engine.verify import Row


@dataclass
class Stray:
    """A row that left its baseline, with its job and the noise of the pass that verified it."""

    row: Row
    job: Job
    noise: float

    @property
    def length(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return self.job.prompt_length + len(self.row.tokens) - 1

    def ended(self, codec: Codec) -> bool:
        """Tell whether the answer is complete."""
        return self.job.ended(self.row.tokens, codec)


def decode_ragged(driver: Driver, codec: Codec, strays: Sequence[Stray]) -> None:
    """Decode *strays*, each from its difference on, until all have ended; sets ``tokens`` and ``near_tie``."""
    active = [stray for stray in strays if not stray.ended(codec)]
    if not active:
        return
    device = active[0].job.encoded.prompt.device
    capacity = max(stray.job.prompt_length + stray.job.encoded.limit for stray in active) + driver.stride
    slots = gathered([stray.row.origin for stray in active], len(driver.blocks), capacity)
    off = off_pairs([(stray.row.target, stray.row.replacement) for stray in active], device)
    while active:
        longest = max(stray.length for stray in active)
        positions = torch.tensor([[stray.length] for stray in active], device=device)  # (rows, 1): where its token goes
        ids = torch.tensor([[stray.row.tokens[-1]] for stray in active], device=device)  # (rows, 1)
        found = []
        for step in range(driver.stride):
            slots.length = longest + step
            found.append(two_best(run_ragged(driver, ids, slots, positions + step, Plan(off=off))[:, -1]))
            ids = found[-1].tokens[:, None]
        for best in found:
            _, tokens, margins = best.lists()
            for stray, token, margin in zip(active, tokens, margins, strict=True):
                if not stray.ended(codec):
                    stray.row.tokens.append(token)
                    stray.row.near_tie |= margin <= NOISE_MARGIN * stray.noise
        stay = [at for at, stray in enumerate(active) if not stray.ended(codec)]
        if len(stay) < len(active):
            active = [active[at] for at in stay]
            off = off_pairs([(stray.row.target, stray.row.replacement) for stray in active], device)
            kept = torch.tensor(stay, dtype=torch.long, device=device)
            slots.keep({layer: kept for layer, _, _ in slots.buffers()})


def run_ragged(driver: Driver, ids: Tensor, slots: Slots, positions: Tensor, plan: Plan) -> Tensor:
    """Run the tokens *ids* at *positions*, ``(rows, new)`` both, behind at most ``slots.length``; return the logits."""
    slots.positions = positions
    mask = causal_mask(positions, slots.length + ids.shape[1], driver.model.dtype)
    return driver.run(ids, slots, plan, attention_mask=mask, position_ids=positions)


def causal_mask(positions: Tensor, keys: int, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of new tokens at *positions*, ``(rows, 1, new, keys)``: each sees keys up to its own."""
    hidden = torch.arange(keys, device=positions.device) > positions[..., None]  # (rows, new, keys)
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
    return mask.masked_fill(hidden, torch.finfo(dtype).min)[:, None]
