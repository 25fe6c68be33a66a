"""Tests that batched answers to many questions equal those that a session gives one by one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.accuracy import batch_responses
from reasoning_probe.data import datasets
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.tokenization import TokenCodec
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.results.answer import judge_answer

ROWS = [{"question": f"What is {a} + {b}?", "answer": f"{a} + {b} = <<{a}+{b}={a + b}>>\n#### {a + b}"} for a, b in
        [(5, 3), (12, 30), (7, 7), (41, 8), (9, 0), (25, 25), (3, 44), (60, 2), (18, 11), (1, 1), (33, 9)]]  # fmt: skip


@pytest.mark.parametrize(("shots", "different"), [(0, 6), (1, 1)])
def test_answers_are_those_of_a_session(
    shots: int, different: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "items.jsonl", tmp_path / "responses.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    monkeypatch.setattr(batch_responses, "ROWS", 4)
    line = ["responses", str(path), str(out), "--model=tiny-reasoner", f"--shots={shots}", "--max-new-tokens=12"]
    monkeypatch.setattr(sys, "argv", [*line, "--seconds=0"])
    batch_responses.main()
    assert len(out.read_text().splitlines()) == 4
    monkeypatch.setattr(sys, "argv", line)
    batch_responses.main()
    rows = {row["item"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert len(rows) == len(ROWS) == len(datasets.read("gsm8k", path).items)

    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"))
    engine = LocalEngine(loaded.model, loaded.tokenizer, find_heads(loaded.model))
    queries = batch_responses.queries(path, shots, 12, loaded.tokenizer)
    assert len({len(TokenCodec(loaded.model, loaded.tokenizer).ids(query.prompt)) for query in queries}) > 1
    answers = [answer for batch in engine.run([SweepRequest(query) for query in queries]) for answer in batch]
    alone = [answer.judged(judge_answer(answer)) for answer in answers]
    assert len({one.response for one in alone}) >= different
    for one in alone:
        row = rows[one.item]
        assert (row["prompt"], row["response"]) == (one.prompt, one.response)
        assert (row["truncated"], row["answer"], row["correct"]) == (one.truncated, one.answer, one.correct)
