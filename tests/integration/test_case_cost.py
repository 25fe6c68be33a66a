"""What keeps a case cheap changes neither its captured log nor the place of its verdict."""

from __future__ import annotations

import logging

import pytest

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
