"""Progress of a sweep: a bar on a terminal, an occasional plain line elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.session.session import ProgressBar

LINE_EVERY_S = 20.0
"""Seconds between two lines if there is no terminal."""

ESTIMATE_EVERY_S = 1.0
"""Seconds between two estimates of the time that the session still takes."""


@contextmanager
def progress_bar(
    config: pytest.Config,
    name: str = "sweep",
    *,
    new_line: bool = False,
    seconds_left: Callable[[], float | None] | None = None,
) -> Iterator[ProgressBar]:
    """Yield a callback for rows done and rows in all; it shows rate and time left while *name* runs.

    With *new_line* pytest's unfinished line stays above the bar. The time left is that of these rows, or what
    *seconds_left* returns for the whole session.
    """
    if config.get_verbosity() < 0 or hasattr(config, "workerinput"):  # an xdist worker has no terminal of its own
        yield lambda done, total: None
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    # While output is captured, the standard streams are files: only the reporter knows whether there is a terminal.
    left = _TimeLeft(seconds_left)
    on_terminal = reporter is not None and reporter.isatty
    display = _Bar(name, reporter, left, new_line=new_line) if on_terminal else _Lines(left)

    def uncaptured() -> AbstractContextManager[Any]:
        return nullcontext() if capture is None else capture.global_and_fixture_disabled()

    reported, reported_at = (-1, 0), -math.inf

    def report(done: int, total: int) -> None:
        nonlocal reported, reported_at
        if (done, total) == reported and time.monotonic() - reported_at < ESTIMATE_EVERY_S:
            return  # passes come by the thousand, and no answer with most of them
        reported, reported_at = (done, total), time.monotonic()
        with uncaptured():
            display.update(done, total)

    try:
        yield report
    finally:
        with uncaptured():
            display.close()


class _TimeLeft:
    """The time left in words: by the session's estimate, asked for at most once a second, else by the rate so far."""

    def __init__(self, estimate: Callable[[], float | None] | None) -> None:
        self.estimate = estimate
        self.started = time.monotonic()
        self._session_s: float | None = None
        self._estimated = -math.inf

    def text(self, done: int, total: int) -> str:
        """Return ``2 min left``; empty where no rate is known yet."""
        now = time.monotonic()
        if self.estimate is not None and now - self._estimated >= ESTIMATE_EVERY_S:
            self._session_s, self._estimated = self.estimate(), now
        seconds = self._session_s
        if seconds is None:
            if not done:
                return ""
            seconds = (total - done) * (now - self.started) / done
        return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"


class _Bar:
    """A tqdm bar, on a new line or over the one that pytest began with the name of a file, which it writes again."""

    def __init__(self, name: str, reporter: pytest.TerminalReporter, left: _TimeLeft, *, new_line: bool) -> None:
        self.name = name
        self.reporter = reporter
        self.left = left
        self.new_line = new_line
        self.bar: Any = None

    def update(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            if self.new_line:
                self.reporter.ensure_newline()
            shape = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
            self.bar = tqdm(
                total=total, unit="case", desc=self.name, leave=False, file=sys.__stderr__, bar_format=shape
            )
        self.bar.set_postfix_str(self.left.text(done, total), refresh=False)
        if done == self.bar.n:
            self.bar.refresh()
        else:
            self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is None:
            return
        self.bar.close()
        file = self.reporter.currentfspath
        if isinstance(file, os.PathLike) and sys.__stderr__ is not None and sys.__stderr__.isatty():
            line = f"{os.path.relpath(file, self.reporter.startpath)} "
            print(line, end="", file=sys.__stderr__, flush=True)  # through the reporter it would count twice


class _Lines:
    """A line every twenty seconds, for logs."""

    def __init__(self, left: _TimeLeft) -> None:
        self.left = left
        self.started = self.last = time.monotonic()

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_S and done < total:
            self.last = now
            rate = done / (now - self.started)
            left = self.left.text(done, total)
            text = f"{done} of {total} cases, {rate:.1f} a second{', ' if left else ''}{left}"
            print(f"\nreasoning-probe: {text}", flush=True)

    def close(self) -> None:
        """Do nothing: there is no bar to remove."""
