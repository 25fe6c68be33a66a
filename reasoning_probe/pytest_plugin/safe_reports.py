"""Reports of a probe's cases, and warnings, that a terminal and a CI system obey in nothing: pytest prints them raw."""

from __future__ import annotations

import warnings

import pytest

from reasoning_probe.utils.text import printable, printable_in_colour


def make_printable(report: pytest.TestReport) -> None:
    """Break up what a terminal or a CI system would obey in *report*: an answer may stand in the error and the output.

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
    report.sections = [(title, printable_in_colour(content)) for title, content in report.sections]
    if hasattr(report, "wasxfail"):
        report.wasxfail = printable(report.wasxfail)


def make_warning_printable(warning: warnings.WarningMessage) -> None:
    """Break up what a terminal or a CI system would obey in *warning*: a library may quote a model's files in it."""
    text = str(warning.message)
    safe = printable(text)
    if safe != text:
        warning.message = safe
