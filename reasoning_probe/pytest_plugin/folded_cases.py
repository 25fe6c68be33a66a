"""A probe's cases in pytest's terminal: no dot for each, and wrong answers in a line each, ten or, of a sweep, five.

A sweep has thousands of cases, whose dots and failures would bury the findings. With ``-v`` every case has its line and
every wrong answer its question, as pytest prints them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from reasoning_probe.utils.text import shorten

MOST_IN_FULL = 3
"""Wrong answers that are printed with their questions, as failures are."""

MOST_LINES, MOST_OF_SWEEP = 10, 5
"""Wrong answers that are printed in a line each, and those of a sweep, whose findings stand below them."""

WRONG = "wrong"
"""In what a report carries: the line on the wrong answer that failed the test."""

UNANSWERED = "unanswered"
"""In what a report carries, where the plan left the case out: screened, stopped, or of an item that cannot be asked."""


def is_folded(config: pytest.Config) -> bool:
    """Tell whether the cases of probes are folded: not with ``-v``."""
    return config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES) <= 0


def quiet_status(report: Any, config: pytest.Config) -> tuple[str, str, str] | None:
    """Return the status of a probe's case without a letter, so that no dot is printed; ``None`` for all else.

    A test that fails for any other reason than a wrong answer keeps its letter, and so does one that a user skips.
    """
    facts = getattr(report, "reasoning_probe", None)
    if facts is None or not is_folded(config):
        return None
    if report.skipped and UNANSWERED in facts and not hasattr(report, "wasxfail"):
        return "skipped", "", "SKIPPED"
    if report.when != "call":
        return None
    if report.passed and not hasattr(report, "wasxfail"):
        return "passed", "", "PASSED"
    if report.skipped and hasattr(report, "wasxfail"):
        return "xfailed", "", "XFAIL"
    return ("failed", "", "FAILED") if report.failed and WRONG in facts else None


@contextmanager
def folded_failures(reporter: pytest.TerminalReporter) -> Generator[list[Any]]:
    """Yield the reports of wrong answers, hidden from pytest's list of failures inside the context.

    A few of them are left to pytest, which prints them with their questions; the list is empty then.
    """
    failures = reporter.stats.get("failed", [])
    wrong = [report for report in failures if WRONG in getattr(report, "reasoning_probe", {})]
    if not is_folded(reporter.config) or len(wrong) <= MOST_IN_FULL:
        wrong = []
    hidden = {id(report) for report in wrong}
    try:
        if hidden:
            reporter.stats["failed"] = [report for report in failures if id(report) not in hidden]
        yield wrong
    finally:
        if hidden:
            reporter.stats["failed"] = failures


def print_wrong_answers(reporter: pytest.TerminalReporter, reports: list[Any], *, swept: bool) -> None:
    """Print a line for each of the first *reports* of wrong answers, and the number of the others.

    *swept* says that answers with heads off were asked, too.
    """
    if not reports or reporter.no_summary or not reporter.hasopt("f"):
        return
    width = reporter.config.get_terminal_writer().fullwidth
    reporter.section("wrong answers")
    most = MOST_OF_SWEEP if swept else MOST_LINES
    for report in reports[:most]:
        test_id = shorten(report.nodeid.rpartition("::")[2], 60)
        reporter.line(f"{test_id}  {report.reasoning_probe[WRONG]}"[:width])
    if len(reports) > most:
        reporter.line(f"and {len(reports) - most:,} more; -v prints all with their questions")
