"""Skipped probes are neither asked nor counted, and no gate judges them: by mark, in a fixture, in the body, by hooks.

The planted model answers three of the logic items right; ``converse-leo-poet`` is the wrong one.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.helpers.planted_model import RIGHT_LOGIC, WRONG_LOGIC
from tests.helpers.project import Project, gate_lines

(LEO,) = WRONG_LOGIC
RIGHT = set(RIGHT_LOGIC)

PROBE = """
import unittest
import pytest
import reasoning_probe as rp

{before}
@rp.probe("logic")
def test_logic(answer, item, ablation{fixtures}):
    {body}
    assert answer.correct
"""

MARKS = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "leo" in item.nodeid {more}:
            item.add_marker(pytest.mark.{mark})
"""

FIXTURE = """
import pytest

@pytest.fixture(autouse=True)
def no_leo(item):
    if "leo" in item.id:
        pytest.skip("not today")
"""

SETUP = """
import pytest

def pytest_runtest_setup(item):
    if "leo" in item.nodeid:
        pytest.skip("not today")
"""


def probe(before: str = "", body: str = "pass", fixtures: str = "") -> str:
    return PROBE.format(before=before, body=body, fixtures=fixtures)


def marks(mark: str = "skip(reason='not today')", more: str = "") -> str:
    return MARKS.format(mark=mark, more=more)


