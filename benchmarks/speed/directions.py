"""Measures the random directions beside named heads, and the sweep that they follow, in one process and in turn.

    python -m benchmarks.speed.directions --model smollm2 --items 4 --heads 54 --named 4 --plain


The sweep asks ``--items`` generated questions of arithmetic under ``--heads`` heads, spread evenly over the model's.
Each of ``--named`` heads, spread evenly too, then stands beside random directions on the same items: as a run does it,
where rows join at the head's layer (``fast``), and in whole passes (``plain``). ``shares`` reckons from the times of a
row what the comparison takes of sweeps of all heads on so many items, if they name as many heads as are ever compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import report
from reasoning_probe.analyses.random_directions import (
    DIRECTIONS,
    NamedHead,
    heads_of_each_map,
    items_of_each_head,
    random_directions,
)
from reasoning_probe.data.generators import generate
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head

SWEEPS = (22, 40, 100, 200)
"""Items of the sweeps whose shares are reckoned."""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each part, and their share of whole sweeps."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, baselines={}, wanted_numerics="settle")
    assert engine.path is not None  # proved before anything is timed
    swept = tuple(
        query("arithmetic", item, Generation(options.new_tokens)) for item in generate("arithmetic", options.items)
    )
    list(engine.run([SweepRequest(each) for each in swept]))  # a sweep has the baselines
    some = _spread(heads, options.heads)
    sweep_s = _seconds(
        lambda: list(engine.run([SweepRequest(each, tuple((head, "zero") for head in some)) for each in swept]))
    )
    print(f"sweep, {len(swept)} items by {len(some)} heads: {sweep_s:.2f} s", flush=True)
    named = [NamedHead(head, "zero", swept) for head in _spread(heads, options.named)]
    fast_s = _seconds(lambda: random_directions(engine, named))
    print(f"directions beside {len(named)} heads, as a run does it: {fast_s:.2f} s", flush=True)
    path, engine._path = engine.path, engine.plain
    plain_s = _seconds(lambda: random_directions(engine, named)) if options.plain else None
    engine._path = path
    case_s, row_s = (
        sweep_s / (len(some) * len(swept)),
        fast_s / (len(named) * len(swept) * (DIRECTIONS + 1)),
    )
    return {
        "model": options.model,
        "threads": torch.get_num_threads(),
        "items": len(swept),
        "heads": len(some),
        "named": len(named),
        "sweep_s": sweep_s,
        "fast_s": fast_s,
        "plain_s": plain_s,
        "case_s": case_s,
        "row_s": row_s,
        "shares": {str(items): _share(len(heads), items, row_s / case_s) for items in SWEEPS},
    }


def _share(heads: int, items: int, ratio: float) -> float:
    """Return the share of a sweep's time, where a row of the comparison takes *ratio* times as long as a case."""
    compared = min(heads, heads_of_each_map(heads * items, 1))
    items_each = min(items, items_of_each_head(heads * items, compared))
    return compared * items_each * (DIRECTIONS + 1) * ratio / (heads * items)


def _spread(heads: Sequence[Target], count: int) -> list[Target]:
    return [heads[index * len(heads) // count] for index in range(min(count, len(heads)))]


def _seconds(run: Any) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Print the figures, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--heads", type=int, default=10**6, help="heads of the sweep, spread evenly; default: all")
    parser.add_argument("--named", type=int, default=8, help="heads that are compared, spread evenly")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--plain", action="store_true", help="measure the comparison in whole passes, too")
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
