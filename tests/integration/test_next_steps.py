"""How a run says it was made, and what to run next: commands that run, and what changed since a gate's reference."""

from __future__ import annotations

import json
import shlex

import pytest

from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.next_steps import next_steps, repeat_command
from reasoning_probe.report.sentences import accuracy_sentence
from reasoning_probe.results.run import read_run
from tests.helpers.html_pages import Page
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project, gate_lines


def test_a_run_records_how_it_was_started(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "0123abc")
    project.probe("logic")
    project.run("--probe-heads", CARRIER)
    invocation = project.summary()["invocation"]
    words = shlex.split(invocation["command"])
    assert words[0] == "pytest"
    assert words[-2:] == ["--probe-heads", CARRIER]
    assert invocation["commit"] == "0123abc"
    assert invocation["started"].endswith("+00:00")
    assert [len(digest) for digest in invocation["prompts"].values()] == [64]


@pytest.mark.parametrize(
    ("options", "added"),
    [
        (["--ablate-heads", "--probe-items=12"], "--probe-items logic="),
        (
            ["--ablate-heads", "--probe-dataset=logic=arithmetic:digits=1,steps=2", "--probe-items=40"],
            "--ablation mean",
        ),
        ([], "--ablate-heads"),
        (["--probe-heads=L0", "--ablation=zero,mean"], ""),
    ],
    ids=["few-items", "named", "nothing-off", "one-layer"],
)
def test_the_commands_of_a_verdict_run(project: Project, options: list[str], added: str) -> None:
    project.probe("logic")
    project.run(*options)
    steps = next_steps(read_run(project.path / "reports"))
    assert any(added in step.options for step in steps)
    for step in steps:
        result = project.pytester.runpytest_inprocess(*shlex.split(step.command)[1:], "--probe-dir=next")
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), step.command


@pytest.mark.parametrize("path", ["reference.jsonl", "reference"])
def test_a_gate_says_what_changed_since_its_reference(project: Project, path: str) -> None:
    project.probe("logic")
    project.run(f"--probe-reference={path}", "--probe-update-reference", "--probe-dir=first")
    assert "gate: Changed" not in str(gate_lines(project.run(f"--probe-reference={path}")))
    project.write("other.txt", "Q: {question}\nA:")
    result = project.run(f"--probe-reference={path}", "--probe-template=other.txt")
    (changed,) = [line for line in gate_lines(result) if line.startswith("gate: ")]
    assert changed == "gate: Changed since the reference: logic stop, prompting template and prompts of logic."
    run = read_run(project.path / "reports")
    assert run.summary["gate"] is not None
    shown = Page(standalone_page(run)).text
    assert "The reference was made on 20" in shown
    assert f"of {len(run.outcomes)}, was " in shown
    assert "Settings that differ from the reference's" in shown


def test_what_fell_is_listed_by_mistake_with_both_answers_and_a_command(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-reference=reference.jsonl", "--probe-update-reference", "--probe-dir=first")
    file = project.path / "reference.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    better = [line | ({"correct": True, "answer": line["expected"]} if line["item"] else {}) for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in better), encoding="utf-8")
    project.run("--probe-reference=reference.jsonl")
    run = read_run(project.path / "reports")
    worse = (run.summary["gate"] or {})["regressions"]  # type: ignore[typeddict-item]
    assert worse
    assert all(item["before"] == item["expected"] != item["answer"] for item in worse)
    shown = Page(standalone_page(run)).text
    assert "Ask just these again:" in shown
    command = repeat_command(run, [item["item"] for item in worse])
    assert command is not None
    project.pytester.runpytest_inprocess(*shlex.split(command)[1:], "--probe-dir=again")
    assert project.computed("again") == {(item["item"], "baseline") for item in worse}
    assert shown.index("Gate failed") < shown.index(accuracy_sentence(run))
