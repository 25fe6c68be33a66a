"""Reports of a probe's cases that a terminal and a CI system obey in nothing: pytest prints them as they are."""

from __future__ import annotations

import pytest

from reasoning_probe.utils.text import break_commands, printable


def make_printable(report: pytest.TestReport) -> None:
    """Break up what a CI system would obey in *report*: a model's answer may stand in the error and in the output.

    Colours in captured output stay; an error's text holds none.
    """
    if isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        report.longrepr = (path, line, printable(reason))
    elif report.longrepr is not None:
        text = report.longreprtext
        safe = printable(text)
        if safe != text:
            report.longrepr = safe
    report.sections = [(title, break_commands(content)) for title, content in report.sections]
    if hasattr(report, "wasxfail"):
        report.wasxfail = printable(report.wasxfail)
