"""Counts the FLOPs of the engine's forward passes, times the passes, and profiles them by kind of work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from reasoning_probe.engine.fast.forward import ForwardDriver, wrapped
from reasoning_probe.engine.fast.packed_linear import PackedLinears
from reasoning_probe.engine.fast.pass_plan import PassPlan

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear", "_linear_pointwise"),
    "attention": ("scaled_dot_product", "flash_attention", "softmax"),
    "copies": (
        "copy_",
        "cat",
        "clone",
        "index",
        "gather",
        "scatter",
        "fill",
        "zero",
        "stack",
        "contiguous",
        "embedding",
    ),
}
"""The profiler's operator names by kind of work; all others are normalisation, rotary embedding and activation."""


@dataclass
class Phase:
    """FLOPs of matrix products, and seconds, of the passes of one phase."""

    layer_flops: float = 0.0
    vocabulary_flops: float = 0.0
    seconds: float = 0.0
    tokens: list[int] = field(default_factory=list)  # rows times tokens of each pass, in the last layer

    @property
    def gflops(self) -> float:
        """GFLOP/s of the passes."""
        return (self.layer_flops + self.vocabulary_flops) / self.seconds / 1e9 if self.seconds else 0.0


@dataclass
class Work:
    """The two phases of a sweep: verification passes over prompts and drafts, and decoding of a token per pass."""

    verification: Phase = field(default_factory=Phase)
    decoding: Phase = field(default_factory=Phase)

    @property
    def flops(self) -> float:
        """The FLOPs of all matrix products."""
        return sum(p.layer_flops + p.vocabulary_flops for p in (self.verification, self.decoding))


def projections(driver: ForwardDriver) -> list[nn.Module]:
    """Return the projections of the layers, and the vocabulary projection as the last."""
    inside = [module for block in driver.blocks for module in block.modules()]
    return [module for module in (*inside, driver.lm_head) if isinstance(module, nn.Linear | Conv1D)]


@contextmanager
def counting(driver: ForwardDriver, work: Work) -> Iterator[None]:
    """Count the matrix products of every pass that *driver* runs, and time the passes."""
    run, current = driver.run, work.verification

    def timed(ids: Any, kv_cache: Any, plan: PassPlan, **positions: Any) -> Any:
        nonlocal current
        verifies = bool(plan.layer_inputs) or plan.record is not None
        current = work.verification if verifies else work.decoding
        started = time.perf_counter()
        output = run(ids, kv_cache, plan, **positions)
        if ids.device.type == "cuda":
            torch.cuda.synchronize()
        current.seconds += time.perf_counter() - started
        return output

    def count(module: Any, args: Any, output: Any) -> None:
        flops = 2.0 * module.weight.numel() * (args[0].numel() // args[0].shape[-1])
        if module is driver.lm_head:
            current.vocabulary_flops += flops
        else:
            current.layer_flops += flops
            if module is last:
                current.tokens.append(args[0].numel() // args[0].shape[-1])

    last = projections(driver)[-2]
    handles = [module.register_forward_hook(count) for module in projections(driver)]
    driver.run = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del driver.run  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()


def matmul_rates(driver: ForwardDriver, tokens: int) -> dict[str, float]:
    """Return the GFLOP/s of products of *tokens* rows with a middle layer's weights: torch's own, and packed ones."""
    block = driver.blocks[len(driver.blocks) // 2]
    modules = [module for module in block.modules() if isinstance(module, nn.Linear | Conv1D)]
    inputs = [
        torch.randn(
            tokens,
            module.weight.shape[0] if isinstance(module, Conv1D) else module.weight.shape[1],
            dtype=module.weight.dtype,
            device=module.weight.device,
        )
        for module in modules
    ]
    flops = sum(2.0 * tokens * module.weight.numel() for module in modules)

    def rate() -> float:
        rates = []
        for _ in range(15):
            started = time.perf_counter()
            for _ in range(10):
                for module, x in zip(modules, inputs, strict=True):
                    module(x)
            if inputs[0].device.type == "cuda":
                torch.cuda.synchronize()
            rates.append(10 * flops / (time.perf_counter() - started) / 1e9)
        return statistics.median(rates)

    with torch.inference_mode():
        plain = rate()
        with wrapped(PackedLinears(modules, 10**12).wraps):
            return {"torch": plain, "packed": rate()}


def breakdown(driver: ForwardDriver, call: Callable[[], Any]) -> dict[str, float]:
    """Return the share of *call*'s time by kind of work, by torch's profiler; the vocabulary projection is separate."""
    vocabulary = 0.0
    started = 0.0

    def before(module: Any, args: Any) -> None:
        nonlocal started
        started = time.perf_counter()

    def after(module: Any, args: Any, output: Any) -> None:
        nonlocal vocabulary
        vocabulary += time.perf_counter() - started

    handles = [driver.lm_head.register_forward_pre_hook(before), driver.lm_head.register_forward_hook(after)]
    call_started = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        call()
        total = time.perf_counter() - call_started
    for handle in handles:
        handle.remove()
    seconds = dict.fromkeys([*KINDS, "normalisation, rotary, activation"], 0.0)
    for event in profiled.key_averages():
        name = event.key.removeprefix("aten::").removeprefix("mkldnn::").lstrip("_")
        kind = next(
            (kind for kind, parts in KINDS.items() if any(name.startswith(part.lstrip("_")) for part in parts)),
            "normalisation, rotary, activation",
        )
        seconds[kind] += event.self_cpu_time_total / 1e6
    seconds["matrix products"] -= vocabulary
    seconds["vocabulary projection"] = vocabulary
    seconds["Python and dispatch"] = total - sum(seconds.values())
    return {kind: round(value / total, 3) for kind, value in seconds.items()}
