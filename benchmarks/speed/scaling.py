"""Measures how the time of a sweep grows with items, with targets, and with the layer of a target.

    python -m benchmarks.speed.scaling --model tiny-reasoner --json docs/measurements/scaling-tiny-reasoner.json

Each figure is the median time in seconds of several runs of the engine on generated arithmetic items.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from reasoning_probe.data import datasets
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head


def seconds(engine: LocalEngine, items: int, targets: Sequence[Target], runs: int, limit: int) -> float:
    """Return the median time in seconds of the ablated part of a sweep."""
    queries = [query("arithmetic", item, Generation(limit)) for item in datasets.builtin("arithmetic", items).items]
    plan = [SweepRequest(each, tuple((target, "zero") for target in targets)) for each in queries]
    measured = []
    for _ in range(runs):
        before = engine.timing.sweep_s
        for _ in engine.run(plan):
            pass
        measured.append(engine.timing.sweep_s - before)
    return statistics.median(measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=4, help="the number of items that 1x stands for")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = loading.load_model(loading.resolve_model(options.model))
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map)
    seconds(engine, options.items, heads[:1], 1, options.new_tokens)  # warm-up

    def run(items: int, targets: Sequence[Target]) -> float:
        return seconds(engine, items, targets, options.runs, options.new_tokens)

    step = max(1, len(heads) // 16)
    spread = {
        factor: [heads[index * len(heads) // (factor * step)] for index in range(factor * step)]
        for factor in (1, 4, 16)
    }
    layers = head_map.layers
    of_layer = {layer: [head for head in heads if head.lowest == layer] for layer in (layers[0], layers[-1])}
    result = {
        "model": options.model,
        "items": {f"{f}x": run(options.items * f, heads) for f in (1, 4, 16)},
        "targets": {f"{f}x": run(options.items, spread[f]) for f in (1, 4, 16)},
        "heads_of_the_lowest_layer": run(options.items, of_layer[layers[0]]),
        "heads_of_the_top_layer": run(options.items, of_layer[layers[-1]]),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
