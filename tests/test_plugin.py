"""What a user of the plugin sees: cases, verdicts, lines, files."""

from __future__ import annotations

import pytest
from conftest import Project


def test_ids_are_readable(project: Project) -> None:
    project.probe("logic")
    result = project.run("--co", "-q", "--ablate-heads")
    result.stdout.fnmatch_lines(
        [
            "test_logic.py::test_logic[[]syllogism-max-animal]",
            "test_logic.py::test_logic[[]syllogism-max-animal-L0H0]",
            "test_logic.py::test_logic[[]syllogism-max-animal-L1H3]",
        ]
    )
    assert not (project.path / "reports").exists()


def test_page(project: Project) -> None:
    project.probe("logic")
    result = project.run("-k", "max", "--ablate-heads", page=True)
    assert result.ret == 0
    assert project.computed() == 1


def test_page2(project: Project) -> None:
    project.probe("logic")
    result = project.run("-k", "max", "--ablate-heads", page=False)
    assert result.ret == 0
    assert project.computed() == 1


def test_page3(project: Project) -> None:
    project.probe("logic")
    result = project.run("-k", "max", "--ablate-heads", "-n2", page=True)
    assert result.ret == 0
    assert project.computed() == 1
