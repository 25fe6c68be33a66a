"""Measures how far batching moves a row's top-two logit margin, in multiples of the noise that its canary shows.

    python -m benchmarks.accuracy.batch_noise --model smollm2 --items 6 --rows 20 \
        --json docs/measurements/noise-smollm2.json

The engine runs a row alone where the margin is within ``NOISE_MARGIN`` times the noise. This benchmark also runs a
sample of each item's rows alone, and every near tie. At each step it compares the margin of the row alone with the
margin in the batch, in multiples of the noise that the engine knew of at that step. While the two differ by less than
``NOISE_MARGIN``, no row that the engine accepts from a batch can have another answer alone.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.workloads import jobs_of, queries
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import decoding, verification
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.engine.fast.verification import Row
from reasoning_probe.engine.plain_path import NOISE_MARGIN, last_near_tie
from reasoning_probe.engine.tokenization import AblationJob, Completion
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

Leads = dict[int, list[tuple[float, float]]]
"""By ``id(row)``, for each token: the margin of the best logit in the batch, and the noise."""


@contextmanager
def recorded_margins(leads: Leads) -> Iterator[None]:
    """Record in *leads* every margin that the engine compares with the noise."""
    seen: list[list[tuple[float, float]]] = []

    def look(margins: Sequence[float], noise: float) -> int:
        seen.append([(margin, noise) for margin in margins])
        return last_near_tie(margins, noise)

    def record(rows: Sequence[Row], run: Callable[[], Any]) -> Any:
        seen.clear()
        result = run()
        for row, of_row in zip(rows, seen, strict=True):  # the engine looks at the rows in their order
            if not row.is_canary:  # canaries are nobody's answer
                leads.setdefault(id(row), []).extend(of_row)
        return result

    def compare(chunk: Any, *args: Any, plain: Any = verification.RowChunk._compare) -> Any:
        return record(list(chunk.rows), lambda: plain(chunk, *args))

    def append_tokens(best: Any, diverged: Any, codec: Any, noise: float, plain: Any = decoding.append_tokens) -> Any:
        unfinished = [each.row for each in diverged if not each.ended(codec)]
        return record(unfinished, lambda: plain(best, diverged, codec, noise))

    with (
        mock.patch.object(verification, "last_near_tie", look),
        mock.patch.object(decoding, "last_near_tie", look),
        mock.patch.object(verification.RowChunk, "_compare", compare),
        mock.patch.object(decoding, "append_tokens", append_tokens),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=6, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--rows", type=int, default=20, help="about how many rows of each item also run alone")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--dtype", default="float32", choices=loading.DTYPES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    loaded = loading.load_model(loading.resolve_model(options.model), dtype=options.dtype)
    head_map = find_heads(loaded.model)
    targets = every_head(head_map)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map, wanted_numerics="settle")
    if not isinstance(engine.path, FastPath):
        raise SystemExit(f"the fast path does not take this model: {engine.why}")
    engine.path.pools_queries = False  # pooled verification compares margins elsewhere
    jobs = jobs_of(engine, queries(options.items, options.new_tokens), targets)
    leads: Leads = {}
    moves: list[float] = []
    rows = other = 0
    rng = random.Random(0)

    def completion(path: FastPath, row: Row, job: AblationJob) -> Completion:
        nonlocal rows, other
        if row.near_tie or rng.random() < options.rows / len(targets):
            (alone,), best = engine.plain._generate(job.encoded, job.stop, [row.target])
            rows += 1
            if alone == tuple(row.tokens):
                leads_alone = (best[0, : len(alone), 0] - best[0, : len(alone), 1]).tolist()
                both = zip(leads[id(row)], leads_alone, strict=True)
                moves.extend(abs(abs(lead) - lead_alone) / noise for (lead, noise), lead_alone in both)
            else:
                other += 1
        leads.pop(id(row))
        return Completion(tuple(row.tokens), row.logprob)

    with recorded_margins(leads), mock.patch.object(FastPath, "_completion", completion):
        list(engine.path.answer(jobs))
    differences = torch.tensor(moves, dtype=torch.float64)
    result = {
        "model": options.model,
        "dtype": options.dtype,
        "items": options.items,
        "rows": rows,
        "rows with another answer alone": other,
        "steps": len(moves),
        "noise margin": NOISE_MARGIN,
        "root mean square": float(differences.square().mean().sqrt()),
        "quantiles": {q: float(differences.quantile(q)) for q in (0.5, 0.9, 0.99, 0.999)},
        "largest": float(differences.max()),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
