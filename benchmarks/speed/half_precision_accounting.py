"""Measures what a sweep in fixed shapes spends its processor time on, by kind of pass and kind of work.

    python -m benchmarks.speed.half_precision_accounting --json docs/measurements/accounting-smollm2.json

The functions that do the work are wrapped, and the clock of the thread is read around each, so other work on the
machine hardly counts. Of the model's code, that of Llama's family is told apart.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from transformers import AttentionInterface
from transformers.models.llama import modeling_llama

from benchmarks.speed.half_precision import Side, load, side, sweep_parser
from benchmarks.workloads import queries, report
from reasoning_probe.engine.fast import decoding, forward, kv_cache, pooled_verification, ragged_decoding, verification
from reasoning_probe.models import fixed_shapes, fixed_tiles
from reasoning_probe.models.targets import parse_targets

WRAPPED = {
    "norms, rotary embeddings, activations": [
        (modeling_llama.LlamaRMSNorm, "forward"),
        (modeling_llama.LlamaMLP, "forward"),
        (modeling_llama, "apply_rotary_pos_emb"),
    ],
    "products of attention": [(fixed_shapes._PaddedShapes, "_padded_batch")],
    "the rest of attention, and the cache": [(kv_cache.KVCacheLayer, "update")],
    "comparing and log-probabilities": [
        (pooled_verification, "compared_with"),
        (verification, "compared_with"),
        (pooled_verification, "token_logprobs"),
        (ragged_decoding, "top_two"),
    ],
    "gathering and removing rows": [
        (forward, "gather_rows"),
        (ragged_decoding, "remove_rows"),
        (decoding, "remove_rows"),
    ],
}
"""Where the functions of each kind of work are called from."""


class Accounts:
    """Seconds of the thread, and FLOPs, by (kind of pass, kind of work); time inside an inner function is its own."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.flops: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.passes = Counter[str]()
        self.kind = "between passes"
        self._inside = [0.0]  # seconds of the functions inside each open one

    def timed(self, work: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function*, whose time is counted as *work*."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            started = time.thread_time()
            try:
                output = function(*args, **kwargs)
            finally:
                seconds = time.thread_time() - started
                self.seconds[self.kind, work] += seconds - self._inside.pop()
                self._inside[-1] += seconds
            if "product" in work or "projection" in work:
                self.flops[self.kind, work] += 2.0 * args[-1 if len(args) == 1 else 1].numel() * output.shape[-1]
            return output

        return run

    def pass_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the driver's *function* that runs a pass, whose kind is noted."""
        timed = self.timed("residuals, hooks, Python", function)

        def run(ids: Any, cache: Any, plan: Any, **positions: Any) -> Any:
            kind = "recording" if plan.record is not None else "verification" if plan.joining_rows else "decoding"
            self.kind = kind
            self.passes[kind] += 1
            try:
                return timed(ids, cache, plan, **positions)
            finally:
                self.kind = "between passes"

        return run


def account(of: Side) -> tuple[float, Accounts]:
    """Answer all jobs once; return the seconds of the thread, and what they were spent on."""
    accounts, engine = Accounts(), of.engine
    driver, shapes = engine.path.driver, engine.numerics.shapes  # type: ignore[union-attr]
    assert shapes is not None
    projection = id(driver.lm_head.weight)
    products = {
        key: accounts.timed("vocabulary projection" if key == projection else "products by weights", product)
        for key, product in shapes.products.items()
    }
    with ExitStack() as stack:
        for work, places in WRAPPED.items():
            for holder, name in places:
                stack.enter_context(patch.object(holder, name, accounts.timed(work, getattr(holder, name))))
        stack.enter_context(patch.object(shapes, "products", products))
        stack.enter_context(patch.object(driver, "run", accounts.pass_of(driver.run)))
        attention = accounts.timed("the rest of attention, and the cache", fixed_tiles.attention)
        AttentionInterface.register(fixed_tiles.NAME, attention)
        stack.callback(AttentionInterface.register, fixed_tiles.NAME, fixed_tiles.attention)
        started = time.thread_time()
        list(engine.path.answer(of.jobs))
        seconds = time.thread_time() - started
    accounts.seconds["between passes", "rest"] = seconds - sum(accounts.seconds.values())
    return seconds, accounts


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Answer twice, since the first answers bring weights and memory in, and return the figures of the second time."""
    of = side(options, load(options, options.dtype), options.numerics)
    targets = tuple(parse_targets(options.heads, of.engine.head_map))
    of.prepare(queries(options.items, options.new_tokens), targets)
    account(of)
    seconds, accounts = account(of)
    rows = []
    for kind, work in sorted(accounts.seconds, key=lambda key: -accounts.seconds[key]):
        spent, flops = accounts.seconds[kind, work], accounts.flops[kind, work]
        row = {"pass": kind, "work": work, "seconds": round(spent, 4), "share": round(spent / seconds, 4)}
        rows.append(
            row | ({"gflop": round(flops / 1e9, 1), "gflop_per_s": round(flops / spent / 1e9)} if flops else {})
        )
    return {
        "model": options.model,
        "dtype": options.dtype,
        "numerics": of.engine.numerics.name,
        "cases": len(of.jobs) * len(targets),
        "thread_seconds": seconds,
        "passes": dict(accounts.passes),
        "work": rows,
    }


def main() -> None:
    parser = sweep_parser(__doc__, threads=1)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--numerics", default="invariant", choices=("invariant",))
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
