"""A user's project in which tests run pytest, and its output and files."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
"""The repository's root."""

PROBES = ROOT / "probes"

UNUSED = ("hypothesispytest", "anyio", "platformdirs", "xdist.looponfail")
"""Plugins without which sessions start faster; hypothesis takes seconds to import."""


@cache
def _packages_with_plugins() -> list[importlib.metadata.Distribution]:
    """Return the installed packages that hold pytest plugins; a session would read the files of all packages, twice."""
    packages = importlib.metadata.distributions()
    return [each for each in packages if any(point.group == "pytest11" for point in each.entry_points)]


@dataclass(frozen=True)
class Project:
    """A user's folder in which pytest is run, and the folder of the model that it uses."""

    pytester: pytest.Pytester
    model: Path
    forked_python: Callable[[], Path]
    """Returns the executable whose libraries are imported already; see ``tests.helpers.fork_server``."""

    @property
    def path(self) -> Path:
        return self.pytester.path

    def probe(self, *names: str) -> None:
        """Copy the repository's probes of these datasets."""
        for name in names:
            shutil.copy(PROBES / f"test_{name}.py", self.path)

    def write(self, path: str, text: str) -> Path:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def run(self, *args: str | Path, page: bool = False) -> pytest.RunResult:
        """Run pytest in this process on the planted model; *page* also writes the HTML report, which takes a second."""
        plugins = _packages_with_plugins()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.metadata, "distributions", lambda: plugins)
            return self.pytester.runpytest_inprocess(*self._first(page), *args, no_reraise_ctrlc=True)

    def run_apart(self, *args: str | Path, page: bool = False) -> pytest.RunResult:
        """Run pytest in a process of its own, a fork of one that has imported torch, as its workers are."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", str(self.forked_python()))  # pytester and pytest-xdist start this
            return self.run_anew(*args, page=page)

    def run_anew(self, *args: str | Path, page: bool = False) -> pytest.RunResult:
        """Run pytest in a new interpreter, which takes some seconds longer because it imports torch."""
        return self.pytester.runpytest_subprocess(*self._first(page), *args, timeout=300)

    def _first(self, page: bool) -> list[str]:
        off = UNUSED if page else (*UNUSED, "html", "metadata")
        # With a space instead of "=", pytest would consider the model's folder for its root directory.
        return [*(word for name in off for word in ("-p", f"no:{name}")), f"--model={self.model}"]

    def outcomes(self, folder: str = "reports") -> list[dict[str, Any]]:
        text = (self.path / folder / "outcomes.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def computed(self, folder: str = "reports") -> set[tuple[str, str]]:
        """Return the (item, target) pairs of the run's outcomes."""
        return {(outcome["item"], outcome["target"]) for outcome in self.outcomes(folder)}

    def summary(self, folder: str = "reports") -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.path / folder / "run.json").read_text(encoding="utf-8"))
        return summary


def gate_lines(result: pytest.RunResult) -> list[str]:
    """Return the gate's lines of the terminal output, with wrapped lines joined."""
    lines: list[str] = []
    for line in result.outlines:
        if line.startswith("gate"):
            lines.append(line)
        elif lines and line.startswith("  "):
            lines[-1] += " " + line.strip()
    return lines
