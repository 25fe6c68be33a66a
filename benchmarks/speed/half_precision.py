"""Measures a sweep in half precision against a naive loop of ``generate`` in it, and against the float32 sweep.

    python -m benchmarks.speed.half_precision --model smollm2 --json docs/measurements/half-precision-smollm2.json

In one run, in turns of an item: the engine in half precision, the engine in float32, and on a sample of the cases one
``generate`` per head and item with the attention that the model was loaded with. Responses in half precision are
compared with the baseline of a model whose weights were edited, in the same numerics.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import queries
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine import NUMERICS
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Completion
from reasoning_probe.models import loading
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
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


def edited_differs(engine: LocalEngine, job: AblationJob, target: Target, reply: Completion) -> bool:
    """Tell whether *reply* is not the baseline of a model without the *target*, in the same numerics."""
    twin = copy.deepcopy(engine.model)
    for site in engine.head_map.attention_layers:
        weight = twin.get_submodule(site.path).weight  # (out, in) of a linear layer
        for head in target.in_layer(site.layer):
            weight.data[:, head * site.head_dim : (head + 1) * site.head_dim] = 0
    other = LocalEngine(twin, engine.tokenizer, engine.head_map, wanted_numerics=engine.wanted_numerics)
    return other.plain.baseline(job.encoded, job.stop).completion.tokens != reply.tokens


def side(options: argparse.Namespace, dtype: str, numerics: str) -> tuple[Side, HeadMap]:
    """Load the model in *dtype* and return it with its engine."""
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=dtype)
    head_map = find_heads(loaded.model)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, memory_cap=options.memory, wanted_numerics=numerics)
    return Side(engine), head_map


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides in turns and return the figures."""
    half, head_map = side(options, options.dtype, options.numerics)
    full, _ = side(options, "float32", "auto")
    targets = tuple(parse_targets(options.heads, head_map))
    items = queries(options.items, options.new_tokens)
    for each in (half, full):
        each.prepare(items, targets)
    usual = PlainPath(half.engine.model, head_map, half.engine.codec, half.engine.memory)
    rng = random.Random(0)
    naive: list[float] = []
    equal_to_plain = 0
    in_float32 = full.answers()
    for index in half.answers():
        next(in_float32)
        for number in rng.sample(range(len(targets)), options.naive_per_item):
            started = time.perf_counter()
            tokens = usual.generate_alone(half.jobs[index], targets[number])
            naive.append(time.perf_counter() - started)
            equal_to_plain += tokens == half.replies[index][number].tokens
    rows = len(half.jobs) * len(targets)
    checked = rng.sample([(job, number) for job in range(len(half.jobs)) for number in range(len(targets))], 6)
    differing = sum(
        edited_differs(half.engine, half.jobs[job], targets[number], half.replies[job][number])
        for job, number in checked
    )
    naive_s = sum(naive) / len(naive)
    return {
        "model": options.model,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "items": len(half.jobs),
        "targets": len(targets),
        "rows": rows,
        "dtype": options.dtype,
        "numerics": half.engine.numerics.name,
        "numerics_why": half.engine.numerics.why,
        "path": half.engine.why,
        "seconds_per_row": {"naive": naive_s, "engine": half.sweep_s / rows, "engine_float32": full.sweep_s / rows},
        "naive_rows_measured": len(naive),
        "engine_against_naive": naive_s * rows / half.sweep_s,
        "times_float32": half.sweep_s / full.sweep_s,
        "baseline_s": {"half": half.baseline_s, "float32": full.baseline_s},
        "settled_singly": {
            "half": half.engine.counts.settled_singly,
            "float32": full.engine.counts.settled_singly,
        },
        "unequal_batches": half.engine.counts.unequal_batches,
        "responses_compared_with_edited_weights": len(checked),
        "responses_that_differ_from_edited_weights": differing,
        "sampled_responses_equal_to_plain_generate": equal_to_plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--heads", default=",".join(f"L{2 * number}H{4 * number % 9}" for number in range(15)))
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--naive-per-item", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=2 * 10**9, help="bytes")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    parser.add_argument("--numerics", default="auto", choices=NUMERICS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = measure(options)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
