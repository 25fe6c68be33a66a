"""Packed weights: on a CPU, matrix products whose weights are laid out for the kernel once instead of at every call.

oneDNN multiplies by such a copy 1.2 times as fast as torch's own product at a thousand tokens and twice as fast at
sixteen (docs/quality/performance.md), and decoding consists of small products. The copy takes as much memory as the
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Product = Callable[..., Tensor]

FEW = 2**21
"""Multiplications of a product, with a weight of at most :data:`SMALL` elements, up to which torch's own is faster.

A call into oneDNN costs 10 to 15 microseconds more, which is half the time of a few rows times a small weight.
"""
SMALL = 2**18


class PackedLinears:
    """The float32 projections among *modules*, packed; none if the device or this build of torch has no such kernel.

    A module that is not a plain projection (quantised, offloaded, of another class) is left as it is, and so are all
    others once the copies take *max_bytes*.
    """

    def __init__(self, modules: Iterable[nn.Module], max_bytes: int) -> None:
        self.bytes = 0
        self.wraps: list[tuple[nn.Module, Callable[[Any], Product]]] = []
        if not available():
            return
        for module in {id(module): module for module in modules}.values():
            weight = _weight(module)
            if weight is None or self.bytes + weight.nbytes > max_bytes:
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
    return weight.detach() if type(module) is nn.Linear else weight.detach().T.contiguous()  # (out, in)


def _wrap(weight: Tensor, bias: Any) -> Callable[[Any], Product]:
    ops = torch.ops.mkldnn
    packed = ops._reorder_linear_weight(weight)
    offset = None if bias is None else bias.detach()  # (out,)
    small, out = weight.numel() <= SMALL, weight.shape[0]

    def wrap(forward: Product) -> Product:
        def product(x: Tensor) -> Tensor:
            if small and x.numel() * out <= FEW:
                return forward(x)
            output: Tensor = ops._linear_pointwise(x, packed, offset, "none", [], "")  # (..., out)
            return output

        return product

    return wrap