WAYS = {
    "mark skip by conftest": ("", marks()),
    "mark skipif by conftest": ("", marks("skipif(True, reason='not today')")),
    "mark skipif with a string by conftest": ("", marks("skipif('1 < 2', reason='not today')")),
    "fixture": ("", FIXTURE),
    "fixture that wants the answer first": ("", FIXTURE.replace("item)", "answer, item)")),
    "setup hook": ("", SETUP),
    "body": ("if 'leo' in item.id: pytest.skip('not today')", ""),
    "body by unittest": ("if 'leo' in item.id: raise unittest.SkipTest('not today')", ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_skipped_wrong_answer_is_not_judged_and_not_in_the_files(project: Project, way: str) -> None:
    body, conftest = WAYS[way]
    project.write("test_logic.py", probe(body=body or "pass"))
    project.write("conftest.py", conftest)
    result = project.run("--probe-min-accuracy=1", "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.assert_outcomes(passed=3, skipped=1)
    assert gate_lines(result) == [
        "gate passed: logic: 3 of 3 right (100 %, 1 skipped by their tests), at least 100 % required"
    ]
    assert {item for item, _ in project.computed()} == RIGHT
    summary = project.summary()
    assert (summary["datasets"]["logic"]["items"], summary["datasets"]["logic"]["correct"]) == (3, 3)
    assert summary["skipped_tests"] == {"logic": [LEO]}
    assert "partial" not in summary
    suite = ElementTree.parse(project.path / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "0", "1")  # the gate's among them


@pytest.mark.parametrize("mark", ["skip", "skipif(True, reason='x')", "skipif('True', reason='x')"])
def test_what_a_mark_skips_is_not_asked(project: Project, mark: str) -> None:
    project.write("test_logic.py", probe(body="raise KeyError"))
    project.write("conftest.py", marks(mark))
    result = project.run("--probe-heads", "L1H2", "-v")
    result.stdout.fnmatch_lines(["reasoning-probe: * 3 items, 6 cases"])
    assert project.summary()["engine"]["recalled"] == 0
    store = project.run("--co", "-q")
    assert store.ret == 0
    project.write("conftest.py", "")
    project.run("--probe-heads", "L1H2")
    assert project.summary()["engine"]["recalled"] == 6  # leo's two cases were not in the store


@pytest.mark.parametrize("before", ["@pytest.mark.skip", "@unittest.skip('x')", "pytestmark = pytest.mark.skip\n"])
def test_where_everything_is_skipped_nothing_is_loaded_and_a_gate_fails(project: Project, before: str) -> None:
    project.write("test_logic.py", probe(before=before))
    result = project.run("--model", "no/such-model")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(skipped=4)
    assert not (project.path / "reports").exists()
    result = project.run("--model", "no/such-model", "--probe-min-accuracy=0.5", page=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["reasoning-probe: the gate judged nothing, since no question was asked"])
    assert not (project.path / "reports" / "run.json").exists()


def test_a_skip_that_a_mark_cannot_decide_fails_its_test(project: Project) -> None:
    project.write("test_logic.py", probe())
    project.write("conftest.py", marks("skipif('no_such_name', reason='x')"))
    project.run().assert_outcomes(passed=3, errors=1)


def test_variants_of_a_skipped_item_are_left_out(project: Project) -> None:
    project.write("test_logic.py", probe(body="if 'leo' in item.id: pytest.skip('x')"))
    result = project.run("--ablate-heads", "--probe-min-accuracy=1")
    assert result.ret == pytest.ExitCode.OK
    assert {item for item, _ in project.computed()} == RIGHT
    assert len(project.outcomes()) == 3 * 9
    assert all(row["items"] == 3 for row in project.summary()["targets"])
    assert "partial" not in project.summary()


def test_curves_and_control_task_are_measured_without_skipped_items(project: Project) -> None:
    items = [{"id": f"i{n}", "question": f"What colour is the sky? {n}", "answer": "blue"} for n in range(10)]
    project.write("colours.jsonl", "\n".join(map(json.dumps, items)))
    skips = probe(body="if item.id == 'i3': pytest.skip('x')")
    project.write("test_colours.py", skips.replace('"logic"', '"colours.jsonl"'))
    project.run("--ablate-heads")
    curves = project.summary()["curves"]
    assert curves
    assert {point["items"] for curve in curves for point in curve["points"]} <= set(range(1, 10))
    assert project.summary()["control"] is not None


@pytest.mark.parametrize("by", ["mark", "body"])
def test_a_skipped_baseline_stays_for_its_variants_and_is_not_judged(project: Project, by: str) -> None:
    if by == "mark":
        project.write("test_logic.py", probe())
        project.write("conftest.py", marks(more="and 'L1H' not in item.nodeid"))
    else:
        project.write("test_logic.py", probe(body="if 'leo' in item.id and ablation == 'baseline': pytest.skip('x')"))
    result = project.run("--probe-heads", "L1H2,L1H3", "--probe-min-accuracy=1")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert (LEO, "baseline") in project.computed()
    assert (LEO, "L1H2") in project.computed()
    summary = project.summary()
    assert summary["datasets"]["logic"]["items"] == 3
    assert {row["target"]: row["items"] for row in summary["targets"]} == {"L1H2": 4, "L1H3": 4}
    assert summary["skipped_tests"] == {"logic": [LEO]}
    assert not [entry for entry in summary["errors"] if entry["target"] == "baseline"]
    assert summary["gate"]["checks"][0]["value"] == 1


@pytest.mark.parametrize("by", ["mark", "body"])
def test_skipped_variants_leave_the_baseline_as_it_is(project: Project, by: str) -> None:
    if by == "mark":
        project.write("test_logic.py", probe())
        project.write("conftest.py", marks(more="and 'L1H2' in item.nodeid"))
    else:
        project.write("test_logic.py", probe(body="if 'leo' in item.id and ablation == 'L1H2': pytest.skip('x')"))
    project.run("--probe-heads", "L1H2,L1H3")
    assert {case for case in project.computed() if case[0] == LEO} == {(LEO, "baseline"), (LEO, "L1H3")}
    assert project.summary()["datasets"]["logic"]["items"] == 4
    assert "skipped_tests" not in project.summary()
    assert "partial" not in project.summary()


def test_skipped_variants_without_a_selected_baseline_leave_their_item_out(project: Project) -> None:
    project.write("test_logic.py", probe(body="if 'leo' in item.id: pytest.skip('x')"))
    result = project.run("--probe-heads", "L1H2", "-m", "ablated", "--probe-min-accuracy=1")
    assert result.ret == pytest.ExitCode.OK
    assert {item for item, _ in project.computed()} == RIGHT
    assert "partial" not in project.summary()


@pytest.mark.parametrize("way", ["mark skip by conftest", "body", "fixture", "setup hook"])
def test_under_xdist(project: Project, way: str) -> None:
    body, conftest = WAYS[way]
    project.write("test_logic.py", probe(body=body or "pass"))
    project.write("conftest.py", conftest)
    result = project.run_apart("--probe-min-accuracy=1", "-n2", "--probe-heads=L1H2")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert {item for item, _ in project.computed()} == RIGHT
    assert project.summary()["skipped_tests"] == {"logic": [LEO]}
    assert "partial" not in project.summary()


@pytest.mark.parametrize("way", ["mark skip by conftest", "body", "setup hook"])
def test_a_group_skips_whole_or_item_by_item(project: Project, way: str) -> None:
    body, conftest = WAYS[way]
    conftest = conftest.replace('"leo" in item.nodeid', "'L1H2' in item.nodeid")
    project.write("test_logic.py", probe(body=body or "pass").replace(", ablation", ""))
    project.write("conftest.py", conftest)
    result = project.run("--probe-granularity=head", "--probe-heads", "L1H2,L1H3", "--probe-min-accuracy=1")
    if way == "body":
        assert result.ret == pytest.ExitCode.OK
        assert {item for item, _ in project.computed()} == RIGHT
        assert project.summary()["skipped_tests"] == {"logic": [LEO]}
    else:  # one head is not measured, so the wrong baseline fails the gate
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert {target for _, target in project.computed()} == {"baseline", "L1H3"}


def test_an_item_that_two_tests_ask_is_left_out_if_both_skip_it(project: Project) -> None:
    again = "\n@rp.probe('logic')\ndef test_again(answer, item):\n    {}\n    assert answer.correct\n"
    project.write("test_logic.py", probe(body="if 'leo' in item.id: pytest.skip('x')") + again.format("pass"))
    assert project.run("--probe-min-accuracy=1").ret == pytest.ExitCode.TESTS_FAILED
    assert {item for item, _ in project.computed()} == RIGHT | {LEO}
    project.write(
        "test_logic.py",
        probe(body="if 'leo' in item.id: pytest.skip('x')") + again.format("if 'leo' in item.id: pytest.skip('x')"),
    )
    assert project.run("--probe-min-accuracy=1").ret == pytest.ExitCode.OK
    assert {item for item, _ in project.computed()} == RIGHT


def test_xfail_is_no_skip(project: Project) -> None:
    project.write("test_logic.py", probe())
    for mark in ("xfail", "xfail(run=False)"):
        project.write("conftest.py", marks(mark))
        result = project.run("--probe-min-accuracy=1")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert gate_lines(result)[0].startswith("gate FAILED: logic: 3 of 4 right (75 %)")


def test_a_skipped_subtest_is_no_skipped_test(project: Project) -> None:
    pytest.importorskip("_pytest.subtests")
    body = "with subtests.test('part'): pytest.skip('x')"
    project.write("test_logic.py", probe(body=body, fixtures=", subtests"))
    project.run("--probe-min-accuracy=0.75")
    assert {item for item, _ in project.computed()} == RIGHT | {LEO}
    assert "skipped_tests" not in project.summary()


def test_a_test_that_skips_when_it_is_run_again_is_left_out(project: Project) -> None:
    pytest.importorskip("pytest_rerunfailures")
    lines = (
        "import os",
        "if 'leo' in item.id and os.path.exists('once'): pytest.skip('x')",
        "if 'leo' in item.id: open('once', 'w').close(); raise KeyError",
    )
    project.write("test_logic.py", probe(body="\n    ".join(lines)))
    project.run("--reruns=1")
    assert LEO not in {item for item, _ in project.computed()}


def test_with_x_skipped_tests_before_the_stop_are_left_out(project: Project) -> None:
    project.write("test_logic.py", probe(body="if 'max' in item.id: pytest.skip('x')"))
    project.run("-x")
    assert {item for item, _ in project.computed()} == {"exclusion-mia-cat", LEO}
    assert project.summary()["partial"] == {"planned": 3, "done": 2}


def test_a_gate_takes_the_verdict_of_a_dataset_of_which_marks_skip_a_part(project: Project) -> None:
    project.write("test_logic.py", probe())
    project.write("conftest.py", marks().replace("leo", "max"))
    result = project.run("--probe-min-accuracy=0.6")  # 2 of 3: leo is wrong, and xfailed
    result.assert_outcomes(passed=2, skipped=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("way", ["mark skip by conftest", "body"])
def test_a_reference_neither_needs_nor_forbids_what_is_skipped(project: Project, way: str) -> None:
    body, conftest = WAYS[way]
    project.write("test_logic.py", probe())
    reference = ("--probe-reference=reference.jsonl", "--probe-max-drop=0")
    project.run(*reference, "--probe-update-reference")
    project.write("test_logic.py", probe(body=body or "pass"))
    project.write("conftest.py", conftest)
    assert project.run(*reference).ret == pytest.ExitCode.OK
    project.run(*reference, "--probe-update-reference")
    lines = [json.loads(line) for line in (project.path / "reference.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["target"] == "run"
    assert {line["item"]: line["target"] for line in lines[:-1]} == dict.fromkeys(RIGHT, "baseline") | {LEO: "skipped"}
    result = project.run(*reference)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str() + result.stderr.str()


def test_the_gate_of_a_stored_run_judges_as_the_session_did(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    from reasoning_probe.cli import main

    project.write("test_logic.py", probe(body="if 'leo' in item.id: pytest.skip('x')"))
    project.run("--probe-heads=L1H2")
    capsys.readouterr()
    assert main(["gate", str(project.path / "reports"), "--min-accuracy", "1"]) == 0
    assert "3 of 3 right (100 %, 1 skipped by their tests)" in " ".join(capsys.readouterr().out.split())


def test_shards_that_skip_are_merged(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from reasoning_probe.cli import main

    project.write("test_logic.py", probe(body="if 'leo' in item.id: pytest.skip('x')"))
    for number in (1, 2):
        project.run(f"--probe-shard={number}/2", f"--probe-dir=part-{number}")
    assert main(["merge", "part-1", "part-2", "-o", "whole"]) == 0
    assert project.summary("whole")["skipped_tests"] == {"logic": [LEO]}
    assert main(["gate", "whole", "--min-accuracy", "1"]) == 0, capsys.readouterr().out


def test_many_marks_cost_no_time(project: Project) -> None:
    lines = [
        json.dumps({"id": f"i{n}", "question": f"What colour is the sky? {n}", "answer": "blue"}) for n in range(50)
    ]
    project.write("colours.jsonl", "\n".join(lines))
    project.write("test_colours.py", probe(before="@pytest.mark.skip").replace('"logic"', '"colours.jsonl"'))
    project.run("--probe-heads", "L0-L1,L1H2").assert_outcomes(skipped=50 * 4)
