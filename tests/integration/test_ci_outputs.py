"""Tests of the output for CI services: the JUnit file, GitHub's annotations and job summary, the example workflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.report.ci.github import MOST, append_summary, workflow_commands
from reasoning_probe.report.ci.junit import with_gate
from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, full_run, outcome
from tests.helpers.junit_schema import check, problems
from tests.helpers.planted_model import CARRIER, KNOWN, planted
from tests.helpers.project import ROOT, Project

EMPTY = '<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="0" tests="0" time="0.1" /></testsuites>'
PROPERTIES = """
import pytest

@pytest.fixture(autouse=True, scope="session")
def tells(record_testsuite_property):
    record_testsuite_property("model", "mine <&> \\x1b")
"""


def judged(passed: bool | None, line: str = "logic: 3 of 4 right", dataset: str = "logic", **more: Any) -> Run:
    run = as_run([outcome(dataset)])
    entry = {"dataset": dataset, "rule": "min-accuracy", "limit": 0.5, "value": 0.75, "passed": passed, "line": line}
    return Run(run.summary | {"gate": {"passed": passed, "checks": [entry | {"p_value": None}], **more}}, run.outcomes)


def regression(index: int = 0, **values: str | None) -> dict[str, str | None]:
    return {
        "dataset": "logic",
        "item": f"item-{index}",
        "question": "Is it?",
        "expected": "Yes",
        "answer": "no",
        "category": "wrong_label",
    } | values


# -- JUnit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, "0.5", "0.9"])
def test_the_junit_file_keeps_the_rules_of_xunit2(project: Project, limit: str | None) -> None:
    project.probe("logic", "gsm8k")
    project.write("conftest.py", PROPERTIES)
    project.write("test_plain.py", "def test_fails(): assert 0\ndef test_errs(missing): pass\n")
    options = [] if limit is None else [f"--probe-min-accuracy={limit},gsm8k=0"]
    project.run("--probe-heads", CARRIER, "--junitxml=junit.xml", "-k", "logic or plain", *options)
    suite = check((project.path / "junit.xml").read_text(encoding="utf-8"))
    gate = [case for case in suite.iter("testcase") if case.get("classname") == "reasoning_probe.gate"]
    assert [case.get("name") for case in gate] == ([] if limit is None else ["logic-min-accuracy"])
    assert [[child.tag for child in case] for case in gate] == {None: [], "0.5": [[]], "0.9": [["failure"]]}[limit]
    assert suite.get("failures") == {None: "2", "0.5": "1", "0.9": "2"}[limit]
    assert suite.get("errors") == "1"


EVIL = "\x1b[31m]]>&amp;<b a='\"'>\x00\x0b\ufffe\u2028"


@pytest.mark.parametrize("apart", [False, True])
def test_whatever_a_model_and_its_data_say_the_junit_file_is_valid(
    project: Project, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    monkeypatch.setitem(KNOWN, "sky", EVIL)
    model, tokenizer = planted()
    model.save_pretrained(project.path / "evil")
    tokenizer.save_pretrained(project.path / "evil")
    items = [
        {"id": f"{EVIL} {index}", "question": "What is the sky? \x1b\x00]]>", "answer": "<&>\x07"} for index in range(2)
    ]
    items.append({"id": "long", "question": "What is the sky? " * 20, "answer": "x"})  # beyond the model's context
    project.write("evil.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    project.write("conftest.py", PROPERTIES)
    project.write(
        "test_evil.py",
        "import reasoning_probe as rp\n\n@rp.probe('evil.jsonl', name='<script>\\x1b]')\ndef test_evil(answer):\n"
        "    print('said \\x00', answer.response)\n    assert answer.correct\n",
    )
    project.write(
        "test_own.py",
        "import pytest, sys\n\n@pytest.mark.parametrize('what', ['\\x1b', '<&\\x00'])\ndef test_fails(what):\n"
        "    print('out \\x1b', file=sys.stderr)\n    assert what == '\\x07'\n\n"
        "def test_errs(missing): pass\n\n@pytest.mark.skip(reason='\\x1b')\ndef test_skipped(): pass\n",
    )
    for gate in ([], ["--probe-min-accuracy=0.9"]):
        run = project.run_apart if apart else project.run
        options = ["--model=evil", "--probe-heads", CARRIER, "-o", "junit_logging=all", *gate]
        run(*options, "--junitxml=junit.xml", *(["-n2"] if apart else []))
        suite = check((project.path / "junit.xml").read_text(encoding="utf-8"))
        kinds = {child.tag for case in suite.iter("testcase") for child in case}
        assert kinds == {"failure", "error", "skipped", "system-out", "system-err"}
        model_property = suite.find("properties/property[@name='model']")
        assert (model_property is None) is apart  # pytest does not write those of workers
        skip_types = [child.get("type") for child in suite.iter("skipped")]
        assert skip_types.count("pytest.xfail") == (4 if gate else 2)  # the two that fit, with and without the head
        assert skip_types.count("pytest.skip") == 3  # the user's own, and the item that does not fit
        assert len([case for case in suite if case.get("classname") == "reasoning_probe.gate"]) == len(gate)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ('<testcase name="a" classname="b"><properties /></testcase>', "testcase"),
        ('<testcase name="a" classname="b" file="c" />', "testcase"),
        ('<testcase name="a" />', "classname"),
        ('<testcase name="a" classname="b">text</testcase>', "character data"),
        ('<testcase name="a" classname="b" time="soon" />', "pattern"),
        ("<gate />", "gate"),
    ],
)
def test_the_schema_refuses_what_xunit2_does_not_know(broken: str, message: str) -> None:
    (error,) = problems(EMPTY.replace(" />", f">{broken}</testsuite>", 1))
    assert message in error


def test_the_schema_takes_its_own_attributes_and_no_count_that_is_none() -> None:
    assert problems(EMPTY.replace('name="pytest"', 'name="pytest" hostname="h" timestamp="2026-01-01T00:00:00"')) == []
    assert problems(EMPTY.replace('tests="0"', 'tests="none"')) != []


def test_under_xdist_the_junit_file_has_the_gate_once(project: Project) -> None:
    project.probe("logic")
    project.run_apart("--probe-min-accuracy=0.9", "--junitxml=junit.xml", "-n2")
    suite = check((project.path / "junit.xml").read_text(encoding="utf-8"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "1")


def test_a_junit_file_in_another_folder_is_found(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.probe("logic")
    monkeypatch.setenv("OUT", str(project.path / "out"))
    project.run("--probe-min-accuracy=0.5", "--junitxml=$OUT/deep/junit.xml", "-o", "junit_family=xunit1")
    text = (project.path / "out" / "deep" / "junit.xml").read_text(encoding="utf-8")
    assert 'classname="reasoning_probe.gate"' in text


def test_a_check_that_was_not_judged_is_skipped() -> None:
    suite = check(with_gate(EMPTY, judged(None, "logic: not judged")))
    (case,) = suite
    assert [(child.tag, child.get("message")) for child in case] == [("skipped", "logic: not judged")]


@settings(deadline=None)
@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_whatever_a_dataset_is_called_the_file_is_xml(dataset: str, line: str) -> None:
    text = with_gate(EMPTY, judged(False, line, dataset))
    check(ElementTree.tostring(ElementTree.fromstring(text.encode("utf-8")), encoding="unicode"))


# -- GitHub -------------------------------------------------------------------------------------------------------


@pytest.fixture
def action(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The job summary file of a GitHub Action, to which an earlier step has written."""
    path = tmp_path / "summary.md"
    path.write_text("# Earlier\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def commands(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if line.startswith("::"))


def test_the_job_summary_is_appended(project: Project, action: Path) -> None:
    project.probe("logic")
    project.run("--ablate-heads", "--probe-min-accuracy=0.9")
    text = action.read_text(encoding="utf-8")
    assert text.startswith("# Earlier\n\n## reasoning-probe: ")
    assert "❌ **Gate failed**" in text
    assert "| logic | 3 of 4 | 75 % |" in text
    assert text.count("## reasoning-probe") == 1


def test_under_xdist_there_is_one_job_summary(project: Project, action: Path) -> None:
    project.probe("logic")
    project.run_apart("--probe-min-accuracy=0.9", "-n2")
    assert action.read_text(encoding="utf-8").count("## reasoning-probe") == 1


def test_a_job_summary_that_cannot_be_written_costs_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.probe("logic")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "gone" / "summary.md"))
    result = project.run("--probe-min-accuracy=0.5")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["reasoning-probe: cannot write the job summary *summary.md: No such file*"])


