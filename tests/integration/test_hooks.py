"""What a user's conftest adds: sources, scorers, error categories, sections; and the examples that show it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.run import read_run
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import PROBES, Project

EXAMPLES = PROBES.parent / "examples"


@pytest.fixture
def sums(project: Project) -> Project:
    """The planted model answers 57 to 7 * 8, and is right in the other three."""
    project.probe("arithmetic")
    return project


def test_a_source_of_the_users_own(project: Project) -> None:
    project.write(
        "conftest.py",
        """
import reasoning_probe as rp

def pytest_reasoning_probe_source(source):
    if source == "colours:all":
        return (rp.Item(question=f"What colour is the {word}?", answer=colour)
                for word, colour in (("sky", "blue"), ("grass", "green"), ("snow", "white")))
""",
    )
    project.write(
        "test_mine.py",
        'import reasoning_probe as rp\n@rp.probe("colours:all")\ndef test_mine(answer): assert answer.correct\n',
    )
    project.run().assert_outcomes(passed=2, failed=1)
    assert set(project.summary()["datasets"]) == {"mine"}
    project.run("--probe-items=1").assert_outcomes(passed=1)
    project.probe("logic")
    project.run("--probe-dataset=logic=colours:all", "test_logic.py").assert_outcomes(passed=2, failed=1)
    assert project.summary()["datasets"]["logic"]["items"] == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('there is no list of colours: fetch it')", "there is no list of colours: fetch it"),
        ("return ['What?']", "item 1: 'What?' is not an Item: give Items"),
        ("return []", "no items"),
        ("return None", "there is no file"),
    ],
)
def test_a_bad_source_is_one_line(project: Project, body: str, message: str) -> None:
    project.write("conftest.py", f"def pytest_reasoning_probe_source(source):\n    {body}\n")
    project.write(
        "test_mine.py",
        'import reasoning_probe as rp\n@rp.probe("colours:all")\ndef test_mine(answer): assert answer.correct\n',
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message.replace('[', '[[]')}*"])
    result.stdout.no_fnmatch_line("*Traceback*")


JUDGE = """
import reasoning_probe as rp

def pytest_reasoning_probe_judge(item, response):
    if item.id == "mul-7-8":
        return rp.Judgement("fifty-six", True, "ignored", "ignored", "ignored")
    if item.id == "add-5-3":
        return rp.Judgement(None, False)
"""


@pytest.mark.parametrize("processes", [0, 2])
def test_a_scorer_of_the_users_own(sums: Project, processes: int) -> None:
    sums.write("conftest.py", JUDGE)
    arguments = ["-k", "7-8 or 5-3 or 10-4", "--probe-heads", CARRIER]
    if processes:
        sums.run_apart(*arguments, "-n", str(processes))
    else:
        sums.run(*arguments)
    outcomes = {outcome["item"]: outcome for outcome in sums.outcomes() if outcome["target"] == "baseline"}
    verdicts = {
        item: (outcome["answer"], outcome["correct"], outcome["category"], outcome["kind"])
        for item, outcome in outcomes.items()
    }
    assert verdicts == {
        "mul-7-8": ("fifty-six", True, None, None),
        "add-5-3": (None, False, "hallucination", "other"),
        "sub-10-4": ("6", True, None, None),
    }
    target = next(row for row in sums.summary()["targets"] if row["target"] == CARRIER)
    assert (target["flips_to_wrong"], target["flips_to_right"]) == (1, 0)  # the judge calls 7 * 8 right in any case


def test_a_store_keeps_answers_and_not_what_was_said_of_them(sums: Project) -> None:
    sums.run("-k", "7-8")
    assert sums.outcomes()[0]["correct"] is False
    sums.write("conftest.py", JUDGE)
    sums.run("-k", "7-8")
    assert sums.summary()["engine"]["recalled"] == 1
    assert sums.outcomes()[0]["correct"] is True


@pytest.mark.parametrize("value", ["'B'", "rp.Judgement(4, False)", "rp.Judgement('4', 'no')"])
def test_what_is_no_judgement_ends_in_one_line(sums: Project, value: str) -> None:
    sums.write(
        "conftest.py",
        f"import reasoning_probe as rp\ndef pytest_reasoning_probe_judge(item, response): return {value}\n",
    )
    result = sums.run("-k", "7-8")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*pytest_reasoning_probe_judge gave *"])


def test_an_error_category_of_the_users_own(sums: Project) -> None:
    sums.write(
        "conftest.py",
        """
