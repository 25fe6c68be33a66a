"""The terminal's summary as plain lines."""

from __future__ import annotations

from reasoning_probe.report.terminal.summary import plain, summary
from reasoning_probe.results.run import Run


def summary_lines(run: Run, width: int = 80, verbosity: int = 0) -> list[str]:
    """Return the summary without its styles."""
    return [plain(line) for line in summary(run, width, verbosity)]
