"""Decoding of rows of several queries together, each with its own length.

Each row writes its keys and values to its own position and has its own mask and position. The self-check detects
families that do not accept such a mask; their queries are answered one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reasoning_probe.engine.fast.decoding import (
    DivergedRow,
    append_tokens,
    canary_for,
    disabled_in,
    next_inputs,
    next_scores,
    on_host,
    remove_rows,
    top_two,
)
from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.fast.pass_plan import PassPlan
from reasoning_probe.engine.numerics import NO_NOISE
from reasoning_probe.engine.tokenization import TokenCodec
from reasoning_probe.engine.transfers import to_device


def decode_ragged(driver: ForwardDriver, codec: TokenCodec, diverged_rows: Sequence[DivergedRow]) -> list[DivergedRow]:
    """Decode each of *diverged_rows* from its divergence until all have ended; sets ``tokens`` and ``near_tie``.

    Returns the canary, with the noise of the batch.
    """
    active = [diverged for diverged in diverged_rows if not diverged.ended(codec)]
    if not active:
        return []
    layers, device = len(driver.blocks), active[0].job.encoded.prompt.device
    longest_draft = max(active, key=lambda diverged: len(diverged.job.draft) - len(diverged.row.tokens))
    canary = canary_for(longest_draft, layers)
    active.append(canary)
    capacity = max(diverged.job.prompt_length + diverged.job.encoded.limit for diverged in active) + driver.stride
    kv_cache = driver.gather([diverged.row.origin for diverged in active], capacity)
    disabled, noise = disabled_in(active, device), NO_NOISE
    while not all(diverged.is_canary for diverged in active):
        longest = max(diverged.length for diverged in active)
        positions = to_device([[diverged.length] for diverged in active], device)  # (rows, 1): of its token
        ids = to_device([[diverged.row.tokens[-1]] for diverged in active], device)  # (rows, 1)
        canaries = [(index, diverged) for index, diverged in enumerate(active) if diverged.is_canary]
        steps = []
        for step in range(driver.stride):
            kv_cache.length = longest + step
            logits = run_ragged(driver, ids, kv_cache, positions + step, PassPlan(disabled=disabled))
            scores = next_scores(logits, active, step, exact=driver.numerics.invariant)  # (rows, vocabulary)
            steps.append(top_two(scores, canaries))
            ids = next_inputs(steps[-1].tokens, canaries, step)  # (rows, 1)
        for best in on_host(steps):
            noise = append_tokens(best, active, codec, noise)
        kv_cache.length = longest + driver.stride
        if remove_rows(active, kv_cache, lambda diverged: diverged.ended(codec)):
            disabled = disabled_in(active, device)
    canary.noise = noise
    return [canary]


def run_ragged(driver: ForwardDriver, ids: Tensor, kv_cache: KVCache, positions: Tensor, plan: PassPlan) -> Tensor:
    """Run the tokens *ids* at *positions*, both ``(rows, new)``; return the ``(rows, new, vocabulary)`` logits.

    The tokens follow at most ``kv_cache.length`` others.
    """
    kv_cache.positions = positions
    mask = causal_mask(
        positions, kv_cache.visible(kv_cache.length + ids.shape[1]), driver.model.dtype
    )  # (rows, 1, new, keys)
    return driver.run(ids, kv_cache, plan, attention_mask=mask, position_ids=positions)


def causal_mask(positions: Tensor, keys: int, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of new tokens at *positions*, ``(rows, 1, new, keys)``: each sees keys up to its own."""
    masked = torch.arange(keys, device=positions.device) > positions[..., None]  # (rows, new, keys)
    mask = torch.zeros(masked.shape, dtype=dtype, device=positions.device)
    return mask.masked_fill(masked, torch.finfo(dtype).min)[:, None]  # (rows, 1, new, keys)
