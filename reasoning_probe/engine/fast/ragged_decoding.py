"""Decoding rows of several queries together, each of its own length.

Each row writes its keys and values at its own position and gets a mask and a position of its own. Families that take
no such mask show it in the self-check, and their queries go one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reasoning_probe.engine.fast.decoding import DivergedRow, canary_of, fed, leave, note, two_best
from reasoning_probe.engine.fast.forward import ForwardDriver, PassPlan, off_pairs
from reasoning_probe.engine.fast.kv_cache import KVCache, gathered
from reasoning_probe.engine.tokenization import TokenCodec


def decode_ragged(driver: ForwardDriver, codec: TokenCodec, strays: Sequence[DivergedRow]) -> None:
    """Decode *strays*, each from its difference on, until all have ended; sets ``tokens`` and ``near_tie``."""
    active = [stray for stray in strays if not stray.ended(codec)]
    if not active:
        return
    layers, device = len(driver.blocks), active[0].job.encoded.prompt.device
    active.append(canary_of(max(active, key=lambda stray: len(stray.job.draft) - len(stray.row.tokens)), layers))
    capacity = max(stray.job.prompt_length + stray.job.encoded.limit for stray in active) + driver.stride
    slots = gathered([stray.row.origin for stray in active], layers, capacity)
    off, noise = off_pairs([(stray.row.target, stray.row.replacement) for stray in active], device), 0.0
    while not all(stray.is_canary for stray in active):
        longest = max(stray.length for stray in active)
        positions = torch.tensor([[stray.length] for stray in active], device=device)  # (rows, 1): where its token goes
        ids = torch.tensor([[stray.row.tokens[-1]] for stray in active], device=device)  # (rows, 1)
        canaries = [(at, stray) for at, stray in enumerate(active) if stray.is_canary]
        found = []
        for step in range(driver.stride):
            slots.length = longest + step
            found.append(two_best(run_ragged(driver, ids, slots, positions + step, PassPlan(off=off))[:, -1]))
            ids = fed(found[-1].tokens, canaries, step)
        for best in found:
            noise = note(best, active, codec, noise)
        slots.length = longest + driver.stride
        if leave(active, slots, lambda stray: stray.ended(codec)):
            off = off_pairs([(stray.row.target, stray.row.replacement) for stray in active], device)


def run_ragged(driver: ForwardDriver, ids: Tensor, slots: KVCache, positions: Tensor, plan: PassPlan) -> Tensor:
    """Run the tokens *ids* at *positions*, ``(rows, new)`` both, behind at most ``slots.length``; return the logits."""
    slots.positions = positions
    mask = causal_mask(positions, slots.length + ids.shape[1], driver.model.dtype)
    return driver.run(ids, slots, plan, attention_mask=mask, position_ids=positions)


def causal_mask(positions: Tensor, keys: int, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of new tokens at *positions*, ``(rows, 1, new, keys)``: each sees keys up to its own."""
    hidden = torch.arange(keys, device=positions.device) > positions[..., None]  # (rows, new, keys)
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
    return mask.masked_fill(hidden, torch.finfo(dtype).min)[:, None]
