"""Counts, by dtype, the ablated rows that come too close to a tie to be decided in a batch.

    python -m benchmarks.accuracy.near_ties --model smollm2 --items 4 --heads L0H0,L14H3 \
        --json docs/measurements/near-ties-smollm2.json

For each dtype the script counts the rows that the sweep runs alone. In float32 it also counts the rows whose two best
logits, somewhere in the answer, are at most one rounding step of float16 or bfloat16 apart. The one-row path cannot
distinguish those logits in that dtype either, so their number is a lower bound on the rows that any batch must run
alone, unless it reproduces the one-row path bit by bit.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import jobs_of, queries
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.models import loading
from reasoning_probe.models.ablation import ablate
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head, parse_targets


def swept(
    model: str, dtype: str, items: int, heads: str, new_tokens: int
) -> tuple[LocalEngine, list[AblationJob], list[Any], float]:
    """Return the engine, the jobs that it answered, the replies to each job, and the seconds of the sweep."""
    loaded = loading.load_model(loading.resolve_model(model), dtype=dtype)
    head_map = find_heads(loaded.model)
    targets = every_head(head_map) if heads == "all" else parse_targets(heads, head_map)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, wanted_numerics="settle")
    jobs = jobs_of(engine, queries(items, new_tokens), targets)
    started = time.perf_counter()
    replies = dict(engine.path.answer(jobs))
    return engine, jobs, [replies[index] for index in range(len(jobs))], time.perf_counter() - started


def closest(engine: LocalEngine, job: AblationJob, target: Target, tokens: tuple[int, ...]) -> tuple[float, float]:
    """Return the smallest margin between the two best logits while *tokens* are generated, and the best logit there."""
    answer = torch.tensor([tokens[:-1]], dtype=torch.long, device=job.encoded.prompt.device)
    ids = torch.cat([job.encoded.prompt, answer], dim=1)  # (1, tokens)
    with torch.inference_mode(), ablate(engine.plain.model, engine.plain.head_map, [target]):
        logits = engine.plain.model(input_ids=ids, use_cache=False).logits[0, job.prompt_length - 1 :]
    best = logits.topk(2, dim=-1).values  # (answer, 2)
    lead = best[:, 0] - best[:, 1]
    position = int(lead.argmin())
    return float(lead[position]), float(best[position, 0])


def step(dtype: torch.dtype, size: float) -> float:
    """Return the spacing of numbers of *dtype* near *size*."""
    return float(2.0 ** torch.tensor(abs(size)).log2().floor() * torch.finfo(dtype).eps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=4, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--heads", default="all", help="all, or a spec such as L0-L3")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--dtypes", default="float32,float16,bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"model": options.model, "items": options.items, "heads": options.heads}
    for name in options.dtypes.split(","):
        engine, jobs, replies, seconds = swept(options.model, name, options.items, options.heads, options.new_tokens)
        rows = [
            (job, target, reply)
            for job, of in zip(jobs, replies, strict=True)
            for target, reply in zip(job.targets, of, strict=True)
        ]
        measurements: dict[str, Any] = {
            "rows": len(rows),
            "settled alone": engine.counts.settled_singly,
            "share settled alone": engine.counts.settled_singly / len(rows),
            "seconds": seconds,
        }
        if name == "float32":
            leads = [closest(engine, job, target, reply.tokens) for job, target, reply in rows]
            for half in (torch.float16, torch.bfloat16):
                tied = sum(lead <= step(half, size) for lead, size in leads)
                measurements[f"share within one step of {half}".replace("torch.", "")] = tied / len(rows)
        result[name] = measurements
        print(json.dumps({name: measurements}, indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
