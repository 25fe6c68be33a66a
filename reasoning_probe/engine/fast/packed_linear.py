"""Packed weights: on a CPU, matrix products whose weights were laid out for the kernel once, not at every call.

oneDNN multiplies by such a copy 1.2 times as fast as torch's own product at a thousand tokens and twice as fast at
sixteen (docs/quality/performance.md), which is what decoding is made of. The copy costs as much memory as the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Product = Callable[..., Tensor]

FEW = 2**21
"""Multiplications of a product, of a weight of at most :data:`SMALL` elements, up to which torch's own is faster.

A call of oneDNN's costs 10 to 15 microseconds more, which is half the time of a few rows by a small weight.
"""
SMALL = 2**18


class PackedLinears:
    """The float32 projections among *modules*, packed; none where the device or this build of torch has no such kernel.

    A module that is no plain projection (quantised, offloaded, of a class of its own) stays as it is, and so does all
    else once *room* bytes are taken.
    """

    def __init__(self, modules: Iterable[nn.Module], room: int) -> None:
        self.bytes = 0
        self.wraps: list[tuple[nn.Module, Callable[[Any], Product]]] = []
        if not available():
            return
        for module in {id(module): module for module in modules}.values():
            weight = _weight(module)
            if weight is None or self.bytes + weight.nbytes > room:
                continue
            self.bytes += weight.nbytes
            self.wraps.append((module, _wrap(weight, getattr(module, "bias", None))))


def available() -> bool:
    """Tell whether this build of torch has oneDNN's packed product (torch itself calls it in compiled models)."""
    ops = torch.ops.mkldnn
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(ops, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _weight(module: nn.Module) -> Tensor | None:
    """Return the ``(out, in)`` weight of a plain float32 projection on the CPU, else ``None``."""
    if type(module) not in (nn.Linear, Conv1D) or "forward" in vars(module):
        return None
    weight = module.weight
    if type(weight) is not nn.Parameter or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    return weight.detach() if type(module) is nn.Linear else weight.detach().T.contiguous()


def _wrap(weight: Tensor, bias: Any) -> Callable[[Any], Product]:
    ops = torch.ops.mkldnn
    packed = ops._reorder_linear_weight(weight)
    offset = None if bias is None else bias.detach()
    small, out = weight.numel() <= SMALL, weight.shape[0]

    def wrap(forward: Product) -> Product:
        def product(x: Tensor) -> Tensor:
            if small and x.numel() * out <= FEW:
                return forward(x)
            made: Tensor = ops._linear_pointwise(x, packed, offset, "none", [], "")
            return made

        return product

    return wrap
