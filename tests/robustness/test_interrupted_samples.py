"""Sessions with sampled answers and with thoughts that are interrupted, and the same command after them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project import Project

OPTIONS = ("--model=tiny-reasoner", "--probe-heads=L0H1,L1H3,L1", "--probe-items=4")
SAMPLES = ("--probe-samples=3", "--probe-top-p=0.9")
THOUGHTS = ("--probe-think-tokens=10", "--probe-template=think.txt")

INTERRUPTED = """
import os
from reasoning_probe.engine.cache.store import OutcomeCache

put, stored = OutcomeCache.put, []

def put_and_end(self, answers):
    put(self, answers)
    stored.extend(answers)
    if {most} <= len(stored) < {most} + len(answers):
        os.kill(os.getpid(), {number})

OutcomeCache.put = put_and_end
"""


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the outcomes of a run; the log-probabilities of another batch differ by its noise."""
    text = (folder / "outcomes.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) | {"answer_logprob": None} for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize("options", [SAMPLES, THOUGHTS, (*SAMPLES, *THOUGHTS)], ids=["samples", "thoughts", "both"])
def test_an_interrupted_session_goes_on_where_it_was_and_ends_like_any_other(
    project: Project, options: tuple[str, ...], number: signal.Signals
) -> None:
    project.probe("arithmetic")
    project.write("think.txt", "Question: {question}\n<think>")
    project.run(*OPTIONS, *options, "--probe-cache=off", "--probe-dir=whole")
    whole = lines(project.path / "whole")
    project.write("conftest.py", INTERRUPTED.format(most=7, number=int(number)))
    ended = project.run_apart(*OPTIONS, *options)
    assert ended.ret not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    project.write("conftest.py", "")
    project.run(*OPTIONS, *options)
    assert lines(project.path / "reports") == whole
    summary = project.summary()
    assert summary["engine"]["recalled"] >= 1
    assert summary["engine"]["rows"] > 0, "it was not interrupted in the middle"
    assert "partial" not in summary
