"""Fixtures of the project's own tests: a small project with probes, and a model with known answers to run them on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.project import Project

pytest_plugins = ["pytester"]
pytest.register_assert_rewrite(
    *(f"tests.helpers.{name}" for name in ("ray_plan", "edited_sweeps", "html_pages", "solvers"))
)

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: no test may depend on the hub
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # the runs of these tests are no news for the job that tests
    os.environ.pop(name, None)


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
