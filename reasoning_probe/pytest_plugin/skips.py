"""Skipped tests: their cases are not asked where a mark tells it in time, and are left out of the run in any case.

A mark is read before anything is computed. A skip in a fixture, a hook or a test's body comes when the plan may have
been answered already: the test's report then carries the cases that it skipped, from xdist's workers, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.state import PluginState
    from reasoning_probe.results.outcome import ItemKey, Key
    from reasoning_probe.results.skips import SkippedCase
    from reasoning_probe.session.plan import Case

SKIPPED_CASES = pytest.StashKey[list["Case"]]()
"""In a test's stash, like the keys below: the cases of a group's test that its body skipped."""

NO_OUTCOME = pytest.StashKey[bool]()
"""Whether the test has no outcome to check, since its item does not fit the model or its head was not chosen."""

INSIDE_BODY = pytest.StashKey[bool]()
"""Whether the test's body runs: a report that is made meanwhile is that of a subtest."""


def skipped_by_mark(item: pytest.Item) -> bool:
    """Tell whether a mark skips *item*; a mark that cannot be read fails its test later, and skips nothing."""
    function = getattr(item, "function", None)
    if getattr(function, "__unittest_skip__", False):  # by itself it would skip after the fixtures
        item.add_marker(pytest.mark.skip(reason=getattr(function, "__unittest_skip_why__", "")))
        return True
    if "skip" not in item.keywords and "skipif" not in item.keywords:  # most of 100,000 tests have no marks to read
        return False
    from _pytest.skipping import evaluate_skip_marks  # pytest has no public name for it

    try:
        return evaluate_skip_marks(item) is not None
    except (Exception, pytest.fail.Exception):
        return False


class SkipTally:
    """The cases that tests of one session skipped, as their reports tell it."""

    def __init__(self) -> None:
        self.probes = False  # whether any report was a probe's
        self.baselines: set[ItemKey] = set()  # the items whose answer without an ablation had a test of its own
        self._tests: dict[Key, set[str]] = {}  # by case, the node ids of the tests that skipped it
        self._facts: dict[Key, tuple[int, bool, bool]] = {}  # by case, how many tests it has, and what the plan holds

    @property
    def datasets(self) -> set[str]:
        """The datasets of which a test was skipped."""
        return {key[0] for key in self._tests}

    def add(self, report: Any) -> None:
        """Take over what *report* says of a probe's test."""
        facts = getattr(report, "reasoning_probe", None)
        if facts is None:
            return
        self.probes = True
        self.baselines |= {(dataset, id) for dataset, id in facts.get("baselines", ())}
        for dataset, id, target, ablation, tests, planned, baseline_planned in facts.get("skipped", ()):
            key = (dataset, id, target, ablation)
            self._tests.setdefault(key, set()).add(report.nodeid)
            self._facts[key] = (tests, planned, baseline_planned)

    def cases(self) -> list[SkippedCase]:
        """Return the cases all of whose tests were skipped."""
        from reasoning_probe.results.skips import SkippedCase

        cases = []
        for key, nodes in self._tests.items():
            tests, planned, baseline_planned = self._facts[key]
            if len(nodes) >= tests:
                cases.append(SkippedCase(key, planned, baseline_planned))
        return cases


def count_tests(cases: Iterable[Case]) -> Counter[Key]:
    """Return how many tests ask each of *cases*."""
    return Counter(case.key for case in cases)


def skipped_facts(
    state: PluginState, item: pytest.Item, cases: Iterable[Case], report: pytest.TestReport
) -> list[list[Any]]:
    """Return, in values that xdist can send, the *cases* of a test that were skipped, and what the plan holds of them.

    A group's test may skip some of its cases and pass. An item that does not fit the model is not skipped by its test.
    """
    if report.when not in ("setup", "call") or item.stash.get(INSIDE_BODY, False):
        return []
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped = [] if item.stash.get(NO_OUTCOME, False) else list(cases)
    else:
        skipped = item.stash.get(SKIPPED_CASES, []) if report.when == "call" else []
    if not skipped:
        return []
    plan = state.session.plan
    return [
        [
            *case.key,
            state.tests_of[case.key],
            case.item_key in plan.by_item if case.target is None else case.key in plan.cases,
            plan.baseline_key(case) in plan.cases,
        ]
        for case in skipped
    ]
