"""How fast the sweep is, beside the loop that public scripts run and the best batch that today's libraries allow.

    python -m benchmarks.sweep --model smollm2 --items 22 --heads all --json docs/sweep-smollm2.json

Three ways answer the same (item, head) cases on the same model, item by item in turn, with the same stop strings and
token limit, and their responses are compared:

naive    one ``generate`` per head and item, one row (a sample of the cases, scaled; the sample is printed)
batched  one ``generate`` per item with a row per head and a mask per row (a sample of the items, scaled)
engine   reasoning_probe's engine, every case, from the first ablated batch to the last outcome, settling included

The matrix-multiply rate is measured in the same run, on the shapes of the model's own layers, and so are the FLOPs of
the matrix products that the engine ran: their quotient is the time that arithmetic alone would have taken.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from reasoning_probe import datasets, models
from reasoning_probe.ablation import ZERO, switched_off
from reasoning_probe.engine.passes import Driver
from reasoning_probe.engine.plain import NOISE_MARGIN, Plain
from reasoning_probe.engine.replies import Job, Reply
from reasoning_probe.engine.run import Engine
from reasoning_probe.heads import find_heads
from reasoning_probe.prompts import Generation, query
from reasoning_probe.targets import Target, every_head, parse_targets


@dataclass
class Work:
    """What the engine's passes did: rows times tokens through the layers and the vocabulary projection, seconds."""

    layer_flops: float = 0.0
    vocabulary_flops: float = 0.0
    pass_seconds: float = 0.0
    shapes: list[int] = field(default_factory=list)  # rows times tokens of each layer call


@dataclass
class Sample:
    """Seconds per case of one way, and how many cases they stand for."""

    cases: int = 0
    seconds: float = 0.0
    engine_seconds: float = 0.0  # of the engine on the same items
    engine_cases: int = 0

    @property
    def per_case(self) -> float:
        return self.seconds / self.cases if self.cases else float("nan")

    @property
    def ratio(self) -> float:
        """How many times as long as the engine this way takes, on the items that both answered."""
        return self.per_case / (self.engine_seconds / self.engine_cases)


def weights(module: Any) -> int:
    """Return the number of weights in the matrices of *module*: two FLOPs each and token."""
    return sum(p.numel() for p in module.parameters() if p.dim() == 2)


