"""Measures the time and the memory of a sweep under several limits of ``--probe-memory``.

    python -m benchmarks.speed.memory --model smollm2 --limits 1 2 4 default half --json docs/measurements/memory.json

The limits are gigabytes, ``default``, or ``half`` of the memory that is free. All sweeps run in one process on one
loaded model, in the order that is given; ``peak_gb`` is the process's peak so far, so limits should ascend.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import jobs_of, queries
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.memory import SHARE, Memory
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head


def cap_of(limit: str) -> int | None:
    """Return *limit* in bytes; ``None`` for the default."""
    if limit == "default":
        return None
    return int(SHARE * Memory("cpu").free()) if limit == "half" else int(float(limit) * 1e9)


def main() -> None:
    """Print a line for each limit, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--limits", nargs="+", default=["1", "2", "4", "default", "half"])
    parser.add_argument("--items", type=int, default=4, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--every", type=int, default=1, help="take one of so many heads")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = loading.load_model(loading.resolve_model(options.model), dtype="float32")
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)[:: options.every]
    figures: list[dict[str, Any]] = []
    jobs = None
    for limit in options.limits:
        engine = LocalEngine(
            loaded.model, loaded.tokenizer, head_map, memory_cap=cap_of(limit), wanted_numerics="settle"
        )
        path, budget = engine.path, engine.memory.budget
        jobs = jobs or jobs_of(engine, queries(options.items, options.new_tokens), heads)
        started, processor = time.perf_counter(), time.process_time()
        for _ in path.answer(jobs):
            pass
        figures.append(
            {
                "limit": limit,
                "budget_gb": budget / 1e9,
                "seconds": time.perf_counter() - started,
                "processor_s": time.process_time() - processor,
                "peak_gb": engine.memory.peak() / 1e9,
                "rows": len(jobs) * len(heads),
            }
        )
        print(json.dumps(figures[-1]), flush=True)
        del engine, path
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
