"""A gate that holds a run to an earlier one, and what is wrong with the settings of a gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_probe.results.run import read_run
from tests.helpers.planted_model import CARRIER, MAX
from tests.helpers.project import Project, gate_lines


def reference(project: Project, right: set[str] | None = None, path: str = "reference.jsonl") -> Path:
    """Make a reference of the planted model's answers to logic, of which *right* are called right."""
    project.run(f"--probe-reference={path}", "--probe-update-reference", "--probe-dir=first")
    file = project.path / path
    if right is not None:
        answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        text = "".join(json.dumps(line | {"correct": line["item"] in right}) + "\n" for line in answers)
        file.write_text(text, encoding="utf-8")
    return file


def test_a_run_like_the_reference_passes(project: Project) -> None:
    project.probe("logic")
    reference(project)
    result = project.run("--probe-reference=reference.jsonl")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, xfailed=1)
    assert gate_lines(result) == [
        "gate passed: logic: accuracy did not drop (0 lost, 0 won of 4 items), at most 5 points allowed, p 1"
    ]


def test_a_drop_fails_and_its_significance_is_printed(project: Project) -> None:
    project.probe("logic")
    reference(project, {MAX, "converse-leo-poet", "exclusion-mia-cat", "compare-tom-taller"})
    result = project.run("--probe-reference=reference.jsonl")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate_lines(result) == [
        "gate FAILED: logic: accuracy dropped by 25 points (1 lost, 0 won of 4 items), at most 5 points allowed, p 1",
        "gate: 1 answer to logic got worse: converse-leo-poet.",
    ]
    (worse,) = project.summary()["gate"]["regressions"]
    assert (worse["item"], worse["expected"], worse["answer"]) == ("converse-leo-poet", "Unknown", "yes")
    allowed = project.run("--probe-reference=reference.jsonl", "--probe-max-drop=0.25")
    assert allowed.ret == pytest.ExitCode.OK


def test_both_kinds_of_limit_may_be_given(project: Project) -> None:
    project.probe("logic")
    reference(project)
    result = project.run("--probe-reference=reference.jsonl", "--probe-min-accuracy=0.9")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert [line.split(": ")[0] for line in gate_lines(result)] == ["gate FAILED", "gate passed"]


