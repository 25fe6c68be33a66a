"""SIGTERM and SIGHUP end a session as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_probe.pytest_plugin.termination import Termination, leave_process_id
from tests.helpers.project import Project

SLOW = """
import pathlib, time
from reasoning_probe.engine.engine import LocalEngine

run = LocalEngine.run

def slow(self, requests):
    for number, batch in enumerate(run(self, requests)):
        yield batch
        if number == 3:
            pathlib.Path(__file__).with_name("computing").touch()
            time.sleep(60)

LocalEngine.run = slow
"""

SLOW_FILES = """
import pathlib, time
from reasoning_probe.results import run

write_run = run.write_run

def slow(*args):
    pathlib.Path(__file__).with_name("computing").touch()
    time.sleep(2)
    write_run(*args)

run.write_run = slow
"""


def terminated(project: Project, *options: str) -> tuple[int, str]:
    """Run a session, send it SIGTERM once it computes, and return its exit code and output."""
    command = [project.forked_python(), "-m", "pytest", "-p", "no:randomly", "-p", "no:hypothesispytest"]
    session = subprocess.Popen(
        [*command, f"--model={project.model}", *options],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while not (project.path / "computing").exists() and time.monotonic() < until and session.poll() is None:
            time.sleep(0.05)
        assert session.poll() is None, session.communicate()[0]
        session.send_signal(signal.SIGTERM)  # to this process alone, as a container's supervisor does
        output, _ = session.communicate(timeout=60)
    finally:
        if session.poll() is None:
            os.killpg(session.pid, signal.SIGKILL)
    return session.returncode, output


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["alone", "xdist"])
def test_files_and_page_are_written_and_the_session_ends_as_interrupted(
    project: Project, options: tuple[str, ...]
) -> None:
    project.probe("logic", "arithmetic")
    project.write("conftest.py", SLOW)
    code, output = terminated(project, "--ablate-heads", *options)
    assert code == pytest.ExitCode.INTERRUPTED, output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    partial = project.summary()["partial"]
    assert partial["done"] == len(project.outcomes()) < partial["planned"]
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert sorted(path.name for path in (project.path / "reports").iterdir()) == [
        "outcomes.jsonl",
        "report.html",
        "run.json",
    ]
    (project.path / "conftest.py").unlink()
    project.run("--ablate-heads")
    assert project.summary()["engine"]["recalled"] >= partial["done"]


def test_while_files_are_written_they_are_finished_first(project: Project) -> None:
    project.probe("logic")
    project.write("conftest.py", SLOW_FILES)
    code, output = terminated(project)
    assert code == pytest.ExitCode.INTERRUPTED, output
    assert "Traceback" not in output
    assert "partial" not in project.summary()
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")


@pytest.fixture
def termination() -> Iterator[Termination]:
    """Yield one where no signal is ignored, as the suite's own process may do, started in the background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield Termination()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_interrupts_once_and_gives_the_signals_back(termination: Termination, number: signal.Signals) -> None:
    assert signal.getsignal(number) is signal.SIG_DFL
    termination.install()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        os.kill(os.getpid(), signal.SIGTERM)  # a second one changes nothing
        time.sleep(0.01)
        assert termination.received
    finally:
        termination.restore()
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_hangup_stays_ignored_under_nohup(termination: Termination) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        termination.install()
        signal.raise_signal(signal.SIGHUP)
        assert not termination.received
        termination.restore()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_held_it_only_notes_the_signal(termination: Termination) -> None:
    termination.install()
    try:
        termination.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert termination.received
    finally:
        termination.restore()


def test_a_handler_of_somebody_else_stays(termination: Termination) -> None:
    def theirs(*args: object) -> None: ...

    signal.signal(signal.SIGTERM, theirs)
    try:
        termination.install()
        termination.restore()
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_it_is_passed_on_to_the_workers(termination: Termination, tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    leave_process_id(tmp_path, "gw0")
    assert (tmp_path / "gw0.pid").read_text() == str(os.getpid())
    (tmp_path / "gw0.pid").write_text(str(worker.pid))
    (tmp_path / "gw1.pid").write_text("no number")
    termination.workers = tmp_path
    termination.install()
    termination.hold()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert worker.wait(timeout=10) == -signal.SIGTERM
    finally:
        termination.restore()
    leave_process_id(tmp_path / "no folder", "gw0")


WHILE_TORCH_IS_IMPORTED = """
import importlib.abc, os, signal, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch.masked":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def test_ctrl_c_while_libraries_are_imported_ends_the_session_as_interrupted(project: Project) -> None:
    """torch cannot be imported again after that, which pytest's hooks after the collection would do."""
    project.probe("logic")
    project.write("conftest.py", WHILE_TORCH_IS_IMPORTED)
    result = project.run_anew("--ablate-heads", "--probe-items=4")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.fnmatch_lines(["*ended early, before any outcome*"])
