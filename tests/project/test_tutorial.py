"""The tutorial shows what its commands print: the first one is run and compared, its times aside."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.helpers.project import ROOT, Project

SCRIPT = ROOT / "docs" / "tools" / "tutorial.py"
SPEC = importlib.util.spec_from_file_location("tutorial", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
tutorial = sys.modules["tutorial"] = importlib.util.module_from_spec(SPEC)  # where its dataclass looks for names
SPEC.loader.exec_module(tutorial)
TEXT = tutorial.TUTORIAL.read_text(encoding="utf-8")


def test_every_command_of_the_tutorial_is_found_with_its_output_and_its_time() -> None:
    steps = tutorial.steps(TEXT)
    assert [step.command.split()[0] for step in steps] == ["pytest", "pytest", "pytest", "reasoning-probe"]
    assert [bool(step.output) for step in steps] == [True, True, False, True]
    assert [bool(step.time) for step in steps] == [False, True, True, False]


def test_the_first_command_prints_what_the_tutorial_shows(project: Project) -> None:
    project.probe("logic")
    first = tutorial.steps(TEXT)[0]
    (project.path / "probes").mkdir()
    (project.path / "test_logic.py").rename(project.path / "probes" / "test_logic.py")
    output, seconds = tutorial.run(first.command, project.path)
    start, end = first.output
    assert tutorial.masked(tutorial.excerpt(first.command, output)) == tutorial.masked(TEXT[start:end])
    assert seconds > 0


@pytest.mark.parametrize(
    ("command", "output", "shown"),
    [
        ("pytest probes -v", "collected 1\nprobes/a.py::b PASSED\n== 1 passed ==\n", "probes/a.py::b PASSED\n"),
        ("pytest probes", "x\n==== reasoning-probe ====\nlogic 75 %\npage: r\n== 1 passed ==\n", "logic 75 %\n"),
        (
            "reasoning-probe compare a b",
            "A is a\n- one\n   \ntable\n",
            "- one\n",
        ),
    ],
    ids=["cases", "summary", "compare"],
)
def test_the_tutorial_shows_a_part_of_an_output(command: str, output: str, shown: str) -> None:
    assert tutorial.excerpt(command, output) == shown


def test_outputs_and_times_are_put_in_their_places(project: Project) -> None:
    text = "Take <!-- time -->an age<!-- -->:\n\n    reasoning-probe show nothing\n\n```text\nold\n```\n"
    assert list(tutorial.rewritten(text, project.path)) == [
        "Take <!-- time -->about 10 s<!-- -->:\n\n    reasoning-probe show nothing\n\n```text\n```\n"
    ]