def test_an_earlier_runs_folder_is_a_reference(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-layers", "--probe-dir=main")
    result = project.run("--probe-reference=main")
    assert result.ret == pytest.ExitCode.OK
    assert gate_lines(result)[0].startswith("gate passed: logic: accuracy did not drop (0 lost, 0 won of 4 items)")


def test_the_reference_is_updated_and_told(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-reference=made", "--probe-update-reference")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines([f"reasoning-probe: reference: {project.path / 'made'} was updated"])
    assert read_run(project.path / "made").summary["datasets"]["logic"]["correct"] == 3


def test_a_run_that_fails_the_gate_or_ended_early_is_no_reference(project: Project) -> None:
    project.probe("logic")
    file = reference(project)
    before = file.read_bytes()
    update = ("--probe-reference=reference.jsonl", "--probe-update-reference")
    result = project.run(*update, "--probe-min-accuracy=0.9")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"reasoning-probe: {file} was not updated: the gate failed"])
    text = (project.path / "test_logic.py").read_text(encoding="utf-8")
    project.write("test_logic.py", text.replace("assert", "assert answer.item != 'exclusion-mia-cat', 1\n    assert"))
    result = project.run(*update, "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"reasoning-probe: {file} was not updated: the run ended early"])
    assert file.read_bytes() == before


def refused(result: pytest.RunResult) -> str:
    """Return the one line with which a session ended before anything was computed."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    everything = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in everything
    assert "INTERNALERROR" not in everything
    (line,) = [
        line for line in [*result.outlines, *result.errlines] if line.startswith("ERROR: ") and "usage" not in line
    ]
    return line.removeprefix("ERROR: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probe-max-drop=0.1"], "--probe-max-drop needs a reference: name it with --probe-reference"),
        (["--probe-update-reference"], "--probe-update-reference needs a reference: name it with --probe-reference"),
        (
            ["--probe-reference=none"],
            "--probe-reference: there is no reference {}/none: --probe-update",
        ),
        (["--probe-reference=none.jsonl"], "--probe-reference: there is no reference {}/none.jsonl"),
        (["--probe-reference=reports"], "--probe-reference: this run writes to {}/reports: name another --probe-dir"),
        (["--probe-reference=reports/outcomes.jsonl"], "--probe-reference: this run writes to {}/reports/outcomes"),
        (["--probe-min-accuracy=colours=0.5"], "--probe-min-accuracy: no probe asks for a dataset 'colours'"),
        (
            ["--probe-reference=new", "--probe-update-reference", "-k", "max"],
            "--probe-update-reference takes whole datasets: select all of their items",
        ),
        (
            ["--probe-reference=new", "--probe-update-reference", "--probe-shard=1/2"],
            "--probe-update-reference takes whole datasets: leave out --probe-shard",
        ),
    ],
)
def test_bad_settings_are_one_line(project: Project, options: list[str], message: str) -> None:
    project.probe("logic")
    assert refused(project.run(*options)).startswith(message.format(project.path))
    assert not (project.path / "reports").exists()


GOOD = {
    "dataset": "logic",
    "item": MAX,
    "target": "baseline",
    "question": "All dogs are animals. Max is a dog. Is Max an animal?",
    "expected": "Yes",
    "answer": "yes",
    "correct": True,
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no answers"),
        (b"\n\n", "holds no answers"),
        (b"{", "line 1 is not JSON"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b"[]", "line 1: a list is not what belongs here"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b'{"dataset": "logic"}', "line 1: item is missing"),
        (json.dumps(GOOD | {"correct": 1}).encode(), "line 1: correct: 1 is not what belongs here"),
        (json.dumps(GOOD | {"answer": [[]]}).encode(), "line 1: answer: a list is not what belongs here"),
        ((json.dumps(GOOD) + "\n").encode() * 2, f"line 2: logic has {MAX} twice"),
        (json.dumps(GOOD | {"target": "L0H0"}).encode(), "holds no answers"),
        (json.dumps(GOOD | {"dataset": "\x1b[31m\ud800"}).encode(), "was made from other items: it holds no items of"),
        (json.dumps(GOOD).encode(), "was made from other items: of logic it lacks 3 items (such as exclusion-mia-cat)"),
    ],
)
def test_a_reference_that_is_none_is_one_line(project: Project, content: bytes, message: str) -> None:
    project.probe("logic")
    (project.path / "reference.jsonl").write_bytes(content)
    line = refused(project.run("--probe-reference=reference.jsonl"))
    assert line.startswith("--probe-reference: ")
    assert message in line
    assert line.isprintable()


def test_other_items_are_an_input_error(project: Project) -> None:
    project.probe("logic", "arithmetic")
    reference(project)
    message = refused(project.run("--probe-reference=reference.jsonl", "--probe-items=2"))
    difference = "of arithmetic it lacks 2 items (such as add-63-11), holds 8 items more (such as add-5-3)"
    assert message.startswith(
        f"--probe-reference: {project.path}/reference.jsonl was made from other items: {difference};"
    )
    assert message.endswith("ask the same ones, or replace it with --probe-update-reference")


def test_what_is_deselected_need_not_be_in_the_reference(project: Project) -> None:
    project.probe("logic")
    reference(project)
    project.probe("arithmetic")
    assert project.run("--probe-reference=reference.jsonl", "-k", "logic").ret == pytest.ExitCode.OK
    assert "it holds no items of arithmetic" in refused(project.run("--probe-reference=reference.jsonl"))


def test_the_ini_file_sets_a_gate(project: Project) -> None:
    """A relative reference starts at its folder, and names of datasets of other folders' probes are no error."""
    project.probe("logic")
    reference(project)
    project.pytester.makeini(
        "[pytest]\nprobe_min_accuracy = logic=0.9, colours=0.5\n"
        "probe_reference = reference.jsonl\nprobe_max_drop = 0.3\n"
    )
    (project.path / "below").mkdir()
    (project.path / "test_logic.py").rename(project.path / "below" / "test_logic.py")
    project.pytester.chdir()
    result = project.run("below", "--rootdir=.")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate_lines(result) == [
        "gate FAILED: logic: 3 of 4 right (75 %), at least 90 % required",
        "gate passed: logic: accuracy did not drop (0 lost, 0 won of 4 items), at most 30 points allowed, p 1",
        "gate: No item of colours was asked.",
    ]


def test_a_gate_in_the_ini_file_leaves_sessions_without_probes_alone(project: Project) -> None:
    project.pytester.makeini("[pytest]\nprobe_min_accuracy = 0.9\nprobe_reference = gone.jsonl\n")
    project.write("test_plain.py", "def test_plain(): pass\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.OK
    assert gate_lines(result) == []
    assert "reasoning-probe: " not in result.stdout.str()


def test_under_xdist_other_items_are_one_line(project: Project) -> None:
    project.probe("logic")
    (project.path / "reference.jsonl").write_text(json.dumps(GOOD), encoding="utf-8")
    line = refused(project.run_apart("--probe-reference=reference.jsonl", "-n2"))
    assert "was made from other items: of logic it lacks 3 items" in line
    assert not (project.path / "reports").exists()


def shards(project: Project, *options: str) -> Path:
    """Run logic and arithmetic in two shards and return the folder of the merged run."""
    from reasoning_probe.cli import main

    project.probe("logic", "arithmetic")
    parts = []
    for number in (1, 2):
        parts.append(f"{project.path}/part-{number}")
        project.run(f"--probe-shard={number}/2", f"--probe-dir=part-{number}", "--probe-min-accuracy=1", *options)
    assert main(["merge", *parts, "-o", str(project.path / "whole")]) == 0
    return project.path / "whole"


def test_merged_shards_are_judged_on_the_command_line(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from reasoning_probe.cli import main

    whole = shards(project)
    assert "gate" not in read_run(whole).summary
    capsys.readouterr()
    assert main(["gate", str(whole), "--min-accuracy", "0.75"]) == 0
    assert read_run(whole).summary["gate"]["passed"] is True
    assert main(["gate", str(whole), "--min-accuracy", "arithmetic=0.9,0.5"]) == 1
    assert main(["show", str(whole)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("gate passed: logic: 3 of 4 right (75 %), at least 75 % required") == 1
    # "show" prints it, too
    assert printed.count("gate FAILED: arithmetic: 7 of 8 right (87.5 %), at least 90 % required") == 2


def test_a_reference_on_the_command_line(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from reasoning_probe.cli import main

    whole = shards(project)
    project.run("--probe-dir=main")
    assert main(["gate", str(whole), "--reference", str(project.path / "main"), "--max-drop=0"]) == 0
    assert "logic: accuracy did not drop (0 lost, 0 won of 4 items), at most 0" in capsys.readouterr().out
    project.run("--probe-dir=other", "--probe-items=6")
    assert main(["gate", str(whole), "--reference", str(project.path / "other")]) == 2
    assert "was made from other items: of " in capsys.readouterr().err


def test_shards_of_a_selection_are_not_judged_as_the_whole(project: Project) -> None:
    from reasoning_probe.cli import main

    whole = shards(project, "-k", "logic or add")
    assert main(["gate", str(whole), "--min-accuracy", "0.5"]) == 1
    gate = read_run(whole).summary["gate"]
    assert {check["dataset"]: check["passed"] for check in gate["checks"]} == {"arithmetic": None, "logic": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing is asked of the run: give --min-accuracy or --reference"),
        (["--min-accuracy", "colours=0.5"], "has no dataset 'colours': it has logic"),
        (["--reference", "none"], "there is no reference none: "),
    ],
)
def test_bad_input_on_the_command_line_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    from reasoning_probe.cli import main

    project.probe("logic")
    project.run()
    capsys.readouterr()
    assert main(["gate", str(project.path / "reports"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reasoning-probe: ")
    assert message in line
    with pytest.raises(SystemExit):
        main(["gate", str(project.path / "reports"), "--min-accuracy", "90"])
    assert "write a number from 0 to 1, such as 0.9" in capsys.readouterr().err


def test_under_xdist_the_controller_decides(project: Project) -> None:
    project.probe("logic", "arithmetic")
    reference(project)
    options = ("--probe-heads", CARRIER, "--probe-reference=reference.jsonl", "--probe-min-accuracy=arithmetic=0.9,0.5")
    alone = project.run(*options)
    assert alone.ret == pytest.ExitCode.TESTS_FAILED
    gate = project.summary()["gate"]
    result = project.run_apart(*options, "-n2", "--probe-dir=shared")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(
        **{key: count for key, count in alone.parseoutcomes().items() if key in ("passed", "xfailed")}
    )
    assert gate_lines(result) == gate_lines(alone)
    assert project.summary("shared")["gate"] == gate
