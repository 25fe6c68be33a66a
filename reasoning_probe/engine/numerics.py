"""Numerics: what makes a row's answer independent of the rows that share its batch.

``settle`` answers rows that are too close to call in a batch again, alone. ``invariant`` runs every kernel in one
shape, so that a row's bits do not depend on its batch. ``batch`` takes what a batch gives.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.engine import INVARIANT, SETTLE
from reasoning_probe.engine.fast.packed_linear import fixed_products
from reasoning_probe.engine.invariance import broken_invariance
from reasoning_probe.models.fixed_shapes import BLOCKS, LEAST_ROWS, FixedShapes, UnfixableError, rows_change_products
from reasoning_probe.models.weights import device_of

NO_NOISE = -1.0
"""The noise of a batch that cannot change an answer, in which not even equal logits are too close to call."""


@dataclass(frozen=True)
class Numerics:
    """How answers are kept independent of their batch: the ``name``, and ``why`` another one than the user's choice."""

    name: str = SETTLE
    why: str = ""
    shapes: FixedShapes | None = field(default=None, repr=False)

    @property
    def invariant(self) -> bool:
        """Tell whether every kernel runs in one shape."""
        return self.shapes is not None

    @property
    def caches_tiles(self) -> bool:
        """Tell whether caches hold keys and values as the attention of fixed tiles takes them."""
        return self.shapes is not None and self.shapes.caches_tiles

    @property
    def context(self) -> dict[str, str]:
        """What an answer depends on, for the key of the outcome store; for ``settle`` nothing, so old keys stay."""
        if self.name == SETTLE:
            return {}
        return {"numerics": self.name if self.shapes is None else f"{self.name}, {self.shapes.key}"}

    def running(self) -> AbstractContextManager[None]:
        """Return a context in which the model runs as these numerics need it; outside it is as the user loaded it."""
        return nullcontext() if self.shapes is None else self.shapes.running()


def choose_numerics(model: Any, wanted: str, packing_bytes: int = 0) -> Numerics:
    """Return the numerics *wanted* for *model*: ``auto`` settles in float32 and is invariant in half precision.

    ``invariant`` takes a proof: the model runs in fixed shapes, alone and in batches of many kinds, and its logits must
    be bit for bit the same. Where they are not, rows are settled. Packed copies of the weights take *packing_bytes*.
    """
    if wanted == "auto":
        wanted = INVARIANT if model.dtype in (torch.bfloat16, torch.float16) else SETTLE
    if wanted != INVARIANT:
        return Numerics(wanted)
    why, products = "", fixed_products(model, packing_bytes)
    on_gpu = device_of(model).type != "cpu"
    blocks = [(rows, True) for rows in BLOCKS]
    ways = blocks if on_gpu or rows_change_products(model, products) else [(rows, False) for rows in LEAST_ROWS]
    for (rows, in_blocks), tiles in product(ways, (True, False)):  # latent attention caches no tiles
        try:
            shapes = FixedShapes(model, rows, products, in_blocks=in_blocks, caches_tiles=tiles)
            why = broken_invariance(model, shapes)
        except UnfixableError as error:
            return Numerics(SETTLE, f"not invariant: {error}")
        if not why:
            return Numerics(INVARIANT, shapes=shapes)
    return Numerics(SETTLE, f"not invariant: {why}")


def logit_digests(logits: Tensor) -> Tensor:
    """Return a number for the bits of each position's *logits*, ``(..., vocabulary)``: ``(...)``, int64.

    The sum is of integers, so it is exact in any order.
    """
    bits = logits.float().view(torch.int32).to(torch.int64)  # (..., vocabulary)
    weights = 2 * torch.arange(bits.shape[-1], device=bits.device) + 1  # (vocabulary,)
    return (bits * weights).sum(-1)
