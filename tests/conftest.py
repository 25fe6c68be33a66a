"""Fixtures of the project's own tests: a small project with probes, and a model with known answers to run them on."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.fork_server import forked_python, import_package
from tests.helpers.project import Project

pytest_plugins = ["pytester"]
pytest.register_assert_rewrite(
    *(f"tests.helpers.{name}" for name in ("ray_plan", "edited_sweeps", "html_pages", "solvers"))
)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import; a worker a core leaves each one thread
os.environ["HF_HUB_OFFLINE"] = "1"  # transformers reads it on import; no test may depend on the hub
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # sessions inside tests must not write to the CI job's summary
    os.environ.pop(name, None)


gc.set_threshold(10_000, 10, 20)  # of Python's 700, 10, 10: each time, it visits hundreds of thousands of objects


def freeze_objects() -> None:
    """Set the modules and tests that there are aside: they stay, and the garbage collector need not visit them."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Set the collected tests aside, with the modules that they import."""
    freeze_objects()


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the planted model, which runs once here so that every heavy module is imported.

    ``pytester`` drops the modules that an in-process run imported, and torch cannot be imported twice.
    """
    from reasoning_probe.report.html.findings import findings_html
    from reasoning_probe.session.session import ProbeSession
    from reasoning_probe.session.settings import Settings
    from tests.helpers.planted_model import planted

    import_package()
    freeze_objects()
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
    """The ``pytester`` fixture with pytest-randomly switched off in its sessions."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
    return pytester


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """A function that returns the executable of a Python with its libraries imported; the first call starts it."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(forked_python(tmp_path_factory.mktemp("python"))))


@pytest.fixture
def project(pytester: pytest.Pytester, planted_folder: Path, forked: Callable[[], Path]) -> Project:
    """A user's project without any probes."""
    pytester.makeini("[pytest]")  # makes the folder the root of node ids
    return Project(pytester, planted_folder, forked)