def test_annotations_are_for_what_got_worse(project: Project, action: Path) -> None:
    project.probe("logic")
    assert list(commands(project.run("--ablate-heads").outlines)) == []  # wrong answers alone get no annotation
    project.run("--probe-reference=reference.jsonl", "--probe-update-reference")
    file = project.path / "reference.jsonl"
    right = [json.loads(line) | {"correct": True} for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in right), encoding="utf-8")
    assert list(commands(project.run("--probe-reference=reference.jsonl").outlines)) == [
        "::error title=reasoning-probe%3A the gate failed::logic: accuracy dropped by 25 points (1 lost, 0 won of 4"
        " items), at most 5 points allowed, p 1",
        "::notice title=reasoning-probe%3A an answer got worse::logic converse-leo-poet: right in the reference, now"
        " 'yes', expected 'Unknown'",
    ]


def test_elsewhere_there_are_no_annotations(project: Project) -> None:
    project.probe("logic")
    assert list(commands(project.run("--probe-min-accuracy=0.9").outlines)) == []


def test_annotations_are_few_and_the_last_says_how_many_more() -> None:
    commands = workflow_commands(judged(False, regressions=[regression(index) for index in range(25)]))
    notices = [line for line in commands if line.startswith("::notice")]
    assert len(notices) == MOST
    assert notices[-1].endswith("::and 16 more items")


