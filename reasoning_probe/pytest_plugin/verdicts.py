"""Verdicts: how a wrong answer ends its test, and what the test's report carries for the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from reasoning_probe.pytest_plugin.collection import cases_of
from reasoning_probe.pytest_plugin.folded_cases import UNANSWERED, WRONG
from reasoning_probe.pytest_plugin.safe_reports import make_printable
from reasoning_probe.pytest_plugin.skips import NO_OUTCOME, skipped_facts
from reasoning_probe.pytest_plugin.state import ANSWER_UNCHANGED, OUTCOME, STATE

if TYPE_CHECKING:
    from reasoning_probe.results.outcome import Outcome

WRONG_ANSWER = pytest.StashKey[str]()
"""In a test's stash: the line on the wrong answer that failed it."""


def wrong_outcome(item: pytest.Item) -> Outcome | None:
    """Return the outcome of *item* if its answer is wrong, else ``None``."""
    outcome = item.stash.get(OUTCOME, None)
    return None if outcome is None or outcome.correct else outcome


def fail_or_xfail(item: pytest.Item, outcome: Outcome) -> NoReturn:
    """End *item*, whose *outcome* is wrong, without a traceback.

    A baseline case fails, or is xfailed where the gate takes the verdict; an ablated case is xfailed. Under
    ``--runxfail`` all of them fail.
    """
    from reasoning_probe.report.terminal.cases import ablated_line, baseline_line, failure_text

    state = item.config.stash[STATE]
    if outcome.ablation is None:
        if state.gate.decides(outcome.dataset):
            xfail(item, baseline_line(outcome))
        item.stash[WRONG_ANSWER] = baseline_line(outcome)
        pytest.fail(failure_text(outcome), pytrace=False)
    line = ablated_line(outcome, state.session.baseline_of(outcome))
    xfail(item, line)
    item.stash[WRONG_ANSWER] = line
    pytest.fail(line, pytrace=False)


def xfail(item: pytest.Item, reason: str) -> None:
    """Xfail *item* unless ``--runxfail`` is set.

    ``pytest.xfail`` would do the same with a traceback, for which pytest would parse this module at every case.
    """
    if not item.config.getoption("runxfail"):
        raise pytest.xfail.Exception(reason, pytrace=False)


@contextmanager
def reason_alone(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """While open, the report of *item*'s *call* shows the reason of an :func:`xfail`, and pytest looks up no place.

    pytest would show the same, and look up the paths of all frames first, which takes as long as all else in a case.
    """
    error = None if call.excinfo is None else call.excinfo.value
    if not isinstance(error, pytest.xfail.Exception) or error.pytrace or not cases_of(item):
        yield
        return
    text = str(error)
    item.repr_failure = lambda excinfo, style=None: text  # type: ignore[method-assign]  # on this item alone
    try:
        yield
    finally:
        del item.repr_failure  # the test may run again


def mark_report(item: pytest.Item, report: Any) -> pytest.TestReport:
    """Return *report* with what the page needs to know of a probe's case, and nothing that a CI system would obey.

    It is an attribute, since a user property would be written to the JUnit XML as well.
    """
    if cases := cases_of(item):
        ablated = item.get_closest_marker("ablated") is not None
        report.reasoning_probe = {"ablated": ablated, "unchanged": item.stash.get(ANSWER_UNCHANGED, False)}
        if report.when == "call" and not ablated:
            report.reasoning_probe["baselines"] = [list(case.item_key) for case in cases]
        state = item.config.stash[STATE]
        if report.when == "call" and WRONG_ANSWER in item.stash:
            report.reasoning_probe[WRONG] = item.stash[WRONG_ANSWER]
            del item.stash[WRONG_ANSWER]  # the test may run again
        if item.stash.get(NO_OUTCOME, False):
            report.reasoning_probe[UNANSWERED] = True
        if skipped := skipped_facts(state, item, cases, report):
            report.reasoning_probe["skipped"] = skipped
        state.skips.add(report)
        make_printable(report)
    return report  # type: ignore[no-any-return]
