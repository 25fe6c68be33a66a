"""The bar of a sweep, where there is a terminal."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_probe.pytest_plugin.progress import progress_bar


def session(*, verbosity: int = 0, isatty: bool = True, **more: Any) -> Any:
    """Return what the bar needs of pytest's config."""
    reporter = SimpleNamespace(isatty=isatty, currentfspath=Path("/project/test_mine.py"), startpath=Path("/project"))
    plugins = {"terminalreporter": reporter, "capturemanager": None}
    manager = SimpleNamespace(getplugin=plugins.get)
    return SimpleNamespace(get_verbosity=lambda: verbosity, pluginmanager=manager, **more)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, config: Any) -> str:
    """Return what is written to the terminal while a sweep of eight cases runs."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    with progress_bar(config, "curve") as progress:
        for done in (0, 3, 8):
            progress(done, 8)
    return terminal.getvalue()


def test_a_terminal_has_a_bar_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, session())
    assert "curve:   0%" in text
    assert "0/8" in text
    assert text.endswith("\rtest_mine.py ")  # the line that the bar was drawn over


def test_the_bar_shows_the_time_left_of_the_whole_session(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    estimates = iter([None, 400.0, 40.0])
    monkeypatch.setattr("reasoning_probe.pytest_plugin.progress.ESTIMATE_EVERY_S", 0.0)
    with progress_bar(session(), seconds_left=lambda: next(estimates)) as progress:
        for done in (0, 3, 8):
            time.sleep(0.11)  # tqdm draws ten times a second
            progress(done, 8)
    shown = terminal.getvalue()
    assert "8/8" in shown
    assert "40 s left]" in shown


@pytest.mark.parametrize(
    "config",
    [session(verbosity=-1), session(isatty=False), session(workerinput={})],
    ids=["quiet", "no-terminal", "worker"],
)
def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
    assert drawn(monkeypatch, config) == ""


def test_a_sweep_that_needs_nothing_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    with progress_bar(session()):
        pass
    assert terminal.getvalue() == ""
