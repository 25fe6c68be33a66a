"""Copies between the host and a GPU that make the host wait as rarely as possible.

A GPU works through its queue while the host fills it. Reading a value, and a blocking copy to the GPU, wait until the
queue is empty, and the GPU then idles until the host has filled it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

STRIDE = 8
"""Tokens decoded on a GPU before the host reads them: decoding past a row's end costs less than synchronising."""


def to_device(values: Any, device: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Return *values*, numbers in nested lists, as a tensor on *device*; the host does not wait for the copy.

    CUDA stages a copy from memory that is not pinned before the call returns, so the source may be freed at once.
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return *tensors*, which are on one device, on the CPU; the host waits once for all of them."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    flat = torch.cat([tensor.reshape(-1).view(torch.uint8) for tensor in tensors]).cpu()  # (bytes of all,)
    parts = torch.split(flat, [tensor.numel() * tensor.element_size() for tensor in tensors])
    return [
        part.clone().view(tensor.dtype).view(tensor.shape)  # a clone is aligned to its dtype
        for part, tensor in zip(parts, tensors, strict=True)
    ]
