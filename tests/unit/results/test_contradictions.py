"""What ``run.json`` and the outcomes say of the same thing must be the same, or the run is refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.results.run import RunError, read_run, sha256, write_run
from tests.helpers.fake_runs import as_run, outcome

OUTCOMES = [
    outcome(item="a"),
    outcome(item="a", target="L0H0", correct=False, answer="7", category="off_by_one", kind="above"),
    outcome(item="b", correct=False, answer="7", category="off_by_one", kind="above"),
    outcome(item="b", target="L0H0"),
]
Summary = dict[str, Any]
Lines = list[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path, as_run(OUTCOMES))
    return tmp_path


def edit(folder: Path, change: Callable[[Summary, Lines], object]) -> None:
    """Change the two files as somebody would who mends the digest, too."""
    summary = json.loads((folder / "run.json").read_text("utf-8"))
    lines = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text("utf-8").splitlines()]
    change(summary, lines)
    outcomes = "".join(json.dumps(line) + "\n" for line in lines)
    summary["engine"]["outcomes_sha256"] = sha256(outcomes.encode())
    (folder / "outcomes.jsonl").write_text(outcomes, "utf-8")
    (folder / "run.json").write_text(json.dumps(summary), "utf-8")


def test_an_edit_that_contradicts_nothing_is_read(folder: Path) -> None:
    edit(folder, lambda summary, lines: lines[0].update(response=" so 8"))
    assert read_run(folder).outcomes[0].response == " so 8"


def test_a_pipe_in_place_of_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="Not a directory"):
        read_run(tmp_path / "pipe")


def count_a_baseline_twice(summary: Summary, lines: Lines) -> None:
    """Add the right answer again as if it were ablated, so that the gate would count it twice."""
    lines.append(lines[0] | {"ablation": "zero"})
    summary["datasets"]["arithmetic"].update(items=3, correct=2, accuracy=2 / 3)


def gate(value: float, passed: bool, whole: bool) -> Summary:
    check = {"dataset": "arithmetic", "rule": "min-accuracy", "limit": 0.9, "value": value, "passed": passed}
    return {"passed": whole, "checks": [check | {"line": "", "p_value": None}], "notes": [], "regressions": []}


def card(**example: object) -> Summary:
    """Return a card of the head with one example, whose attention is on two tokens."""
    values: Summary = {"item": "a", "position": 1, "token_on": "8", "token_off": "7", "direct": None}
    values |= {"tokens": ["5", " +"], "attention": [0.5, 0.5], "pattern": [[100], [50, 50]]} | example
    texts = {"target": "L0H0", "dataset": "arithmetic", "ablation": "zero", "sentence": "", "note": None}
    return {**texts, "behaviour": [], "mistakes": {}, "overlap": [], "examples": [values]}


def test_a_card_whose_example_is_whole_is_read(folder: Path) -> None:
    edit(folder, lambda summary, lines: summary.update(heads=[card()]))
    assert read_run(folder).head("L0H0").examples


SKIP = {"dataset": "arithmetic", "item": "c", "reason": "too long"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (count_a_baseline_twice, "holds arithmetic a under baseline with the ablation zero"),
        (lambda summary, lines: lines[1].update(question="?"), "two questions or expected answers of arithmetic a"),
        (lambda summary, lines: lines[3].update(expected="7"), "two questions or expected answers of arithmetic b"),
        (lambda summary, lines: summary["skipped"].append(SKIP | {"item": "a"}), "arithmetic a was skipped and answer"),
        (lambda summary, lines: summary["skipped"].extend([SKIP, SKIP]), "arithmetic c was skipped twice"),
        (lambda summary, lines: summary["targets"][0].update(flips_to_right=0), "1 of .* under L0H0 turned right"),
        (lambda summary, lines: summary["targets"][0].update(delta=0.5), "an effect of 0.5 of arithmetic under L0H0"),
        (lambda summary, lines: summary.update(gate=gate(0.5, True, True)), "the gate's verdict on arithmetic"),
        (lambda summary, lines: summary.update(gate=gate(0.5, False, True)), "verdict is not that of its checks"),
        (lambda summary, lines: summary.update(heads=[card(tokens=["5"])]), "the attention of L0H0 in an example"),
        (lambda summary, lines: summary.update(heads=[card(attention=[])]), "the attention of L0H0 in an example"),
        (lambda summary, lines: summary.update(heads=[card(pattern=[[1], [1]])]), "the attention of L0H0 in an exam"),
        (lambda summary, lines: summary.update(heads=[card(pattern=[[1]] * 9)]), "the attention of L0H0 in an exam"),
    ],
)
def test_a_contradiction_is_refused(folder: Path, change: Callable[[Summary, Lines], object], line: str) -> None:
    edit(folder, change)
    with pytest.raises(RunError, match=f"{line}.*: the two are not of one run, or one of them was changed"):
        read_run(folder)