import dataclasses

def pytest_reasoning_probe_mistake(item, judgement):
    if judgement.category == "off_by_one":
        return dataclasses.replace(judgement, category="carry_forgotten", kind="tens")
""",
    )
    result = sums.run("-k", "7-8 or 5-3", page=True)
    result.stdout.fnmatch_lines(["mistake   carry_forgotten: *", "mistakes: carry_forgotten 1"])
    wrong = next(outcome for outcome in sums.outcomes() if not outcome["correct"])
    assert (wrong["answer"], wrong["category"], wrong["kind"]) == ("57", "carry_forgotten", "tens")
    assert [(error["category"], error["kind"]) for error in sums.summary()["errors"]] == [("carry_forgotten", "tens")]
    assert "carry_forgotten" in (sums.path / "reports" / "report.html").read_text(encoding="utf-8")


SECTION = """
import reasoning_probe as rp

def pytest_reasoning_probe_section(run):
    if not run.outcomes:
        return None
    return rp.Section("What <b>I</b> saw", "One thing.\\n\\nAnother | thing.", ("item", "answer"),
                      tuple((outcome.item, outcome.answer) for outcome in run.outcomes))
"""


def test_a_section_of_the_users_own(sums: Project) -> None:
    sums.write("conftest.py", SECTION)
    sums.run("-k", "7-8 or 5-3", page=True)
    (section,) = sums.summary()["sections"]
    assert section["rows"] == [["add-5-3", "8"], ["mul-7-8", "57"]]
    run = read_run(sums.path / "reports")
    page = (sums.path / "reports" / "report.html").read_text(encoding="utf-8")
    for text in (page, standalone_page(run)):
        assert "What &lt;b&gt;I&lt;/b&gt; saw" in text
        assert "<b>I</b>" not in text
        assert "Another | thing." in text
    summary = markdown_summary(run)
    assert "| mul-7-8 | 57 |" in summary
    assert "Another &#124; thing." in summary


@pytest.mark.parametrize("body", ["return 'text'", "raise KeyError('mine')", "return rp.Section()"])
def test_a_section_that_fails_costs_no_file(sums: Project, body: str) -> None:
    sums.write("conftest.py", f"import reasoning_probe as rp\ndef pytest_reasoning_probe_section(run): {body}\n")
    result = sums.run("-k", "5-3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*pytest_reasoning_probe_section*"])
    assert len(sums.outcomes()) == 1
    assert "sections" not in sums.summary() or sums.summary()["sections"] == []


def test_the_examples_run(pytester: pytest.Pytester, planted_folder: Path) -> None:
    """They run on the bundled model, which knows nothing of Rome; only the hooks' results are checked."""
    shutil.copytree(EXAMPLES, pytester.path / "examples", ignore=shutil.ignore_patterns("__pycache__", "reports"))
    off = [f"-pno:{name}" for name in ("hypothesispytest", "html", "randomly")]
    result = pytester.runpytest_inprocess("examples", "--probe-cache=off", "--probe-heads=L0H0", *off)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "errors" not in result.parseoutcomes()
    run = read_run(pytester.path / "reports")
    sizes = {name: entry["items"] for name, entry in run.summary["datasets"].items()}
    assert sizes == {"roman_numerals": 3, "capitals": 2, "with_every_fixture": 1, "longer_arguments": 4}
    roman = [outcome for outcome in run.outcomes if outcome.dataset == "roman_numerals"]
    assert {outcome.category for outcome in roman} <= {"incomplete", "wrong_numeral", None}
    assert len(roman) == 6
    assert all(len(outcome.choices or ()) == 3 for outcome in run.outcomes if outcome.dataset == "capitals")
    (section,) = run.summary["sections"]
    assert [name for name, _ in section["rows"]] == list(sizes)


@pytest.mark.parametrize(
    ("answer", "correct", "category"),
    [("It is XIV.", True, None), ("XVI", False, "wrong_numeral"), ("14", False, "incomplete")],
)
def test_the_examples_scorer(answer: str, correct: bool, category: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("examples_conftest", EXAMPLES / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    item = next(item for item in module.pytest_reasoning_probe_source("roman:20") if item.id == "roman-14")
    judged = module.pytest_reasoning_probe_judge(item, answer)
    assert (judged.correct, judged.category) == (correct, category)
    assert module.pytest_reasoning_probe_source("hf:a:b") is None
    assert json.dumps(item.answer) == '"XIV"'
