"""Measures a sweep in half precision against a naive loop of ``generate`` in it, and against the float32 sweep.

    python -m benchmarks.speed.half_precision --model smollm2 --json docs/measurements/half-precision-smollm2.json

In one run, in turns of an item: the engine in half precision, the engine in float32, once settling and once invariant,
and on a sample of the cases one ``generate`` per head and item with the attention that the model was loaded with. Every
response in half precision is compared with the baseline of a model whose weights were edited, in the same numerics.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import queries, report
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine import NUMERICS
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Completion
from reasoning_probe.models import loading
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets


@dataclass
class Side:
    """One engine with its jobs, and the seconds that their answers took."""

    engine: LocalEngine
    jobs: list[AblationJob] = field(default_factory=list)
    baseline_s: float = 0.0
    sweep_s: float = 0.0
    replies: dict[int, list[Completion]] = field(default_factory=dict)

    def prepare(self, items: list[Query], targets: tuple[Target, ...]) -> None:
        """Answer the baselines, as the engine does, and make the jobs."""
        path, codec = self.engine.path, self.engine.codec  # the self-check runs before the clock
        encoded = [(codec.encode(query), query.generation.stop) for query in items]
        started = time.perf_counter()
        decoder = path if self.engine.numerics.invariant else self.engine.plain
        baselines: list[Baseline] = decoder.baselines(encoded)
        self.baseline_s = time.perf_counter() - started
        self.jobs = [
            AblationJob(query, stop, baseline, targets, ZERO)
            for (query, stop), baseline in zip(encoded, baselines, strict=True)
        ]

    def answers(self) -> Iterator[int]:
        """Yield the index of each job that is answered, and count the seconds."""
        answering = self.engine.path.answer(self.jobs)
        for _ in self.jobs:
            started = time.perf_counter()
            index, replies = next(answering)
            self.sweep_s += time.perf_counter() - started
            self.replies[index] = replies
            yield index


@contextmanager
def edited(engine: LocalEngine, target: Target) -> Iterator[None]:
    """While open, the weights that read the heads of *target* are zero, and no packed copy stands in for them."""
    shapes, weights = engine.numerics.shapes, []
    for site in engine.head_map.attention_layers:
        if heads := target.in_layer(site.layer):
            projection = engine.model.get_submodule(site.path)
            weight = projection.weight.data  # (out, in), of transformers' Conv1D (in, out)
            weights.append((projection.weight, weight.clone()))
            by_input = weight if hasattr(projection, "nf") else weight.T  # (in, out)
            for head in heads:
                by_input[head * site.head_dim : (head + 1) * site.head_dim] = 0
    products = {} if shapes is None else shapes.products
    ids = {id(parameter) for parameter, _ in weights}
    if shapes is not None:
        shapes.products = {key: product for key, product in products.items() if key not in ids}
    try:
        yield
    finally:
        for parameter, before in weights:
            parameter.data.copy_(before)
        if shapes is not None:
            shapes.products = products


def differing_from_edited(of: Side, targets: Sequence[Target]) -> int:
    """Return how many of all replies are not the baseline of a model without the target, in the same numerics."""
    engine, differing = of.engine, 0
    decoder = engine.path if engine.numerics.invariant else engine.plain
    for number, target in enumerate(targets):
        with edited(engine, target):
            baselines = decoder.baselines([(job.encoded, job.stop) for job in of.jobs])
        for index, baseline in enumerate(baselines):
            differing += baseline.completion.tokens != of.replies[index][number].tokens
    return differing


def side(options: argparse.Namespace, loaded: loading.LoadedModel, numerics: str) -> Side:
    """Return an engine for the model."""
    head_map = find_heads(loaded.model)
    return Side(
        LocalEngine(loaded.model, loaded.tokenizer, head_map, memory_cap=options.memory, wanted_numerics=numerics)
    )


def load(options: argparse.Namespace, dtype: str) -> loading.LoadedModel:
    """Load the model in *dtype*."""
    return loading.load_model(loading.resolve_model(options.model), dtype=dtype)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides in turns and return the figures."""
    half, in_float32 = load(options, options.dtype), load(options, "float32")
    sides = {
        "half": side(options, half, options.numerics),
        "float32": side(options, in_float32, "auto"),
        "float32_invariant": side(options, in_float32, "invariant"),
    }
    engine = sides["half"].engine
    targets = tuple(parse_targets(options.heads, engine.head_map))
    items = queries(options.items, options.new_tokens)
    for each in sides.values():
        each.prepare(items, targets)
    usual = PlainPath(engine.model, engine.head_map, engine.codec, engine.memory)
    rng = random.Random(0)
    naive: list[float] = []
    equal_to_plain = 0
    others = [each.answers() for name, each in sides.items() if name != "half"]
    for index in sides["half"].answers():
        for other in others:
            next(other)
        for number in rng.sample(range(len(targets)), options.naive_per_item):
            started = time.perf_counter()
            tokens = usual.generate_alone(sides["half"].jobs[index], targets[number])
            naive.append(time.perf_counter() - started)
            equal_to_plain += tokens == sides["half"].replies[index][number].tokens
    return figures(options, sides, targets, naive) | {
        "responses_compared_with_edited_weights": len(items) * len(targets),
        "responses_that_differ_from_edited_weights": differing_from_edited(sides["half"], targets),
        "sampled_responses_equal_to_plain_generate": equal_to_plain,
    }


def figures(
    options: argparse.Namespace, sides: Mapping[str, Side], targets: Sequence[Target], naive: Sequence[float]
) -> dict[str, Any]:
    """Return the times of the *sides*, and of the *naive* calls, and what the engines did."""
    half, full = sides["half"], sides["float32"]
    rows = len(half.jobs) * len(targets)
    naive_s = sum(naive) / len(naive)
    return {
        "model": options.model,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "items": len(half.jobs),
        "targets": len(targets),
        "rows": rows,
        "dtype": options.dtype,
        "numerics": {name: each.engine.numerics.name for name, each in sides.items()},
        "numerics_why": {name: each.engine.numerics.why for name, each in sides.items()},
        "path": half.engine.why,
        "seconds_per_row": {"naive": naive_s} | {name: each.sweep_s / rows for name, each in sides.items()},
        "naive_rows_measured": len(naive),
        "engine_against_naive": naive_s * rows / half.sweep_s,
        "times_float32": half.sweep_s / full.sweep_s,
        "float32_invariant_against_settle": sides["float32_invariant"].sweep_s / full.sweep_s,
        "baseline_s": {name: each.baseline_s for name, each in sides.items()},
        "settled_singly": {name: each.engine.counts.settled_singly for name, each in sides.items()},
        "unequal_batches": {name: each.engine.counts.unequal_batches for name, each in sides.items()},
    }


def sweep_parser(description: str | None, threads: int) -> argparse.ArgumentParser:
    """Return a parser of the options that say which sweep is measured, by default with so many *threads*."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--heads", default=",".join(f"L{2 * number}H{4 * number % 9}" for number in range(15)))
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--memory", type=int, default=2 * 10**9, help="bytes")
    parser.add_argument("--json", type=Path)
    return parser


def main() -> None:
    parser = sweep_parser(__doc__, threads=2)
    parser.add_argument("--naive-per-item", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    parser.add_argument("--numerics", default="auto", choices=NUMERICS)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
