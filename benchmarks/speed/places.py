"""Measures sweeps in which heads are off at one place alone, beside one in which they are off everywhere.

    python -m benchmarks.speed.places --model smollm2 --items 4 --step 3 --json docs/measurements/places-smollm2.json

The sweeps ask the same items with the same heads off, in turn and in one process, on baselines that are known. Each
time is the least of ``--rounds``, and each ratio is over ``all``. ``answer`` and ``last`` start from the clean keys and
values, so they compute no token of the prompt but its last.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import report
from reasoning_probe.data import datasets
from reasoning_probe.data.items import PLACES
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

PART = "operands"
SPEC = "arithmetic:digits=2"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of the sweep at each place, and their ratios."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)[:: options.step]
    engine = LocalEngine(
        loaded.model, loaded.tokenizer, head_map, memory_cap=options.memory, baselines={}, wanted_numerics="settle"
    )
    assert engine.path is not None  # proved before anything is timed
    *items, first, second = datasets.read("arithmetic", SPEC, options.items + 2).items
    shots = {"arithmetic": [first, second] * (options.shots // 2)}
    renderer = PromptRenderer(Prompting(shots=options.shots), loaded.tokenizer, shots)
    queries = [renderer.query("arithmetic", item, Generation(options.new_tokens)) for item in items]
    requests = [SweepRequest(each, tuple((head, "zero") for head in heads)) for each in queries]
    list(engine.run([SweepRequest(each) for each in queries]))
    seconds: dict[str, float] = {}
    for _ in range(options.rounds):
        for where in (*PLACES, PART):
            engine.where = where
            started = time.perf_counter()
            list(engine.run(requests))
            took = time.perf_counter() - started
            seconds[where] = min(took, seconds.get(where, took))
            print(f"{where}: {took:.1f} s", flush=True)
    return {
        "model": options.model,
        "dtype": loaded.dtype,
        "threads": torch.get_num_threads(),
        "items": len(queries),
        "prompt_tokens": [int(engine.codec.encode(each).prompt.shape[1]) for each in queries],
        "heads": len(heads),
        "seconds": seconds,
        "ratio": {where: took / seconds["all"] for where, took in seconds.items()},
    }


def main() -> None:
    """Print the figures, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--shots", type=int, default=0, help="worked examples before each question, an even number")
    parser.add_argument("--step", type=int, default=3, help="one of so many heads is switched off")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--memory", type=int, help="bytes that the engine may use")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
