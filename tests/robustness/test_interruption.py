"""Tests of interrupted runs; ``python -m tests.robustness.kill_test --moments 200`` is the kill test in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import reasoning_probe as rp
from reasoning_probe.engine.cache.store import entries
from reasoning_probe.pytest_plugin.session_finish import finish_run
from reasoning_probe.pytest_plugin.skips import SkipTally
from reasoning_probe.pytest_plugin.termination import Termination
from tests.helpers.planted_model import planted
from tests.helpers.project import ROOT, Project


def test_nothing_is_lost_or_double_at_random_moments() -> None:
    """Each kind of interruption once, and two sessions at once on one outcome cache."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.robustness.kill_test", "--moments", "7"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 moments (kill 1, ctrl_c 1, sigterm 1, memory 1, full_disk 1, read_only 1, raising 1)" in done.stdout


def test_a_run_that_ended_early_says_so_and_the_next_one_goes_on(project: Project) -> None:
    project.probe("logic")
    project.run("-x", "--probe-heads", "L1H2", "-k", "logic").assert_outcomes(passed=2, failed=1, xfailed=2)
    assert project.summary()["engine"]["recalled"] == 0
    partial = project.summary()["partial"]
    assert partial["planned"] == 8
    assert partial["done"] == len(project.outcomes()) < 8
    result = project.run("--probe-heads", "L1H2", "-k", "logic")
    assert "partial" not in project.summary()
    assert project.summary()["engine"]["recalled"] == partial["done"]
    result.stdout.fnmatch_lines([f"{partial['done']} outcomes known from earlier runs"])


def test_a_folder_that_takes_no_files_is_told_before_anything_is_computed(project: Project) -> None:
    project.probe("logic")
    project.write("reports", "a file")
    result = project.run("--model", "no/such-model")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--probe-dir: {project.path / 'reports'} is not a folder: name another one"])


def test_files_that_cannot_be_written_at_the_end_cost_one_line(project: Project) -> None:
    project.probe("logic")
    project.write(
        "conftest.py",
        "import shutil\nimport pytest\n\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_runtestloop():\n"
        "    result = yield\n"
        "    shutil.rmtree('reports', ignore_errors=True)\n"
        "    open('reports', 'w').close()\n"
        "    return result\n",
    )
    result = project.run(page=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["reasoning-probe: cannot write *; the outcomes are kept in *.reasoning_probe_cache: run the same command*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    (project.path / "reports").unlink()
    project.write("conftest.py", "")
    project.run("-q")
    assert project.summary()["engine"]["recalled"] == len(project.outcomes()) == 4


def test_a_model_that_cannot_be_loaded_leaves_the_last_page(project: Project) -> None:
    project.probe("logic")
    project.run(page=True)
    page = (project.path / "reports" / "report.html").read_bytes()
    result = project.run("--model", "no/such-model", page=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (project.path / "reports" / "report.html").read_bytes() == page


def test_a_store_that_cannot_be_made_costs_one_line(project: Project) -> None:
    project.probe("logic")
    project.write("taken", "a file")
    result = project.run("--probe-cache=taken")
    result.assert_outcomes(passed=3, failed=1)
    assert len(project.outcomes()) == 4
    assert "the run goes on without" in project.summary()["engine"]["store"]
    result.stdout.fnmatch_lines(["the outcome store *"])


def test_the_store_marks_its_folder_and_off_makes_none(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-cache=off")
    assert not (project.path / ".reasoning_probe_cache").exists()
    project.run("--probe-fresh")
    names = {path.name for path in (project.path / ".reasoning_probe_cache").iterdir()}
    assert names >= {".gitignore", "CACHEDIR.TAG", "outcomes-1.sqlite"}


def test_sweep_keeps_and_takes_outcomes(tmp_path: Path) -> None:
    model, tokenizer = planted()
    items = [rp.Item(question="What colour is the sky?", answer="blue")]
    first = rp.sweep(model, tokenizer, items, "L1H2,L0", cache=tmp_path)
    assert [outcome.target for outcome in first] == ["baseline", "L1H2", "L0"]
    more = rp.sweep(model, tokenizer, items, "L1H3,L1H2,L0", cache=tmp_path)
    assert [outcome.target for outcome in more] == ["baseline", "L1H3", "L1H2", "L0"]
    assert [more[0], *more[2:]] == first
    assert [entry.outcomes for entry in entries(tmp_path)] == [4]
    (tmp_path / "file").write_text("a file")
    with pytest.warns(UserWarning, match="the run goes on without"):
        assert rp.sweep(model, tokenizer, items, "L1H2,L0", cache=tmp_path / "file") == first


def test_a_second_ctrl_c_while_files_are_written_costs_one_line(project: Project) -> None:
    project.probe("logic")
    project.write(
        "conftest.py",
        "from reasoning_probe.results import run\n\n"
        "def interrupted(*args):\n    raise KeyboardInterrupt\n\n"
        "def pytest_sessionstart(session):\n    session.config.write_run = run.write_run\n"
        "    run.write_run = interrupted\n\n"
        "def pytest_unconfigure(config):\n    run.write_run = config.write_run\n",
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["reasoning-probe: interrupted while the files were written; the outcomes are kept in *: the same command*"]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    project.write("conftest.py", "")
    project.run("-q")
    assert project.summary()["engine"]["recalled"] == len(project.outcomes()) == 4


def test_ctrl_c_before_any_outcome_is_told(project: Project) -> None:
    project.probe("logic")
    project.write(
        "conftest.py",
        "import pytest\n\n@pytest.fixture(scope='session')\ndef probe_model():\n    raise KeyboardInterrupt\n",
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["reasoning-probe: ended early, before any outcome: the same command continues from *"])


@pytest.mark.parametrize(
    ("lock", "interrupted", "early"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_workers_that_left_nothing_ended_early(tmp_path: Path, lock: bool, interrupted: bool, early: bool) -> None:
    if lock:  # a worker started
        (tmp_path / "part-0.lock").touch()
    state: Any = SimpleNamespace(
        started=False,
        config=object(),
        shared=tmp_path,
        run=None,
        interrupted_before_outcomes=None,
        skips=SkipTally(),
        termination=Termination(),
    )
    finish_run(state, lambda done, total: None, interrupted=interrupted)
    assert state.interrupted_before_outcomes is early
