"""Measures sweeps in which heads are off at one place alone, or patched, beside one in which they are zero everywhere.

    python -m benchmarks.speed.places --model smollm2 --items 4 --step 3 --json docs/measurements/places-smollm2.json

The sweeps ask the same items with the same heads off, in turn and in one process, on baselines that are known. Each
time is the processor's, over all threads, and the least of ``--rounds``; each ratio is over ``all``. ``answer`` and
``last`` start from the clean keys and values, so they compute no token of the prompt but its last. ``patch`` and
``patch-same`` take what heads give on the items' donors, at all tokens of the prompt. ``decoded`` are the rows that did
not repeat the baseline's answer: more of them take longer, wherever heads are off.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import report
from reasoning_probe.data import datasets
from reasoning_probe.data.items import PLACES, Item
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.data.prompts.token_places import donor_queries
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import PATCHES, every_head

PART = "operands"
ARMS = {name: PATCHES[name] for name in ("patch", "patch-same")}
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
    queries = with_donors(renderer, loaded.tokenizer, items, Generation(options.new_tokens))
    list(engine.run([SweepRequest(each) for each in queries]))
    seconds: dict[str, float] = {}
    decoded: dict[str, int] = {}
    for _ in range(options.rounds):
        for name in options.only.split(",") if options.only else (*PLACES, PART, *ARMS):
            engine.where, ablation = ("all", name) if name in ARMS else (name, "zero")
            requests = [SweepRequest(each, tuple((head, ablation) for head in heads)) for each in queries]
            before, started = engine.counts.decoded, time.process_time()
            list(engine.run(requests))
            took = time.process_time() - started
            seconds[name] = min(took, seconds.get(name, took))
            decoded[name] = engine.counts.decoded - before
            print(f"{name}: {took:.1f} s", flush=True)
    return {
        "model": options.model,
        "dtype": loaded.dtype,
        "threads": torch.get_num_threads(),
        "items": len(queries),
        "prompt_tokens": [int(engine.codec.encode(each).prompt.shape[1]) for each in queries],
        "heads": len(heads),
        "decoded": decoded,
        "seconds": seconds,
        "ratio": {name: took / seconds["all"] for name, took in seconds.items()},
    }


def with_donors(renderer: PromptRenderer, tokenizer: Any, items: Sequence[Item], generation: Generation) -> list[Query]:
    """Return the *items* that have both donors as queries, with the donors' prompts."""
    prompts = {
        arm: donor_queries(renderer, tokenizer, "arithmetic", items, arm, generation).queries for arm in ARMS.values()
    }
    return [
        replace(
            renderer.query("arithmetic", item, generation),
            donors=tuple((arm, of_arm[str(item.id)].prompt) for arm, of_arm in prompts.items()),
        )
        for item in items
        if all(str(item.id) in of_arm for of_arm in prompts.values())
    ]


def main() -> None:
    """Print the figures, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--shots", type=int, default=0, help="worked examples before each question, an even number")
    parser.add_argument("--step", type=int, default=3, help="one of so many heads is switched off")
    parser.add_argument(
        "--only", default="", help="places and patches to measure, all,answer,patch; all of them if empty"
    )
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
