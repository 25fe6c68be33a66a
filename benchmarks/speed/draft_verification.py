"""What it would gain to verify targets against each other's answers instead of decoding them all in step.

    python -m benchmarks.speed.draft_verification --model smollm2 --items 3

Of the rows that leave the baseline, many give the same answer. So one row of each kind could be decoded (a leader), and
the others be verified against what it said, some tokens at a time; those that leave it, too, would look for another
known answer that begins like theirs, or lead the next round. Here a sweep gives every answer, passes of 1 to 1,024 rows
are timed on the model, and both ways are counted out: their passes by position, each at what a pass of its size takes.
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
from reasoning_probe.engine.engine import Engine
from reasoning_probe.engine.fast.forward import ForwardDriver, PassPlan
from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head

BEHIND = 40
"""Tokens before those of a timed pass."""

MOST = 2_500
"""Tokens of a pass at most, as the engine's chunks have them on a CPU."""


@dataclass
class Answer:
    """The tokens that a row answers with, and how many of them are known by now."""

    job: int
    prompt: int
    tokens: tuple[int, ...]
    known: int

    @property
    def beginning(self) -> tuple[int, ...]:
        """What is known."""
        return self.tokens[: self.known]


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def strays(model: str, items: int, new_tokens: int) -> tuple[ForwardDriver, list[Answer]]:
    """Return the rows that leave their baseline, each known up to its first difference."""
    loaded = loading.load_model(loading.resolve_model(model), dtype="float32")
    head_map = find_heads(loaded.model)
    engine = Engine(loaded.model, loaded.tokenizer, head_map)
    way: Any = engine.path
    jobs = jobs_of(engine, queries(items, new_tokens), every_head(head_map))
    found = []
    for at, replies in way.answer(jobs):
        draft = jobs[at].draft
        for tokens in (reply.tokens for reply in replies if reply.tokens != draft):
            found.append(Answer(at, jobs[at].prompt_length, tokens, min(len(tokens), common(tokens, draft) + 1)))
    return way.driver, found


def pass_seconds(driver: ForwardDriver) -> dict[int, float]:
    """Return the median time of a pass by its rows, each fed one token behind :data:`BEHIND` others."""
    found = {}
    with torch.inference_mode(), driver.driving():
        for rows in (1, 4, 16, 64, 256, 1024):
            kv_cache, each = KVCache(len(driver.blocks), BEHIND + 1, rows=rows), []
            ids = torch.ones(rows, BEHIND, dtype=torch.long, device=next(driver.model.parameters()).device)
            driver.run(ids, kv_cache, PassPlan(logits_at=slice(-1, None)))
            kv_cache.length = BEHIND
            for _ in range(5):
                started = time.perf_counter()
                driver.run(ids[:, :1], kv_cache, PassPlan())
                each.append(time.perf_counter() - started)
            found[rows] = statistics.median(each)
    return found


class Clock:
    """How long passes take, by their tokens: between the measured sizes in proportion, by logarithms."""

    def __init__(self, measured: dict[int, float]) -> None:
        self.measured = sorted(measured.items())

    def seconds(self, tokens: int) -> float:
        """Return the time of *tokens*, in as many passes as they need."""
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
        """Return how long it takes to decode *rows* to their ends, those of one length in one pass."""
        passes = Counter(row.prompt + at for row in rows for at in range(row.known, len(row.tokens)))
        return sum(map(self.seconds, passes.values()))


def by_drafts(rows: Iterable[Answer], clock: Clock, window: int) -> dict[str, Any]:
    """Return what verifying *rows* against each other's answers would take, *window* tokens at a time."""
    answers: dict[int, list[tuple[int, ...]]] = {}
    unfinished = [replace(row) for row in rows if row.known < len(row.tokens)]
    leading = verifying = 0.0
    leaders = []
    while unfinished:
        first: dict[tuple[int, tuple[int, ...]], Answer] = {}
        for row in unfinished:
            first.setdefault((row.job, row.beginning), row)
        leading += clock.in_step(first.values())
        leaders.append(len(first))
        for row in first.values():
            answers.setdefault(row.job, []).append(row.tokens)
            row.known = len(row.tokens)
        while drafted := [(row, draft) for row in unfinished if (draft := _draft(row, answers[row.job]))]:
            fed: Counter[int] = Counter()
            for row, draft in drafted:
                fed[row.prompt + row.known] += min(window, len(draft) - row.known)
                row.known = min(len(row.tokens), row.known + window, common(row.tokens, draft) + 1)
            verifying += sum(map(clock.seconds, fed.values()))
        unfinished = [row for row in unfinished if row.known < len(row.tokens)]
    return {"leaders by round": leaders, "leading_s": leading, "verifying_s": verifying, "s": leading + verifying}


def _draft(row: Answer, answers: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return a known answer that goes on from what is known of *row*."""
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
    driver, rows = strays(options.model, options.items, options.new_tokens)
    measured = pass_seconds(driver)
    clock = Clock(measured)
    result: dict[str, Any] = {
        "model": options.model,
        "items": options.items,
        "rows that differ": len(rows),
        "their distinct answers": len({(row.job, row.tokens) for row in rows}),
        "tokens to decode": sum(len(row.tokens) - row.known for row in rows),
        "seconds of a pass by rows": measured,
        "in step, s": clock.in_step(rows),
        "by drafts": {},
    }
    for window in (2, 4, 8):
        result["by drafts"][f"{window} tokens at a time"] = by_drafts(rows, clock, window)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
