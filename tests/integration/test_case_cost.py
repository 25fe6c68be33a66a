"""What keeps a case cheap changes neither its captured log nor the place of its verdict."""

from __future__ import annotations

import logging

import pytest
from _pytest.logging import LogCaptureHandler, catching_logs

from benchmarks.speed import pytest_overhead
from reasoning_probe.pytest_plugin import verdicts
from reasoning_probe.pytest_plugin.log_capture import propagating_loggers


def test_records_of_torch_reach_the_root_once_and_other_loggers_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: messages.append(record.getMessage()))
    of_torch, of_others = logging.getLogger("torch.of_this_test"), logging.getLogger("of_this_test")
    for logger in (of_torch, of_others):
        monkeypatch.setattr(logger, "propagate", False)
    with propagating_loggers():
        logging.root.addHandler(handler)  # as pytest does before each phase
        of_torch.warning("of torch")
        of_others.warning("of others")
        logging.root.removeHandler(handler)
    assert messages == ["of torch"]
    assert not of_torch.propagate
    assert not of_others.propagate


class WatchedLogger(logging.Logger):
    """A logger that counts how often somebody looks whether it propagates."""

    looks = 0

    @property
    def propagate(self) -> bool:  # type: ignore[override]
        self.looks += 1
        return True

    @propagate.setter
    def propagate(self, value: bool) -> None:
        """Ignore *value*, which ``Logger`` sets."""


def test_pytest_captures_the_same_records_and_looks_at_few_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    of_torch, of_others = logging.getLogger("torch.of_this_test"), logging.getLogger("of_this_test")
    for logger in (of_torch, of_others):
        monkeypatch.setattr(logger, "propagate", False)
    watched, by_pytest = WatchedLogger("transformers.of_this_test"), catching_logs.__enter__
    monkeypatch.setitem(logging.Logger.manager.loggerDict, watched.name, watched)

    def captured() -> tuple[list[str], int]:
        """Return the messages that pytest captures, and how often it looks at the watched logger to do so."""
        before = watched.looks
        with catching_logs(LogCaptureHandler()) as handler:
            looks = watched.looks - before
            for logger in (logging.getLogger("new.of_this_test"), of_torch, of_others):
                logger.warning("of %s", logger.name)
        return [record.getMessage() for record in handler.records], looks

    messages, looks = captured()
    assert messages == ["of new.of_this_test", "of torch.of_this_test", "of of_this_test"]
    assert looks > 0
    with propagating_loggers():
        assert captured() == (messages, 0)
    assert catching_logs.__enter__ is by_pytest
    assert logging.root.manager is logging.Logger.manager


def test_a_verdict_reads_as_pytest_writes_it(request: pytest.FixtureRequest) -> None:
    item = request.node

    def wrong() -> None:
        verdicts.xfail(item, "answered 4, expected 5")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "cases_of", lambda item: ("a case",))
        call = pytest.CallInfo.from_call(wrong, "call")
        by_pytest = pytest.TestReport.from_item_and_call(item, call).longreprtext
        with verdicts.reason_alone(item, call):
            report = pytest.TestReport.from_item_and_call(item, call)
    assert report.longrepr == by_pytest == "answered 4, expected 5"
    assert "repr_failure" not in vars(item)  # another error of the same test has its traceback


def test_an_error_has_its_traceback(request: pytest.FixtureRequest) -> None:
    item = request.node

    def broken() -> None:
        raise KeyError("x")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "cases_of", lambda item: ("a case",))
        call = pytest.CallInfo.from_call(broken, "call")
        with verdicts.reason_alone(item, call):
            report = pytest.TestReport.from_item_and_call(item, call)
    assert 'raise KeyError("x")' in report.longreprtext


def test_the_benchmark_runs_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_overhead, "ITEMS", 2)
    times = pytest_overhead.measured(8, True, page=True, everything=True)
    assert times["cases"] == 8
    assert 0 < times["collect"] < times["total"]
