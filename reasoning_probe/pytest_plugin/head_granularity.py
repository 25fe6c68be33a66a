"""Groups: all items of a dataset under one target as one test case, for sweeps with more cases than pytest serves.

The plan, the outcomes and the files know nothing of them: a group is a list of cases that one test stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.models.targets import Target
from reasoning_probe.report.effects import answer_changed
from reasoning_probe.report.terminal.cases import baseline_line
from reasoning_probe.results.outcome import ItemKey, Outcome
from reasoning_probe.session.plan import Case
from reasoning_probe.utils.text import shorten

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.state import PluginState
    from reasoning_probe.results.outcome import Key

Answered = list[tuple["Case", "Outcome"]]

MOST_LISTED = 20
"""Wrong items that a failed baseline lists."""


@dataclass(frozen=True)
class ItemGroup:
    """What one test case stands for at ``--probe-granularity head``: never without a case."""

    cases: tuple[Case, ...]

    @property
    def target(self) -> Target | None:
        """What is switched off in all of them, if anything is."""
        return self.cases[0].target


def group_by_target(cases: Iterable[Case]) -> list[ItemGroup]:
    """Return *cases* of one dataset by target and ablation, in the order in which these come."""
    found: dict[tuple[str, str | None], list[Case]] = {}
    for case in cases:
        found.setdefault((case.target_name, case.ablation), []).append(case)
    return [ItemGroup(tuple(members)) for members in found.values()]


def group_ids(groups: Iterable[ItemGroup], *, several: bool) -> list[str]:
    """Return the test ids of *groups*: ``baseline``, ``L3H7``; with the ablation where there are *several*."""
    firsts = [group.cases[0] for group in groups]
    return [first.target_name + (f"-{first.ablation}" if several and first.ablation else "") for first in firsts]


def sort_by_item(cases: Sequence[Case]) -> list[Case]:
    """Return *cases* item by item, as they stand where each is a test: the files are then the same."""
    order: dict[ItemKey, int] = {}
    for case in cases:
        order.setdefault(case.key[:2], len(order))
    return sorted(cases, key=lambda case: order[case.key[:2]])


def failed_baseline(wrong: Sequence[Outcome], asked: int) -> str:
    """Return what a failed baseline says: how many are wrong, and :data:`MOST_LISTED` of them."""
    lines = [f"{len(wrong)} of {asked} items wrong"]
    lines += [f"{shorten(outcome.item, 60)}  {baseline_line(outcome)}" for outcome in wrong[:MOST_LISTED]]
    if len(wrong) > MOST_LISTED:
        lines.append(f"and {len(wrong) - MOST_LISTED} more: outcomes.jsonl has them all")
    return "\n".join(lines)


def ablated_group(answered: Sequence[tuple[Outcome, Outcome | None]], flips: int) -> str:
    """Return why an ablated group is wrong: ``L3H7 off: 5 of 100 items changed, 3 flips to wrong``."""
    moved = sum(baseline is not None and answer_changed(outcome, baseline) for outcome, baseline in answered)
    name = shorten(answered[0][0].target, 60)
    flipped = "1 flip" if flips == 1 else f"{flips} flips"
    return f"{name} off: {moved} of {len(answered)} items changed, {flipped} to wrong"


def ask_all(cases: Iterable[Case], ask: Callable[[Case], Outcome | None]) -> Answered:
    """Ask all *cases*, those after one on which the model raises, too; what it raised first is raised then."""
    trouble: Exception | None = None
    found: Answered = []
    for case in cases:
        try:
            outcome = ask(case)
        except Exception as error:
            trouble = trouble or error
            continue
        if outcome is not None:
            found.append((case, outcome))
    if trouble is not None:
        raise trouble
    return found


def run_test_per_item(
    test: pytest.Function, cases: Iterable[Case], asked: dict[Key, Outcome], key: Any
) -> list[Outcome]:
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
        except pytest.skip.Exception as error:
            skipped = error
            continue
        except AssertionError:
            if outcome is None or outcome.correct:
                raise
            wrong.append(outcome)
        ran += 1
    if skipped is not None and not ran:
        raise skipped
    return wrong


def report_group(
    state: PluginState, wrong: list[Outcome], asked: Iterable[Outcome], xfail: Callable[[str], None]
) -> None:
    """Fail or xfail the case of which *wrong* are wrong, or let it pass where the ablation made nothing wrong."""
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
