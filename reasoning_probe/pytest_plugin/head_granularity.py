"""``--probe-granularity head``: one test for all items of a dataset under one target, for very large sweeps.

Only the tests are grouped. The plan, the outcomes and the files are those of a session with a test for each case.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest

from reasoning_probe.models.targets import Target
from reasoning_probe.pytest_plugin.collection import cases_of
from reasoning_probe.pytest_plugin.skips import SKIPPED_CASES
from reasoning_probe.pytest_plugin.state import GROUP_OUTCOMES, INSIDE_GROUP, OUTCOME, STATE
from reasoning_probe.pytest_plugin.verdicts import xfail
from reasoning_probe.report.effects import answer_changed
from reasoning_probe.report.terminal.cases import baseline_line
from reasoning_probe.results.outcome import ItemKey, Key, Outcome
from reasoning_probe.session.plan import Case
from reasoning_probe.utils.text import shorten

MOST_LISTED = 20
"""Wrong items that a failed baseline lists."""


@dataclass(frozen=True)
class ItemGroup:
    """The cases of one dataset under one target and ablation, at least one, which one test stands for."""

    cases: tuple[Case, ...]

    @property
    def target(self) -> Target | None:
        """The target that is switched off in all of them, if any."""
        return self.cases[0].target


# -- collection ---------------------------------------------------------------------------------------------------


def group_by_target(cases: Iterable[Case]) -> list[ItemGroup]:
    """Return *cases* of one dataset by target and ablation, in the order in which these come."""
    groups: dict[tuple[str, str | None], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.target_name, case.ablation), []).append(case)
    return [ItemGroup(tuple(members)) for members in groups.values()]


def group_ids(groups: Iterable[ItemGroup], *, several: bool) -> list[str]:
    """Return the test ids of *groups*: ``baseline``, ``L3H7``; with the ablation if there are *several*."""
    firsts = [group.cases[0] for group in groups]
    return [first.target_name + (f"-{first.ablation}" if several and first.ablation else "") for first in firsts]


def sort_by_item(cases: Sequence[Case]) -> list[Case]:
    """Return *cases* item by item, the order that they have with a test for each, so that the files are the same."""
    order: dict[ItemKey, int] = {}
    for case in cases:
        order.setdefault(case.key[:2], len(order))
    return sorted(cases, key=lambda case: order[case.key[:2]])


# -- running ------------------------------------------------------------------------------------------------------


def ask_all(cases: Iterable[Case], ask: Callable[[Case], Outcome | None]) -> list[tuple[Case, Outcome]]:
    """Return the *cases* that have an outcome, each with it.

    A case on which the model raises does not keep the others from being asked; the first error is raised at the end.
    """
    first_error: Exception | None = None
    outcomes: list[tuple[Case, Outcome]] = []
    for case in cases:
        try:
            outcome = ask(case)
        except Exception as error:
            first_error = first_error or error
            continue
        if outcome is not None:
            outcomes.append((case, outcome))
    if first_error is not None:
        raise first_error
    return outcomes


def run_group(test: pytest.Function) -> bool | None:
    """Run the body of a group's *test* once for each item and report the verdict on all of them.

    Returns ``None``, which makes pytest run the body, if *test* is no probe's or if it runs for one of the items.
    """
    cases = cases_of(test)
    if not cases or test.stash.get(INSIDE_GROUP, False):
        return None
    outcomes = test.stash.get(GROUP_OUTCOMES, {})
    test.stash[INSIDE_GROUP] = True
    try:
        wrong = run_test_per_item(test, cases, outcomes)
    finally:
        test.stash[INSIDE_GROUP] = False
    report_group(test, wrong, outcomes.values())
    return True


def run_test_per_item(test: pytest.Function, cases: Iterable[Case], outcomes: dict[Key, Outcome]) -> list[Outcome]:
    """Run the body of *test* for each of *cases*; return the *outcomes* at which it raised for a wrong answer.

    Any other error propagates. An item that the body skips has no verdict; if it skips all of them, so is the test.
    """
    wrong: list[Outcome] = []
    skipped: BaseException | None = None
    ran = 0
    for case in cases:
        outcome = outcomes.get(case.key)
        if outcomes and outcome is None:  # the item does not fit the model
            continue
        values = {"probe_case": case, "item": case.item, "answer": outcome}
        test.funcargs.update({name: value for name, value in values.items() if name in test.funcargs})
        if outcome is not None:
            test.stash[OUTCOME] = outcome
        try:
            test.ihook.pytest_pyfunc_call(pyfuncitem=test)
        except (pytest.skip.Exception, unittest.SkipTest) as error:
            skipped = error
            test.stash.setdefault(SKIPPED_CASES, []).append(case)
            continue
        except AssertionError:
            if outcome is None or outcome.correct:
                raise
            wrong.append(outcome)
        ran += 1
    if skipped is not None and not ran:
        raise skipped
    return wrong


# -- verdicts -----------------------------------------------------------------------------------------------------


def report_group(test: pytest.Function, wrong: Sequence[Outcome], outcomes: Iterable[Outcome]) -> None:
    """Fail or xfail *test*, of whose *outcomes* some are *wrong*; let it pass if the ablation turned none wrong."""
    if not wrong:
        return
    state = test.config.stash[STATE]
    pairs = [(outcome, state.session.baseline_of(outcome)) for outcome in outcomes]
    if wrong[0].ablation is None:
        text = failed_baseline_text(wrong, len(pairs))
        if state.gate.decides(wrong[0].dataset):
            xfail(test, text.splitlines()[0])
    else:
        baselines = [state.session.baseline_of(outcome) for outcome in wrong]
        flips = sum(baseline is None or baseline.correct for baseline in baselines)
        if not flips:
            return
        text = ablated_group_line(pairs, flips)
        xfail(test, text)
    pytest.fail(text, pytrace=False)  # under --runxfail, too


def failed_baseline_text(wrong: Sequence[Outcome], items: int) -> str:
    """Return the text of a failed baseline: how many of *items* are wrong, and :data:`MOST_LISTED` of them."""
    lines = [f"{len(wrong)} of {items} items wrong"]
    lines += [f"{shorten(outcome.item, 60)}  {baseline_line(outcome)}" for outcome in wrong[:MOST_LISTED]]
    if len(wrong) > MOST_LISTED:
        lines.append(f"and {len(wrong) - MOST_LISTED} more: outcomes.jsonl has them all")
    return "\n".join(lines)


def ablated_group_line(pairs: Sequence[tuple[Outcome, Outcome | None]], flips: int) -> str:
    """Return why an ablated group is wrong: ``L3H7 off: 5 of 100 items changed, 3 flips to wrong``.

    *pairs* holds each outcome with its baseline.
    """
    changed = sum(baseline is not None and answer_changed(outcome, baseline) for outcome, baseline in pairs)
    name = shorten(pairs[0][0].target, 60)
    flipped = "1 flip" if flips == 1 else f"{flips} flips"
    return f"{name} off: {changed} of {len(pairs)} items changed, {flipped} to wrong"
