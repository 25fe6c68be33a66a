"""A group in pytest: the test's body runs once for each of its items, and what they did is one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.state import State
    from reasoning_probe.results.outcome import Key, Outcome
    from reasoning_probe.session.session import Case

Answered = list[tuple["Case", "Outcome"]]


def answers(cases: Iterable[Case], ask: Callable[[Case], Outcome | None]) -> Answered:
    """Ask all *cases*, those after one on which the model raises, too; what it raised first is raised then."""
    trouble: Exception | None = None
    found: Answered = []
    for case in cases:
        try:
            outcome = ask(case)
        except Exception as problem:
            trouble = trouble or problem
            continue
        if outcome is not None:
            found.append((case, outcome))
    if trouble is not None:
        raise trouble
    return found


def run_bodies(test: pytest.Function, cases: Iterable[Case], asked: dict[Key, Outcome], key: Any) -> list[Outcome]:
    """Run the body of *test* for each of *cases*; return the outcomes at which it found a wrong answer.

    Whatever else it raises stays; an item that it skips is no verdict, unless it skips all of them. *key* is where
    the stash keeps the outcome at hand.
    """
    wrong: list[Outcome] = []
    skipped: BaseException | None = None
    ran = 0
    for case in cases:
        outcome = asked.get(case.key)
        if asked and outcome is None:  # its item does not fit the model
            continue
        values = {"probe_case": case, "item": case.item, "answer": outcome}
        test.funcargs.update({name: value for name, value in values.items() if name in test.funcargs})
        if outcome is not None:
            test.stash[key] = outcome
        try:
            test.ihook.pytest_pyfunc_call(pyfuncitem=test)
        except pytest.skip.Exception as problem:
            skipped = problem
            continue
        except AssertionError:
            if outcome is None or outcome.correct:
                raise
            wrong.append(outcome)
        ran += 1
    if skipped is not None and not ran:
        raise skipped
    return wrong


def settle(state: State, wrong: list[Outcome], asked: Iterable[Outcome], xfail: Callable[[str], None]) -> None:
    """Fail or xfail the case of which *wrong* are wrong, or let it pass where the ablation made nothing wrong."""
    from reasoning_probe.pytest_plugin.head_granularity import ablated_group, failed_baseline

    if not wrong:
        return
    pairs = [(outcome, state.session.baseline_of(outcome)) for outcome in asked]
    if wrong[0].ablation is None:
        text = failed_baseline(wrong, len(pairs))
        if state.gate.decides(wrong[0].dataset):
            xfail(text.splitlines()[0])
    else:
        known = [state.session.baseline_of(outcome) for outcome in wrong]
        flips = sum(baseline is None or baseline.correct for baseline in known)
        if not flips:
            return
        text = ablated_group(pairs, flips)
        xfail(text)
    pytest.fail(text, pytrace=False)  # under --runxfail, too
