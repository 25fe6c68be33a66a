"""Measures the paths between heads, and the sweep that they follow, in one process and in turn.

    python -m benchmarks.speed.paths --items 200

The sweep asks ``--items`` generated questions of arithmetic under ``--heads`` heads, spread evenly over the model's.
Between ``--named`` of them, spread evenly too, paths are measured as a run does it after a sweep of *all* heads: on as
many items, and with the answers along the ``--answered`` that change most. ``share`` is their part of the seconds of
that sweep.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path as File
from typing import Any, TypeVar

import torch

from benchmarks.workloads import report
from reasoning_probe.analyses.paths import (
    PathQuestion,
    PathSpec,
    answered_items,
    path_answers,
    path_changes,
    path_items,
)
from reasoning_probe.data.generators import generate
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.path_patching import Path
from reasoning_probe.models.targets import Target, every_head

Result = TypeVar("Result")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each part, and the share of the paths."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, baselines={}, wanted_numerics="settle")
    assert engine.path is not None  # proved before anything is timed
    asked = {
        one.item_id: one
        for item in generate("arithmetic", options.items)
        for one in [query("arithmetic", item, Generation(options.new_tokens))]
    }
    list(engine.run([SweepRequest(each) for each in asked.values()]))  # a sweep has the baselines
    some = tuple((head, "zero") for head in _spread(heads, options.heads))
    sweep_s, _ = _timed(lambda: list(engine.run([SweepRequest(each, some) for each in asked.values()])))
    print(f"sweep, {len(asked)} items by {len(some)} heads: {sweep_s:.2f} s", flush=True)
    ends = sorted(next(iter(head.heads)) for head in _spread(heads, options.named))
    paths = tuple(Path(one, other) for other in ends for one in ends if one[0] < other[0])
    keys = path_items(
        {("arithmetic", id): True for id in asked}, {("arithmetic", "zero"): paths}, len(asked) * len(heads), 0
    )
    queries = tuple(asked[id] for _, id in keys["arithmetic"])
    changes_s, (result,) = _timed(lambda: path_changes(engine, [PathSpec("arithmetic", "zero", paths, queries)]))
    print(f"{len(paths)} paths on {len(queries)} items: {changes_s:.2f} s", flush=True)
    spoken = queries[: answered_items(options.answered, len(asked) * len(heads))]
    matter = _strongest(paths, result.changes, options.answered)
    answers_s, _ = _timed(lambda: path_answers(engine, [PathQuestion(one, "zero", matter) for one in spoken if matter]))
    print(f"answers along {len(matter)} of them on {len(spoken)} items: {answers_s:.2f} s", flush=True)
    whole_s = sweep_s * len(heads) / len(some)
    return {
        "model": options.model,
        "threads": torch.get_num_threads(),
        "items": len(asked),
        "heads": len(some),
        "paths": len(paths),
        "path_items": len(queries),
        "answered_paths": len(matter),
        "answered_items": len(spoken),
        "sweep_s": sweep_s,
        "changes_s": changes_s,
        "answers_s": answers_s,
        "share": (changes_s + answers_s) / whole_s,
    }


def _strongest(paths: Sequence[Path], changes: Sequence[Sequence[float]], count: int) -> tuple[Path, ...]:
    """Return the *count* paths with the largest median changes, as if these were the ones that matter."""
    order = sorted(range(len(paths)), key=lambda number: -abs(statistics.median(changes[number])))
    return tuple(paths[number] for number in order[:count])


def _spread(heads: Sequence[Target], count: int) -> list[Target]:
    return [heads[index * len(heads) // count] for index in range(min(count, len(heads)))]


def _timed(run: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def main() -> None:
    """Print the figures, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--heads", type=int, default=10**6, help="heads of the sweep, spread evenly; default: all")
    parser.add_argument("--named", type=int, default=8, help="heads between which paths are measured, spread evenly")
    parser.add_argument("--answered", type=int, default=6, help="paths along which items are answered")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=File)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
