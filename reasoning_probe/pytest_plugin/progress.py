"""Progress of a sweep: a bar on a terminal, an occasional plain line elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.session.session import ProgressBar

LINE_EVERY_S = 20.0
"""Seconds between two lines if there is no terminal."""


@contextmanager
def progress_bar(config: pytest.Config, name: str = "sweep", *, new_line: bool = False) -> Iterator[ProgressBar]:
    """Yield a callback for rows done and rows in all; it shows rate and time left while *name* runs.

    With *new_line* pytest's unfinished line stays above the bar.
    """
    if config.get_verbosity() < 0 or hasattr(config, "workerinput"):  # an xdist worker has no terminal of its own
        yield lambda done, total: None
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    # While output is captured, the standard streams are files: only the reporter knows whether there is a terminal.
    display = _Bar(name, reporter, new_line=new_line) if reporter is not None and reporter.isatty else _Lines()

    def uncaptured() -> AbstractContextManager[Any]:
        return nullcontext() if capture is None else capture.global_and_fixture_disabled()

    def report(done: int, total: int) -> None:
        with uncaptured():
            display.update(done, total)

    try:
        yield report
    finally:
        with uncaptured():
            display.close()


class _Bar:
    """A tqdm bar, on a new line or over the one that pytest began with the name of a file, which it writes again."""

    def __init__(self, name: str, reporter: pytest.TerminalReporter, *, new_line: bool) -> None:
        self.name = name
        self.reporter = reporter
        self.new_line = new_line
        self.bar: Any = None

    def update(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            if self.new_line:
                self.reporter.ensure_newline()
            self.bar = tqdm(total=total, unit="case", desc=self.name, leave=False, file=sys.__stderr__)
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

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_S and done < total:
            self.last = now
            rate = done / (now - self.started)
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            print(f"\nreasoning-probe: {done} of {total} cases, {rate:.1f} a second{left}", flush=True)

    def close(self) -> None:
        """Do nothing: there is no bar to remove."""
