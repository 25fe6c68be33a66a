"""Packed weights: on a CPU, matrix products whose weights are laid out for the kernel once instead of at every call.

oneDNN multiplies by such a copy 1.2 times as fast as torch's own product at a thousand tokens and twice as fast at
sixteen (docs/quality/performance.md), and decoding consists of small products. The copy takes as much memory as the
weights.
"""

from __future__ import annotations

from collections import Counter
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


def fixed_products(model: Any, max_bytes: int) -> dict[int, Product]:
    """Return the product by each packed weight of *model*, by the ``id`` of the weight, for passes in fixed shapes.

    oneDNN multiplies in bfloat16 anyway, and packing leaves every bit as it is, so as many are packed as *max_bytes*
    hold. In float32 torch multiplies by another library, so either all weights are packed or none.
    """
    if not available() or model.dtype not in (torch.bfloat16, torch.float32):
        return {}
    plain = [module for module in model.modules() if _weight(module, model.dtype) is not None]
    users = Counter(id(module.weight) for module in plain)
    modules = {id(module.weight): module for module in plain if users[id(module.weight)] == 1}  # each has its own bias
    total = sum(module.weight.nbytes for module in modules.values())
    if model.dtype == torch.float32 and total > max_bytes:
        return {}
    products: dict[int, Product] = {}
    for key, module in modules.items():
        weight = _weight(module, model.dtype)
        if weight is not None and weight.nbytes <= max_bytes:
            max_bytes -= weight.nbytes
            products[key] = _packed_product(weight, getattr(module, "bias", None))
    return products


def available() -> bool:
    """Tell whether this build of torch has oneDNN's packed product (torch itself calls it in compiled models)."""
    ops = torch.ops.mkldnn
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(ops, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _weight(module: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """Return the ``(out, in)`` weight of a plain projection of *dtype* on the CPU, else ``None``."""
    if type(module) not in (nn.Linear, Conv1D) or "forward" in vars(module):
        return None
    weight = module.weight
    if type(weight) is not nn.Parameter or weight.device.type != "cpu" or weight.dtype != dtype:
        return None
    return weight.detach() if type(module) is nn.Linear else weight.detach().T.contiguous()  # (out, in)


def _packed_product(weight: Tensor, bias: Any) -> Product:
    ops = torch.ops.mkldnn
    packed = ops._reorder_linear_weight(weight)
    offset = None if bias is None else bias.detach()  # (out,)

    def product(x: Tensor) -> Tensor:
        output: Tensor = ops._linear_pointwise(x, packed, offset, "none", [], "")  # (..., out)
        return output

    return product


def _wrap(weight: Tensor, bias: Any) -> Callable[[Any], Product]:
    packed_product = _packed_product(weight, bias)
    small, out = weight.numel() <= SMALL, weight.shape[0]

    def wrap(forward: Product) -> Product:
        def product(x: Tensor) -> Tensor:
            return forward(x) if small and x.numel() * out <= FEW else packed_product(x)

        return product

    return wrap
