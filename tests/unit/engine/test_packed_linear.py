"""Packed weights multiply like torch's own products, and small products are left to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from reasoning_probe.engine.fast.forward import wrapped
from reasoning_probe.engine.fast.packed_linear import FEW, SMALL, PackedLinears, available

pytestmark = pytest.mark.skipif(not available(), reason="this build of torch has no packed product")


def packed(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Return the output of *module* for *x* while it is packed, and whether torch's own product computed it."""
    inputs: list[torch.Tensor] = []  # of torch's own product

    def recording(forward: Callable[..., Any]) -> Callable[..., Any]:
        def torch_product(x: torch.Tensor) -> Any:
            inputs.append(x)
            return forward(x)

        return torch_product

    wraps = PackedLinears([module], 10**9).wraps
    with torch.inference_mode(), wrapped([(module, recording), *wraps]):
        return module(x), bool(inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 40, 3000])
def test_a_packed_linear_layer_multiplies_as_torch_does(rows: int, bias: bool) -> None:
    module, x = nn.Linear(96, 160, bias=bias), torch.randn(2, rows, 96)
    output, _ = packed(module, x)
    torch.testing.assert_close(output, x @ module.weight.T + (module.bias if bias else 0), rtol=1e-4, atol=1e-5)


def test_so_does_gpt2s_transposed_layer() -> None:
    module, x = Conv1D(160, 96), torch.randn(3000, 96)
    output, _ = packed(module, x)
    torch.testing.assert_close(output, x @ module.weight + module.bias, rtol=1e-4, atol=1e-5)


def test_few_rows_by_a_small_weight_are_left_to_torch() -> None:
    module = nn.Linear(128, 256)
    rows = FEW // (128 * 256)
    assert module.weight.numel() <= SMALL
    assert packed(module, torch.randn(rows, 128))[1]
    assert not packed(module, torch.randn(rows + 1, 128))[1]


def test_one_row_by_a_large_weight_is_packed() -> None:
    module = nn.Linear(1024, 1 + SMALL // 1024)
    assert not packed(module, torch.randn(1, 1024))[1]