@contextmanager
def counting(driver: Driver, work: Work) -> Iterator[None]:
    """Count the matrix products of every pass that *driver* runs, and time the passes."""
    run = driver.run

    def timed(*args: Any, **places: Any) -> Any:
        started = time.perf_counter()
        output = run(*args, **places)
        work.pass_seconds += time.perf_counter() - started
        return output

    sizes = {id(block): weights(block) for block in driver.blocks}
    at_head = weights(driver.head)

    def count(module: Any, args: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        tokens = hidden.shape[0] * hidden.shape[1]
        if module is driver.head:
            work.vocabulary_flops += 2.0 * at_head * tokens
        elif index[id(module)] >= driver.plan.start:
            work.layer_flops += 2.0 * sizes[id(module)] * tokens
            work.shapes.append(tokens)

    index = {id(block): at for at, block in enumerate(driver.blocks)}
    handles = [module.register_forward_hook(count) for module in [*driver.blocks, driver.head]]
    driver.run = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del driver.run  # type: ignore[attr-defined]
        for handle in handles:
            handle.remove()


def matmul_rate(model: Any, driver: Driver, tokens: int) -> float:
    """Return the GFLOP/s of plain matrix products of *tokens* rows with the weights of a middle layer."""
    block = driver.blocks[len(driver.blocks) // 2]
    pairs = []
    for parameter in block.parameters():
        if parameter.dim() == 2:
            x = torch.randn(tokens, parameter.shape[1], dtype=parameter.dtype, device=parameter.device)
            pairs.append((x, parameter.detach()))
    flops = sum(2.0 * x.shape[0] * w.numel() for x, w in pairs)
    rates = []
    for _ in range(15):
        started = time.perf_counter()
        for _ in range(10):
            for x, w in pairs:
                torch.nn.functional.linear(x, w)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(10 * flops / (time.perf_counter() - started) / 1e9)
    return statistics.median(rates)


def batched(plain: Plain, encoded: Any, stop: tuple[str, ...], targets: Sequence[Target]) -> list[tuple[int, ...]]:
    """Return every target's tokens from one ``generate`` with a mask per row."""
    ids = encoded.prompt.expand(len(targets), -1)
    with torch.inference_mode(), switched_off(plain.model, plain.head_map, targets):
        out = plain.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **plain.arguments(encoded, stop))
    return [plain.ended(tuple(row), stop) for row in out[:, ids.shape[1] :].tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=22, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--heads", default="all", help="all, or a spec such as L0-L3")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--naive-per-item", type=int, default=2, help="cases of each sampled item")
    parser.add_argument("--batched-items", type=int, default=4, help="items on which naive and batched run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    loaded = models.load(models.find(options.model))
    head_map = find_heads(loaded.model)
    targets = every_head(head_map) if options.heads == "all" else parse_targets(options.heads, head_map)
    every = [(name, item) for name in datasets.BUILTIN for item in datasets.builtin(name).items]
    chosen = [every[at * len(every) // options.items] for at in range(options.items)]
    queries = [query(name, item, Generation(options.new_tokens)) for name, item in chosen]
    sampled = {at * len(queries) // options.batched_items for at in range(options.batched_items)}

    engine = Engine(loaded.model, loaded.tokenizer, head_map)
    driver = getattr(engine.way, "driver", None)
    if driver is None:
        raise SystemExit(f"the fast path does not take this model: {engine.why}")
    rate = {tokens: matmul_rate(loaded.model, driver, tokens) for tokens in (64, 256, 640, 1280)}
    dice, work = random.Random(0), Work()
    naive, batch, fast = Sample(), Sample(), Sample()
    differing = 0
    jobs = []
    for asked in queries:
        encoded = engine.codec.encode(asked)
        baseline = engine.plain.baseline(encoded, asked.generation.stop)
        jobs.append(Job(encoded, asked.generation.stop, baseline, tuple(targets), ZERO))
    for group in groups(engine, jobs):
        started = time.perf_counter()
        with counting(driver, work):
            found = engine.way.answer([jobs[at] for at in group])
        seconds = time.perf_counter() - started
        fast.cases += len(targets) * len(group)
        fast.seconds += seconds
        for at, replies in zip(group, found, strict=True):
            if at in sampled:
                for way in (naive, batch):
                    way.engine_cases += len(targets)
                    way.engine_seconds += seconds / len(group)
                differing += compare(engine, jobs[at], replies, dice, options.naive_per_item, naive, batch)
        print(
            f"items {group[0] + 1} to {group[-1] + 1} of {len(jobs)}: engine {fast.per_case:.5f} s a case", flush=True
        )

    peak = max(rate.values())
    arithmetic = (work.layer_flops + work.vocabulary_flops) / (peak * 1e9)
    result = {
        "model": options.model,
        "architecture": type(loaded.model).__name__,
        "dtype": loaded.dtype,
        "device": loaded.device,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "items": len(queries),
        "targets": len(targets),
        "new_tokens": options.new_tokens,
        "path": engine.why,
        "seconds_per_1000_cases": {
            "naive": 1000 * naive.per_case,
            "batched": 1000 * batch.per_case,
            "engine": 1000 * fast.per_case,
        },
        "cases_measured": {"naive": naive.cases, "batched": batch.cases, "engine": fast.cases},
        "engine_against_naive": naive.ratio,
        "engine_against_batched": batch.ratio,
        "responses_that_differ": differing,
        "counts": {key: value for key, value in engine.facts().items() if key != "why"},
        "noise_margin": NOISE_MARGIN,
        "matmul_gflops_by_tokens": rate,
        "gflop_layers": work.layer_flops / 1e9,
        "gflop_vocabulary": work.vocabulary_flops / 1e9,
        "gflops_reached": (work.layer_flops + work.vocabulary_flops) / fast.seconds / 1e9,
        "gflops_reached_in_passes": (work.layer_flops + work.vocabulary_flops) / work.pass_seconds / 1e9,
        "share_of_matmul_rate": arithmetic / fast.seconds,
        "seconds": {"engine": fast.seconds, "passes": work.pass_seconds, "arithmetic_alone": arithmetic},
        "median_tokens_a_layer_call": statistics.median(work.shapes),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def groups(engine: Engine, jobs: Sequence[Job]) -> list[list[int]]:
    """Return which jobs share passes, as the engine itself groups them."""
    grouped: list[list[int]] = []
    for at, job in enumerate(jobs):
        if grouped and engine.way.fit([jobs[other] for other in grouped[-1]] + [job]):
            grouped[-1].append(at)
        else:
            grouped.append([at])
    return grouped


def compare(
    engine: Engine, job: Job, replies: Sequence[Reply], dice: random.Random, cases: int, naive: Sample, batch: Sample
) -> int:
    """Run the other two ways on one item; return how many of their responses differ from the engine's."""
    differing = 0
    for place in dice.sample(range(len(job.targets)), min(cases, len(job.targets))):
        started = time.perf_counter()
        tokens = engine.plain.alone(job, job.targets[place])
        naive.seconds += time.perf_counter() - started
        naive.cases += 1
        differing += tokens != replies[place].tokens
    started = time.perf_counter()
    rows = batched(engine.plain, job.encoded, job.stop, job.targets)
    batch.seconds += time.perf_counter() - started
    batch.cases += len(job.targets)
    differing += sum(row != reply.tokens for row, reply in zip(rows, replies, strict=True))
    return differing


if __name__ == "__main__":
    main()
