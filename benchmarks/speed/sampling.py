"""Measures a sweep of sampled answers against the greedy one, a row each.

    python -m benchmarks.speed.sampling --model smollm2 --json docs/measurements/sampling-smollm2.json

Both sweeps run in one process, in turns of a few items, on the same targets; the sampled one asks every item several
times. Seconds are those of the processor, baselines included, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.workloads import queries, report
from reasoning_probe.data.prompts.sampling import Sampling
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.sampled_answers import run_samples
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

TURN = 8
"""Items that each side answers before the other one does."""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of both sides, what they answered, and the ratio by row."""
    loaded = loading.load_model(loading.resolve_model(options.model), "cpu", options.dtype)
    head_map = find_heads(loaded.model)
    heads = every_head(head_map)
    targets = heads[:: max(1, len(heads) // options.heads)][: options.heads]
    sampling = Sampling(options.samples, options.temperature, options.top_p, options.top_k)
    sides = {
        name: LocalEngine(loaded.model, loaded.tokenizer, head_map, wanted_numerics=options.numerics)
        for name in ("greedy", "sampled")
    }
    for engine in sides.values():
        engine.path  # noqa: B018 - its self-check runs before the clock
    seconds: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    questions = queries(options.items, options.new_tokens)
    for first in range(0, len(questions), TURN):
        requests = [
            SweepRequest(query, tuple((target, "zero") for target in targets))
            for query in questions[first : first + TURN]
        ]
        for name, engine in sides.items():
            started = time.process_time()
            batches = run_samples(engine, requests, sampling.draws(0)) if name == "sampled" else engine.run(requests)
            answers = [answer for batch in batches for answer in batch]
            seconds[name] += time.process_time() - started
            rows[name] += sum(answer.ablation is not None for answer in answers)
            tokens[name] += sum(len(loaded.tokenizer(answer.response)["input_ids"]) for answer in answers)
    by_row = {name: seconds[name] / rows[name] for name in sides}
    return {
        "model": options.model,
        "dtype": loaded.dtype,
        "sampling": vars(sampling),
        "sides": {
            name: {
                "rows": rows[name],
                "seconds": seconds[name],
                "seconds_by_row": by_row[name],
                "tokens_by_answer": tokens[name] / max(1, rows[name]),
                "decoded": engine.counts.decoded,
                "settled_singly": engine.counts.settled_singly,
                "numerics": engine.numerics.name,
            }
            for name, engine in sides.items()
        },
        "ratio_by_row": by_row["sampled"] / by_row["greedy"],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--numerics", default="auto")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--heads", type=int, default=15)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
