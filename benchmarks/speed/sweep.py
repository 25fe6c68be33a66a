"""Measures the speed of the sweep against a naive loop of ``generate`` and against one masked batch per item.

    python -m benchmarks.speed.sweep --model smollm2 --items 22 --heads all --json docs/measurements/sweep-smollm2.json

Three methods answer the same (item, head) cases on the same model, in turn, with the same stop strings and token limit,
and their responses are compared:

naive    one ``generate`` per head and item, one row (a sample of the cases, scaled; the sample is printed)
batched  one ``generate`` per item with a row per head and a mask per row
engine   reasoning_probe's engine, every case, from the first ablated batch to the last outcome, near ties included

The matrix-multiply rate is measured in the same run, on the shapes of the model's own layers. Afterwards the sampled
cases run once more with the FLOPs of every matrix product counted (counting would slow a small model); the FLOPs
divided by the rate are the time that arithmetic alone would have taken. At the end one more item runs under torch's
profiler, which shows where the time goes.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.pass_accounting import Phase, Work, breakdown, counting, matmul_rates
from benchmarks.workloads import jobs_of, queries, report
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.plain_path import NOISE_MARGIN, PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Completion
from reasoning_probe.models import loading
from reasoning_probe.models.ablation import ablate
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head, parse_targets


@dataclass
class Sample:
    """The measured times of one method's cases, in seconds."""

    cases: int = 0
    seconds: float = 0.0
    each: list[float] = field(default_factory=list)

    def add(self, seconds: float, cases: int = 1) -> None:
        self.cases += cases
        self.seconds += seconds
        self.each.append(seconds)

    @property
    def per_case(self) -> float:
        return self.seconds / self.cases if self.cases else float("nan")

    @property
    def median(self) -> float:
        return statistics.median(self.each) if self.each else float("nan")


def batched(plain: PlainPath, encoded: Any, stop: tuple[str, ...], targets: Sequence[Target]) -> list[tuple[int, ...]]:
    """Return every target's tokens from one ``generate`` with a mask per row."""
    ids = encoded.prompt.expand(len(targets), -1)  # (targets, tokens)
    with torch.inference_mode(), ablate(plain.model, plain.head_map, targets):
        out = plain.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **plain.generate_arguments(encoded, stop)
        )
    return [plain.codec.cut(row, stop) for row in out[:, ids.shape[1] :].tolist()]


@dataclass
class Comparison:
    """The three methods' times on the same cases, and how many responses differ from the engine's."""

    engine: LocalEngine
    naive_per_item: int
    naive: Sample = field(default_factory=Sample)
    batch: Sample = field(default_factory=Sample)
    fast: Sample = field(default_factory=Sample)
    differing: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def sweep(self, jobs: Sequence[AblationJob], repeats: int) -> None:
        """Answer *jobs* with all three methods, *repeats* times."""
        for _ in range(repeats):
            answering = self.engine.path.answer(jobs)  # a generator: the engine pauses while the other methods run
            for _ in jobs:
                started = time.perf_counter()
                index, replies = next(answering)
                seconds = time.perf_counter() - started
                targets = len(jobs[index].targets)
                self.fast.add(seconds, targets)
                self._compare(jobs[index], replies)
                done = f"{self.fast.cases // targets} of {repeats * len(jobs)} items"
                print(f"{done}: {self.fast.per_case:.5f} s a case")

    def _compare(self, job: AblationJob, replies: Sequence[Completion]) -> None:
        """Run the other two methods on one item, and count their responses that differ from the engine's."""
        plain = self.engine.plain
        for index in self.rng.sample(range(len(job.targets)), min(self.naive_per_item, len(job.targets))):
            started = time.perf_counter()
            tokens = plain.generate_alone(job, job.targets[index])
            self.naive.add(time.perf_counter() - started)
            self.differing += tokens != replies[index].tokens
        started = time.perf_counter()
        rows = batched(plain, job.encoded, job.stop, job.targets)
        self.batch.add(time.perf_counter() - started, len(job.targets))
        self.differing += sum(row != reply.tokens for row, reply in zip(rows, replies, strict=True))

    def figures(self) -> dict[str, Any]:
        """Return the times and ratios for the file."""
        naive, batch, fast = self.naive, self.batch, self.fast
        return {
            "seconds_per_1000_cases": {
                "naive": 1000 * naive.per_case,
                "batched": 1000 * batch.per_case,
                "engine": 1000 * fast.per_case,
            },
            "cases_measured": {"naive": naive.cases, "batched": batch.cases, "engine": fast.cases},
            "engine_against_naive": naive.per_case / fast.per_case,
            "engine_against_batched": batch.per_case / fast.per_case,
            "responses_that_differ": self.differing,
        }


