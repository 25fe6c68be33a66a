"""Fixtures of the project's own tests: a small project with probes, and a model with known answers to run them on."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]
pytest.register_assert_rewrite(
    *(f"tests.helpers.{name}" for name in ("ray_plan", "edited_sweeps", "html_pages", "solvers"))
)

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: no test may depend on the hub
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # the runs of these tests are no news for the job that tests
    os.environ.pop(name, None)

PROBES = Path(__file__).parent.parent / "probes"


@dataclass(frozen=True)
class Project:
    """A user's folder, in which pytest is run."""

    pytester: pytest.Pytester
    model: Path

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
        """Run pytest in this process on the planted model; pages cost a second, so they are only made where asked."""
        return self.pytester.runpytest_inprocess(*self._first(page), *args, no_reraise_ctrlc=True)

    def run_apart(self, *args: str | Path, page: bool = False) -> pytest.RunResult:
        """Run pytest in a process of its own, which takes the seconds that torch's import takes."""
        return self.pytester.runpytest_subprocess(*self._first(page), *args, timeout=300)

    def _first(self, page: bool) -> list[str]:
        off = ["hypothesispytest"] if page else ["hypothesispytest", "html"]  # hypothesis takes seconds to import
        # With a blank in place of the "=" pytest would look for its root beside the model, too.
        return [*(word for name in off for word in ("-p", f"no:{name}")), f"--model={self.model}"]

    def outcomes(self, folder: str = "reports") -> list[dict[str, Any]]:
        text = (self.path / folder / "outcomes.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def computed(self, folder: str = "reports") -> set[tuple[str, str]]:
        """The (item, target) pairs that the run computed."""
        return {(outcome["item"], outcome["target"]) for outcome in self.outcomes(folder)}

    def summary(self, folder: str = "reports") -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.path / folder / "run.json").read_text(encoding="utf-8"))
        return summary


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the planted model. Used once here, so that everything heavy is imported.

    ``pytester`` forgets the modules that a run in this process imported, and torch cannot be imported twice.
    """
    from reasoning_probe.pytest_plugin import html_report, marks, progress  # noqa: F401
    from reasoning_probe.report.html.findings import findings_html
    from reasoning_probe.report.terminal import summary  # noqa: F401
    from reasoning_probe.session.session import ProbeSession
    from reasoning_probe.session.settings import Settings
    from tests.helpers.planted_model import planted

    folder = tmp_path_factory.mktemp("models") / "planted"
    model, tokenizer = planted()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    session = ProbeSession(Settings(model=str(folder), heads="L1H2"))
    cases = session.cases(session.dataset("logic", "logic"))
    session.select(cases)
    session.outcome(cases[0])
    run = session.finish()
    assert run is not None
    findings_html(run)
    return folder


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """pytester, in whose sessions tests run in their order where pytest-randomly is installed."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
    return pytester


@pytest.fixture
def project(pytester: pytest.Pytester, planted_folder: Path) -> Project:
    """An empty project of a user."""
    pytester.makeini("[pytest]")  # the root of its node ids
    return Project(pytester, planted_folder)


def gate_lines(result: pytest.RunResult) -> list[str]:
    """The lines of the gate in the terminal, wrapped ones joined."""
    found: list[str] = []
    for line in result.outlines:
        if line.startswith("gate"):
            found.append(line)
        elif found and line.startswith("  "):
            found[-1] += " " + line.strip()
    return found
