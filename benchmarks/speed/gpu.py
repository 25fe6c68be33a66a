"""Measures the engine on a GPU against a naive loop of ``generate`` and against a mask per row.

    python -m benchmarks.speed.gpu --json gpu.json

One command of at most eight minutes that needs no download: models of random weights in the shapes of gpt2, of a Llama
of 1B and of 8B parameters, each in float32 and in bfloat16 where it fits. Their attention is scaled until about half of
the ablated rows leave the baseline, as in a sweep of a trained model. It prints a table to paste, and writes JSON:

naive    one ``generate`` per head and item, one row (a sample of the cases)
masked   one ``generate`` per item with a row per head and a mask per row
engine   reasoning_probe's engine, every case; baselines come before

the proof of invariance, whether rows of the engine equal rows that run alone, and what bounds the engine: its products
at the rate of a large product, and reading its weights once a pass at the rate of a large copy.

``--device cpu --shapes tiny`` tries the command itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.speed.pass_accounting import Work, counting
from benchmarks.speed.sweep import batched
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.memory import Memory, out_of_memory
from reasoning_probe.engine.numerics import choose_numerics
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, EncodedQuery, TokenCodec
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.loading import resolve_device
from reasoning_probe.models.targets import Target, every_head

LLAMA = {"num_key_value_heads": 8, "vocab_size": 128256, "rope_theta": 500000.0, "max_position_embeddings": 8192}

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("llama", {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
                       "num_key_value_heads": 2, "vocab_size": 211, "max_position_embeddings": 256}),
    "gpt2": ("gpt2", {}),
    "llama-1b": ("llama", LLAMA | {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                                   "num_attention_heads": 32, "head_dim": 64, "tie_word_embeddings": True}),
    "llama-8b": ("llama", LLAMA | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                                   "num_attention_heads": 32}),
}  # fmt: skip
"""The model type and the sizes of each shape; gpt2's are its config's own."""

PROMPT_TOKENS = (40, 70)
"""Prompts have so many tokens, at least and at most."""

WANTED_SHARE, ROUNDS = 0.5, 7
"""The share of rows that are to leave the baseline, and the models that are tried for it."""

MEMORY_FACTOR = 1.3
"""Memory that a model needs, relative to its weights, to be tried."""


class NoTokenizer:
    """Stands in for a tokenizer: prompts are token ids, and no answer is read."""

    eos_token_id = None

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": [int(word) if word.isdigit() else 3 for word in text.split()]}

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        return " ".join(map(str, ids))


@dataclass(frozen=True)
class Rates:
    """What the device does at its best in one dtype."""

    flops: float  # of a large matrix product, in 1/s
    bytes: float  # read and written by a large copy, in 1/s


def synchronized(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return how long *run* takes, until the device has finished, and what it returns."""
    synchronized(device)
    started = time.perf_counter()
    result = run()
    synchronized(device)
    return time.perf_counter() - started, result


def rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure the best of a few large products and copies."""
    size, count = (8192, 2**28) if device.type == "cuda" else (512, 2**22)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    x = torch.zeros(count, device=device, dtype=torch.uint8)
    y = torch.empty_like(x)
    product = min(seconds_of(lambda: a @ b, device)[0] for _ in range(4))
    copy = min(seconds_of(lambda: y.copy_(x), device)[0] for _ in range(4))
    return Rates(2 * size**3 / product, 2 * count / copy)


def device_bytes(device: torch.device) -> int:
    """Return the memory of the device, used or free, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def build(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Return a random model of *shape* whose answers never end."""
    kind, sizes = SHAPES[shape]
    config = AutoConfig.for_model(kind, **sizes, eos_token_id=None, bos_token_id=None, pad_token_id=None)
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 1.0 / parameter.shape[-1] ** 0.5)
    return model.requires_grad_(False)


def parameters_of(shape: str) -> int:
    """Return how many parameters a model of *shape* has."""
    kind, sizes = SHAPES[shape]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes))
    return sum(parameter.numel() for parameter in model.parameters())


def encoded_queries(model: Any, items: int, limit: int) -> list[EncodedQuery]:
    """Return queries of random tokens, of lengths that differ, with an expected answer of one token."""
    rng, device = random.Random(0), next(model.parameters()).device
    queries = []
    for _ in range(items):
        ids = [rng.randrange(3, model.config.vocab_size) for _ in range(rng.randint(*PROMPT_TOKENS))]
        queries.append(EncodedQuery(torch.tensor([ids], device=device), (rng.randrange(3, 99),), limit))
    return queries


def scale_attention(model: Any, head_map: HeadMap, plain: PlainPath, query: EncodedQuery) -> float:
    """Scale the output projections until about half of the rows leave the baseline; return the share that does."""
    targets = _spread(every_head(head_map), 16)
    low, high, factor, share = 1 / 64, 64.0, 1.0, 0.0
    for _ in range(ROUNDS):
        draft = plain.baseline(query, ()).completion.tokens
        rows = batched(plain, query, (), targets)
        share = sum(row != draft for row in rows) / len(rows)
        if abs(share - WANTED_SHARE) < 0.1:
            break
        low, high = (factor, high) if share < WANTED_SHARE else (low, factor)
        wanted = (low * high) ** 0.5
        with torch.no_grad():
            for site in head_map.attention_layers:
                model.get_submodule(site.path).weight.mul_(wanted / factor)
        factor = wanted
    return share


def _spread(targets: Sequence[Target], count: int) -> list[Target]:
    """Return at most *count* of *targets*, evenly spread."""
    count = min(count, len(targets))
    return [targets[index * len(targets) // count] for index in range(count)]


def engine_figures(
    engine: LocalEngine, jobs: Sequence[AblationJob], best: Rates, device: torch.device
) -> dict[str, Any]:
    """Sweep *jobs* with the engine, and once more with its passes counted; return its time and what bounds it."""
    rows = sum(len(job.targets) for job in jobs)
    before = dict(vars(engine.counts))
    seconds, replies = seconds_of(lambda: dict(engine.path.answer(jobs)), device)
    counts = {name: value - before[name] for name, value in vars(engine.counts).items()}
    figures: dict[str, Any] = {"seconds_per_row": seconds / rows, "counts": counts, "replies": replies}
    driver = getattr(engine.path, "driver", None)
    if driver is not None:
        work = Work()
        with counting(driver, work), engine.counts.paused():
            dict(engine.path.answer(jobs))
        weights = sum(parameter.nbytes for parameter in engine.model.parameters())
        passes = len(work.verification.tokens) + len(work.decoding.tokens)
        arithmetic, memory = work.flops / best.flops, passes * weights / best.bytes
        larger = max(arithmetic, memory)
        bound = "products" if arithmetic == larger else "reading weights"
        figures |= {
            "passes": passes,
            "products_alone_s_per_row": arithmetic / rows,
            "reading_weights_alone_s_per_row": memory / rows,
            "share_of_bound": larger / seconds,
            "bounded_by": bound if larger > 0.3 * seconds else f"launches and the host ({bound} next)",
        }
    return figures


def measure(shape: str, dtype: torch.dtype, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Return the figures of one model; takes about *seconds* at most."""
    started, device = time.perf_counter(), torch.device(resolve_device(options.device))
    best = rates(device, dtype)
    model = build(shape, device, dtype)
    head_map = find_heads(model)
    usual = PlainPath(model, head_map, TokenCodec(model, NoTokenizer()), Memory(device))
    queries = encoded_queries(model, options.items, options.new_tokens)
    share = scale_attention(model, head_map, usual, queries[0])  # before the engine, which may pack the weights
    proof_s, proof = seconds_of(lambda: choose_numerics(model, "invariant"), device)
    engine = LocalEngine(model, NoTokenizer(), head_map)
    path_s, path = seconds_of(lambda: engine.path, device)
    targets = tuple(_spread(every_head(head_map), options.heads))
    baseline_s, baselines = seconds_of(lambda: path.baselines([(query, ()) for query in queries]), device)
    jobs = [AblationJob(query, (), known, targets, ZERO) for query, known in zip(queries, baselines, strict=True)]
    of_engine = engine_figures(engine, jobs, best, device)
    replies = of_engine.pop("replies")
    masked_s, _ = seconds_of(lambda: batched(usual, jobs[0].encoded, (), targets), device)
    naive, alone = [], []
    for job, target, tokens in _sampled(jobs, targets, replies):
        took, generated = seconds_of(lambda job=job, target=target: usual.generate_alone(job, target), device)  # type: ignore[misc]
        naive.append((took, generated == tokens))
        alone.append(engine.plain.generate_alone(job, target) == tokens)
        if len(naive) >= options.naive or time.perf_counter() - started > seconds:
            break
    naive_s = sum(took for took, _ in naive) / len(naive)
    masked_per_row = masked_s / len(targets)
    per_row = of_engine["seconds_per_row"]
    return {
        "shape": shape,
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device_bytes": device_bytes(device),
        "prompt_tokens": sum(query.prompt.shape[1] for query in queries) / len(queries),
        "new_tokens": options.new_tokens,
        "rows": len(jobs) * len(targets),
        "share_leaving_the_baseline": of_engine["counts"]["decoded"] / max(1, of_engine["counts"]["rows"]),
        "share_when_scaled": share,
        "proof": {"invariant": proof.invariant, "why": proof.why, "seconds": proof_s},
        "numerics": engine.numerics.name,
        "numerics_why": engine.numerics.why,
        "path": engine.path_name,
        "path_why": engine.why,
        "seconds_preparing": path_s,
        "seconds_per_baseline": baseline_s / len(queries),
        "seconds_per_row": {"naive": naive_s, "masked": masked_per_row, "engine": per_row},
        "engine_against_naive": naive_s / per_row,
        "engine_against_masked": masked_per_row / per_row,
        "naive_rows_measured": len(naive),
        "responses_equal_to_plain_generate": sum(equal for _, equal in naive),
        "responses_equal_to_the_row_alone": sum(alone),
        "engine": of_engine,
        "best_flops": best.flops,
        "best_bytes_per_s": best.bytes,
        "peak_bytes": engine.memory.peak(),
        "seconds": time.perf_counter() - started,
    }


def _sampled(
    jobs: Sequence[AblationJob], targets: Sequence[Target], replies: dict[int, Any]
) -> Iterator[tuple[AblationJob, Target, tuple[int, ...]]]:
    """Yield cases in a random order, with the engine's tokens."""
    cases = [(index, number) for index in range(len(jobs)) for number in range(len(targets))]
    random.Random(0).shuffle(cases)
    for index, number in cases:
        yield jobs[index], targets[number], replies[index][number].tokens


def tried(shape: str, dtype: torch.dtype, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Return the figures of one model, or why there are none."""
    name = {"shape": shape, "dtype": str(dtype).removeprefix("torch.")}
    if seconds <= 0:
        return name | {"skipped": f"no time was left of {options.seconds} s"}
    device = torch.device(resolve_device(options.device))
    if device.type == "cuda":
        needed = MEMORY_FACTOR * parameters_of(shape) * dtype.itemsize
        free = torch.cuda.mem_get_info(device)[0]
        if needed > free:
            return name | {"skipped": f"it needs {needed / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free"}
    try:
        return measure(shape, dtype, options, seconds)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return name | {"skipped": "memory ran out"}
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def table(models: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| model | dtype | numerics | naive, ms a row | mask per row | engine | against naive | against mask | leave"
        " the baseline | proof | bounded by |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for model in models:
        if "skipped" in model:
            lines.append(f"| {model['shape']} | {model['dtype']} | {model['skipped']} |" + " |" * 8)
            continue
        ms = {name: f"{1000 * value:.2f}" for name, value in model["seconds_per_row"].items()}
        cells = [
            *(model["shape"], model["dtype"], model["numerics"], ms["naive"], ms["masked"], ms["engine"]),
            f"{model['engine_against_naive']:.1f} x",
            f"{model['engine_against_masked']:.1f} x",
            f"{100 * model['share_leaving_the_baseline']:.0f} %",
            "bit for bit" if model["proof"]["invariant"] else model["proof"]["why"],
            model["engine"].get("bounded_by", "the plain path"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--shapes", default="gpt2,llama-1b,llama-8b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--heads", type=int, default=48, help="evenly spread over the layers")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--naive", type=int, default=8, help="cases of the naive loop that are measured")
    parser.add_argument("--seconds", type=int, default=420, help="no model is begun, and no case added, after so many")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(resolve_device(options.device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    started = time.perf_counter()
    todo = [
        (shape, getattr(torch, dtype)) for shape in options.shapes.split(",") for dtype in options.dtypes.split(",")
    ]
    models = []
    for number, (shape, dtype) in enumerate(todo):
        left = options.seconds - (time.perf_counter() - started)
        models.append(tried(shape, dtype, options, left / (len(todo) - number)))
        print(json.dumps(models[-1]), flush=True)
    result = {"device": name, "torch": torch.__version__, "models": models, "seconds": time.perf_counter() - started}
    print(f"\n{name}, torch {torch.__version__}, {options.items} items, {options.new_tokens} new tokens\n")
    print(table(models))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