def phase_figures(phase: Phase, rates: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Return the work of *phase*, and its share of the best matrix-multiply rate of any number of tokens."""
    return {
        "seconds_in_passes": phase.seconds,
        "gflop_layers": phase.layer_flops / 1e9,
        "gflop_vocabulary": phase.vocabulary_flops / 1e9,
        "gflops_reached": phase.gflops,
        "share_of_matmul_rate": {kind: phase.gflops / rate for kind, rate in peak(rates).items()},
        "median_tokens_a_pass": statistics.median(phase.tokens) if phase.tokens else None,
    }


def whole_figures(flops_per_case: float, per_case: float, rates: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Return the GFLOP/s of the whole sweep beside the best matrix-multiply rate."""
    gflops = flops_per_case / per_case / 1e9
    return {
        "gflops_reached": gflops,
        "share_of_matmul_rate": {kind: gflops / rate for kind, rate in peak(rates).items()},
        "arithmetic_alone_s_per_1000_cases": {
            kind: 1000 * flops_per_case / rate / 1e9 for kind, rate in peak(rates).items()
        },
    }


def peak(rates: dict[int, dict[str, float]]) -> dict[str, float]:
    """Return the best rate of any number of tokens, by kind of product."""
    return {kind: max(rate[kind] for rate in rates.values()) for kind in ("torch", "packed")}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the three methods, then the counted and the profiled passes; return the figures for the file."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    targets = every_head(head_map) if options.heads == "all" else parse_targets(options.heads, head_map)
    started = time.perf_counter()
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, wanted_numerics="settle")
    driver = getattr(engine.path, "driver", None)
    if driver is None:
        raise SystemExit(f"the fast path does not take this model: {engine.why}")
    prepared = time.perf_counter() - started
    rates = {tokens: matmul_rates(driver, tokens) for tokens in (16, 64, 256, 640, 1280, 2560)}
    jobs = jobs_of(engine, queries(options.items, options.new_tokens), targets)
    for _ in range(options.warm):
        list(engine.path.answer(jobs))
    before = dict(vars(engine.counts))
    comparison = Comparison(engine, options.naive_per_item)
    comparison.sweep(jobs, options.repeat)
    counts = {key: (value - before[key]) // options.repeat for key, value in vars(engine.counts).items()}
    work = Work()
    with counting(driver, work):
        list(engine.path.answer(jobs))
    fast, flops_per_case = comparison.fast, work.flops / (len(jobs) * len(targets))
    return {
        "model": options.model,
        "architecture": type(loaded.model).__name__,
        "dtype": loaded.dtype,
        "device": loaded.device,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "items": len(jobs),
        "targets": len(targets),
        "new_tokens": options.new_tokens,
        "path": engine.why,
        **comparison.figures(),
        "counts": counts,
        "peak_bytes": engine.memory.peak(),
        "noise_margin": NOISE_MARGIN,
        "seconds": {"preparing": prepared, "engine": fast.seconds, "median_of_naive": comparison.naive.median},
        "matmul_gflops_by_tokens": rates,
        **{name: phase_figures(phase, rates) for name, phase in vars(work).items()},
        "whole": whole_figures(flops_per_case, fast.per_case, rates),
        "share_of_time": breakdown(driver, lambda: list(engine.path.answer(jobs[:1]))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=22, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--heads", default="all", help="all, or a spec such as L0-L3")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--naive-per-item", type=int, default=2, help="cases of each sampled item")
    parser.add_argument("--warm", type=int, default=0, help="runs of the engine before the one that is timed")
    parser.add_argument("--repeat", type=int, default=1, help="sweeps that are timed, for models that take a second")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(measure, options)


if __name__ == "__main__":
    main()
