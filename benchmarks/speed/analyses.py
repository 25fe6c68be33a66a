"""Measures the control task and the cumulative curve beside the sweep that they follow.

    python -m benchmarks.speed.analyses --model smollm2 --sweep-items 4 --json docs/measurements/analyses-smollm2.json

A session with the 22 built-in items measures a curve of arithmetic alone, the only dataset with eight items. Here the
control task runs on every head, the curve's joint targets on ``--curve-items`` of the arithmetic items, and the sweep
on ``--sweep-items`` of the 22, all in one process and in turn. ``share`` is the time of the control task and of the
whole curve over that of the sweep of 22 items, reckoned from the time of a case and of a row of the curve.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import queries, report
from reasoning_probe.analyses.control_task import control_task
from reasoning_probe.analyses.cumulative_curve import CurveSpec
from reasoning_probe.data import datasets
from reasoning_probe.data.prompts.prompting import LOGPROB_ALONE, Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

ITEMS = 22
CURVE_DATASET = "arithmetic"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each part, and their share of a sweep of 22 items."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)
    engine = LocalEngine(
        loaded.model, loaded.tokenizer, head_map, memory_cap=options.memory, baselines={}, wanted_numerics="settle"
    )
    assert engine.path is not None  # proved before anything is timed
    started = time.perf_counter()
    control = control_task(engine, [(head, "zero") for head in heads])
    control_s = time.perf_counter() - started
    print(f"control task: {control_s:.1f} s", flush=True)

    items = [
        query(CURVE_DATASET, item, Generation(options.new_tokens)) for item in datasets.builtin(CURVE_DATASET).items
    ]
    order, by_size = (tuple(random.Random(seed).sample(heads, len(heads))) for seed in (0, 1))
    spec = CurveSpec(CURVE_DATASET, "zero", order, (), tuple(each.item_id for each in items), by_size=by_size)
    joints, sized = (
        tuple((target, "zero") for target in targets if len(target.heads) > 1)
        for targets in (spec.joint_targets({}), spec.sized_targets({}))
    )
    curve_queries = items[: options.curve_items]
    list(engine.run([SweepRequest(each) for each in curve_queries]))  # the sweep has the baselines
    started = time.perf_counter()
    list(engine.run([SweepRequest(each, joints) for each in curve_queries]))
    list(engine.run([SweepRequest(replace(each, generation=LOGPROB_ALONE), sized) for each in curve_queries]))
    curve_s = time.perf_counter() - started
    print(f"curve, {len(curve_queries)} items by {len(joints) + len(sized)} targets: {curve_s:.1f} s", flush=True)

    spread = queries(options.sweep_items, options.new_tokens)
    list(engine.run([SweepRequest(each) for each in spread]))
    started = time.perf_counter()
    list(engine.run([SweepRequest(each, tuple((head, "zero") for head in heads)) for each in spread]))
    sweep_s = time.perf_counter() - started
    print(f"sweep, {len(spread)} items by {len(heads)} heads: {sweep_s:.1f} s", flush=True)

    whole_sweep = sweep_s / len(spread) * ITEMS
    whole_curve = curve_s / len(curve_queries) * len(items)
    return {
        "model": options.model,
        "dtype": loaded.dtype,
        "threads": torch.get_num_threads(),
        "heads": len(heads),
        "control_s": control_s,
        "control_tokens": None if control is None else control["tokens"],
        "curve_items": len(curve_queries),
        "curve_targets": len(joints) + len(sized),
        "curve_s": curve_s,
        "sweep_items": len(spread),
        "sweep_s": sweep_s,
        "reckoned": {"sweep_s": whole_sweep, "curve_s": whole_curve, "share": (control_s + whole_curve) / whole_sweep},
        "peak_bytes": engine.memory.peak(),
    }


def main() -> None:
    """Print the figures, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--sweep-items", type=int, default=4, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--curve-items", type=int, default=8, help="of the 8 of arithmetic")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--memory", type=int, help="bytes that the engine may use")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
