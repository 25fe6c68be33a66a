"""How fast the sweep is, beside the loop that public scripts run and the best batch that today's libraries allow.

    python -m benchmarks.speed.sweep --model smollm2 --items 22 --heads all --json docs/measurements/sweep-smollm2.json

Three ways answer the same (item, head) cases on the same model, in turn, with the same stop strings and token limit,
and their responses are compared:

naive    one ``generate`` per head and item, one row (a sample of the cases, scaled; the sample is printed)
batched  one ``generate`` per item with a row per head and a mask per row
engine   reasoning_probe's engine, every case, from the first ablated batch to the last outcome, settling included

The matrix-multiply rate is measured in the same run, on the shapes of the model's own layers. Afterwards the sampled
cases run once more with the FLOPs of every matrix product counted (counting would slow a small model): FLOPs by the
rate are the time that arithmetic alone would have taken. At the end one more item runs under torch's profiler, which
says where the time goes.
"""

from __future__ import annotations

import argparse
import json
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
from benchmarks.workloads import jobs_of, queries
from reasoning_probe.engine.engine import Engine
from reasoning_probe.engine.plain_path import NOISE_MARGIN, PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Completion
from reasoning_probe.models import loading
from reasoning_probe.models.ablation import ablate
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head, parse_targets


@dataclass
class Sample:
    """How long the cases of one way took that were measured."""

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
    ids = encoded.prompt.expand(len(targets), -1)
    with torch.inference_mode(), ablate(plain.model, plain.head_map, targets):
        out = plain.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **plain.generate_arguments(encoded, stop)
        )
    return [plain.codec.cut(row, stop) for row in out[:, ids.shape[1] :].tolist()]


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
    torch.set_num_threads(options.threads)

    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    targets = every_head(head_map) if options.heads == "all" else parse_targets(options.heads, head_map)

    started = time.perf_counter()
    engine = Engine(loaded.model, loaded.tokenizer, head_map)
    driver = getattr(engine.path, "driver", None)
    if driver is None:
        raise SystemExit(f"the fast path does not take this model: {engine.why}")
    prepared = time.perf_counter() - started
    rates = {tokens: matmul_rates(driver, tokens) for tokens in (16, 64, 256, 640, 1280, 2560)}
    dice, work = random.Random(0), Work()
    naive, batch, fast = Sample(), Sample(), Sample()
    differing = 0
    jobs = jobs_of(engine, queries(options.items, options.new_tokens), targets)
    for _ in range(options.warm):
        list(engine.path.answer(jobs))
    before = dict(vars(engine.counts))
    for _ in range(options.repeat):
        answering = engine.path.answer(jobs)  # the engine rests while the other ways take their turn
        for _ in jobs:
            started = time.perf_counter()
            at, replies = next(answering)
            seconds = time.perf_counter() - started
            fast.add(seconds, len(targets))
            differing += compare(engine, jobs[at], replies, dice, options.naive_per_item, naive, batch)
            print(f"{fast.cases // len(targets)} of {options.repeat * len(jobs)} items: {fast.per_case:.5f} s a case")
    counts = {key: (value - before[key]) // options.repeat for key, value in vars(engine.counts).items()}
    with counting(driver, work):
        list(engine.path.answer(jobs))
    flops_per_case = work.flops / (len(jobs) * len(targets))

    result = {
        "model": options.model,
        "architecture": type(loaded.model).__name__,
        "dtype": loaded.dtype,
        "device": loaded.device,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "items": len(jobs),
        "targets": len(targets),
        "new_tokens": options.new_tokens,
        "path": engine.why,
        "seconds_per_1000_cases": {
            "naive": 1000 * naive.per_case,
            "batched": 1000 * batch.per_case,
            "engine": 1000 * fast.per_case,
        },
        "cases_measured": {"naive": naive.cases, "batched": batch.cases, "engine": fast.cases},
        "engine_against_naive": naive.per_case / fast.per_case,
        "engine_against_batched": batch.per_case / fast.per_case,
        "responses_that_differ": differing,
        "counts": counts,
        "peak_bytes": engine.memory.peak(),
        "noise_margin": NOISE_MARGIN,
        "seconds": {"preparing": prepared, "engine": fast.seconds, "median_of_naive": naive.median},
        "matmul_gflops_by_tokens": rates,
    } | {name: figures(phase, rates) for name, phase in vars(work).items()}
    peak = {kind: max(rate[kind] for rate in rates.values()) for kind in ("torch", "packed")}
    result["whole"] = {
        "gflops_reached": flops_per_case / fast.per_case / 1e9,
        "share_of_matmul_rate": {kind: flops_per_case / fast.per_case / 1e9 / rate for kind, rate in peak.items()},
        "arithmetic_alone_s_per_1000_cases": {kind: 1000 * flops_per_case / rate / 1e9 for kind, rate in peak.items()},
    }
    result["share_of_time"] = breakdown(driver, lambda: list(engine.path.answer(jobs[:1])))
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def figures(phase: Phase, rates: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Return what *phase* did, beside the best matrix-multiply rate of any number of tokens."""
    peak = {kind: max(rate[kind] for rate in rates.values()) for kind in ("torch", "packed")}
    return {
        "seconds_in_passes": phase.seconds,
        "gflop_layers": phase.layer_flops / 1e9,
        "gflop_vocabulary": phase.vocabulary_flops / 1e9,
        "gflops_reached": phase.gflops,
        "share_of_matmul_rate": {kind: phase.gflops / rate for kind, rate in peak.items()},
        "median_tokens_a_pass": statistics.median(phase.tokens) if phase.tokens else None,
    }


def compare(
    engine: Engine,
    job: AblationJob,
    replies: Sequence[Completion],
    dice: random.Random,
    cases: int,
    naive: Sample,
    batch: Sample,
) -> int:
    """Run the other two ways on one item; return how many of their responses differ from the engine's."""
    differing = 0
    for place in dice.sample(range(len(job.targets)), min(cases, len(job.targets))):
        started = time.perf_counter()
        tokens = engine.plain.generate_alone(job, job.targets[place])
        naive.add(time.perf_counter() - started)
        differing += tokens != replies[place].tokens
    started = time.perf_counter()
    rows = batched(engine.plain, job.encoded, job.stop, job.targets)
    batch.add(time.perf_counter() - started, len(job.targets))
    differing += sum(row != reply.tokens for row, reply in zip(rows, replies, strict=True))
    return differing


if __name__ == "__main__":
    main()
