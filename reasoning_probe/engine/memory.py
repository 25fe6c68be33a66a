"""The memory budget of a sweep: how much it may use, and how much it used."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psutil
import torch

from reasoning_probe.models.weights import device_of, offloaded

SHARE = 0.5
"""Share of the free memory that a sweep takes at most if no cap is set."""

PARAMETER_BYTES, LEAST = 16, 1_000_000_000
"""A sweep on a CPU is no faster with more than so many bytes for each parameter, or so many in all if that is more: all
weights have a packed copy then, and the rows that are decoded together fill the passes (docs/quality/performance.md).
Keys and values of half-precision rows are float32 as well (invariant numerics), so the dtype makes no difference."""


class Memory:
    """A budget in bytes: *cap*, or half of the memory that is free when the sweep starts, at most *enough*."""

    def __init__(self, device: Any, cap: int | None = None, enough: int = sys.maxsize) -> None:
        self.device = torch.device(device)
        self.budget = cap if cap is not None else min(enough, int(SHARE * self.free()))

    def free(self) -> int:
        """Return the bytes that are free on the device."""
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0])
        return int(psutil.virtual_memory().available)

    def rows(self, row_bytes: int) -> int:
        """Return how many rows of *row_bytes* fit into the budget, at least one."""
        return max(1, self.budget // max(1, row_bytes))

    def shrink(self) -> None:
        """Halve the budget after an allocation failed, and release the allocator's cache."""
        self.budget //= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def peak(self) -> int:
        """Return the peak of the bytes in use: on the device, or by this process on a CPU."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux


def enough_for(model: Any) -> int:
    """Return how many bytes a sweep of *model* can make use of: without end where more rows share a pass's cost.

    That is so on a GPU, and where each pass brings in weights.
    """
    if device_of(model).type != "cpu" or offloaded(model):
        return sys.maxsize
    return max(LEAST, PARAMETER_BYTES * sum(int(parameter.numel()) for parameter in model.parameters()))


Row = TypeVar("Row")
Result = TypeVar("Result")


def run_in_halves(rows: Sequence[Row], run: Callable[[Sequence[Row]], list[Result]], memory: Memory) -> list[Result]:
    """Return the results of *run* for *rows*; rows that do not fit into memory together are run in two halves."""
    if not rows:
        return []
    try:
        return run(rows)
    except (RuntimeError, MemoryError) as error:
        if len(rows) == 1 or not out_of_memory(error):
            raise
    memory.shrink()
    middle = len(rows) // 2
    return run_in_halves(rows[:middle], run, memory) + run_in_halves(rows[middle:], run, memory)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether *error* says that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
