"""Estimates the gain of verifying targets against each other's answers instead of decoding all of them in step.

    python -m benchmarks.speed.draft_verification --model smollm2 --items 3

Many of the rows that diverge from the baseline give the same answer. One row of each kind could be decoded (a leader)
and the others be verified against its answer, some tokens at a time; a row that diverges again would look for another
known answer that begins like its own, or lead the next round. The script takes every answer from a sweep, times passes
of 1 to 1,024 rows on the model, and estimates both methods: their passes by position, each at the time of its size.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import jobs_of, queries
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.fast.pass_plan import PassPlan
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

CONTEXT = 40
"""Tokens in the key/value cache before a timed pass."""

MOST = 2_500
"""Maximum number of tokens of a pass, as in the engine's chunks on a CPU."""


@dataclass
class Answer:
    """The tokens that a row answers with, and how many of them are known so far."""

    job: int
    prompt: int
    tokens: tuple[int, ...]
    known: int

    @property
    def beginning(self) -> tuple[int, ...]:
        """The known tokens."""
        return self.tokens[: self.known]


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return the length of the common prefix."""
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def diverged_rows(model: str, items: int, new_tokens: int) -> tuple[ForwardDriver, list[Answer]]:
    """Return the rows that diverge from their baseline, each known up to its first difference."""
    loaded = loading.load_model(loading.resolve_model(model), dtype="float32")
    head_map = find_heads(loaded.model)
    engine = LocalEngine(loaded.model, loaded.tokenizer, head_map)
    path: Any = engine.path
    jobs = jobs_of(engine, queries(items, new_tokens), every_head(head_map))
    rows = []
    for index, replies in path.answer(jobs):
        draft = jobs[index].draft
        for tokens in (reply.tokens for reply in replies if reply.tokens != draft):
            rows.append(Answer(index, jobs[index].prompt_length, tokens, min(len(tokens), common(tokens, draft) + 1)))
    return path.driver, rows


def pass_seconds(driver: ForwardDriver) -> dict[int, float]:
    """Return the median time of a pass by its rows, each of which is fed one token after :data:`CONTEXT` others."""
    medians = {}
    with torch.inference_mode(), driver.driving():
        for rows in (1, 4, 16, 64, 256, 1024):
            cache, times = KVCache(len(driver.blocks), CONTEXT + 1, rows=rows), []
            ids = torch.ones(rows, CONTEXT, dtype=torch.long, device=next(driver.model.parameters()).device)
            driver.run(ids, cache, PassPlan(logits_at=slice(-1, None)))
            cache.length = CONTEXT
            for _ in range(5):
                started = time.perf_counter()
                driver.run(ids[:, :1], cache, PassPlan())
                times.append(time.perf_counter() - started)
            medians[rows] = statistics.median(times)
    return medians


class PassTimes:
    """The time of a pass by its number of tokens, interpolated log-log between the measured sizes."""

    def __init__(self, measured: dict[int, float]) -> None:
        self.measured = sorted(measured.items())

    def seconds(self, tokens: int) -> float:
        """Return the time in seconds of *tokens*, in as many passes as they need."""
        if tokens > MOST:
            return self.seconds(MOST) + self.seconds(tokens - MOST)
        last, longest = self.measured[-1]
        if tokens >= last:
            return longest * tokens / last
        for (few, short), (many, long) in zip(self.measured, self.measured[1:], strict=False):
            if few <= tokens <= many:
                share = math.log(tokens / few) / math.log(many / few)
                return short * math.exp(share * math.log(long / short))
        return 0.0

    def in_step(self, rows: Iterable[Answer]) -> float:
        """Return the seconds of decoding *rows* to their ends; rows of equal length share a pass."""
        passes = Counter(row.prompt + position for row in rows for position in range(row.known, len(row.tokens)))
        return sum(map(self.seconds, passes.values()))


def by_drafts(rows: Iterable[Answer], times: PassTimes, window: int) -> dict[str, Any]:
    """Return the estimated time of verifying *rows* against each other's answers, *window* tokens at a time."""
    answers: dict[int, list[tuple[int, ...]]] = {}
    unfinished = [replace(row) for row in rows if row.known < len(row.tokens)]
    leading = verifying = 0.0
    leaders = []
    while unfinished:
        first: dict[tuple[int, tuple[int, ...]], Answer] = {}
        for row in unfinished:
            first.setdefault((row.job, row.beginning), row)
        leading += times.in_step(first.values())
        leaders.append(len(first))
        for row in first.values():
            answers.setdefault(row.job, []).append(row.tokens)
            row.known = len(row.tokens)
        while drafted := [(row, draft) for row in unfinished if (draft := _draft(row, answers[row.job]))]:
            fed: Counter[int] = Counter()
            for row, draft in drafted:
                fed[row.prompt + row.known] += min(window, len(draft) - row.known)
                row.known = min(len(row.tokens), row.known + window, common(row.tokens, draft) + 1)
            verifying += sum(map(times.seconds, fed.values()))
        unfinished = [row for row in unfinished if row.known < len(row.tokens)]
    return {"leaders by round": leaders, "leading_s": leading, "verifying_s": verifying, "s": leading + verifying}


def _draft(row: Answer, answers: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return a known answer that continues the known tokens of *row*."""
    if row.known >= len(row.tokens):
        return None
    return next((known for known in answers if len(known) > row.known and known[: row.known] == row.beginning), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--items", type=int, default=3, help="of the 22 built-in items, evenly spread")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    driver, rows = diverged_rows(options.model, options.items, options.new_tokens)
    measured = pass_seconds(driver)
    times = PassTimes(measured)
    result: dict[str, Any] = {
        "model": options.model,
        "items": options.items,
        "rows that differ": len(rows),
        "their distinct answers": len({(row.job, row.tokens) for row in rows}),
        "tokens to decode": sum(len(row.tokens) - row.known for row in rows),
        "seconds of a pass by rows": measured,
        "in step, s": times.in_step(rows),
        "by drafts": {},
    }
    for window in (2, 4, 8):
        result["by drafts"][f"{window} tokens at a time"] = by_drafts(rows, times, window)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