@settings(deadline=None)
@given(*[st.text(st.characters(codec=None), min_size=1)] * 3)
def test_what_others_wrote_gives_no_command_of_its_own(line: str, item: str, answer: str) -> None:
    run = judged(False, line + "\n::error::x", regressions=[regression(item=item + "\r::set-env::", answer=answer)])
    for command in workflow_commands(run):
        assert re.fullmatch(r"::(error|notice) title=[^:,\r\n]+::[^\r\n\x00-\x1f]*", command)


def test_the_markdown_tells_the_gate_and_stays_short() -> None:
    text = markdown_summary(full_run())
    assert "❌ **Gate failed**" in text
    assert "- ❌ multi&#95;step&#58; accuracy dropped by 40 points, at most 5 allowed, p 0.031" in text
    evil = "<script>|`[x](y)\n# @me" * 400
    checks = judged(False, evil, evil).summary["gate"]["checks"] * 500
    worse = [regression(index, item=evil, answer=evil, expected=evil) for index in range(500)]
    run = judged(False)
    run.summary["gate"] |= {"checks": checks, "regressions": worse, "notes": [evil] * 500}
    text = markdown_summary(run)
    assert len(text.encode()) < 60_000
    assert "and 490 more items that got worse" in text
    assert not re.search(r"<script|\[x\]|^# ", text, re.MULTILINE)


def test_the_summary_is_appended_whatever_a_name_holds(tmp_path: Path) -> None:
    append_summary(tmp_path / "summary.md", judged(True, "\ud800 line", "\ud800"))
    assert "Gate passed" in (tmp_path / "summary.md").read_text(encoding="utf-8")


# -- the workflow to copy -----------------------------------------------------------------------------------------


def test_the_workflow_to_copy_keeps_page_and_junit_file_even_where_the_gate_fails() -> None:
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github" / "workflows" / "probes.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow[True] == "pull_request"  # YAML reads the key "on" as true
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    (probes,) = [step["run"] for step in job["steps"] if "pytest" in step.get("run", "")]
    assert "--junitxml reports/junit.xml" in probes
    uploads = [step for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert all(step["if"] == "always()" for step in uploads)
    page, files = (step["with"] for step in uploads)
    assert page == {"path": "reports/report.html", "archive": False}  # not in a zip: it opens in the browser
    assert files["path"] == "reports/"
