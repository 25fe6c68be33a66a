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


def test_a_verdict_has_the_place_that_a_whole_traceback_gives(request: pytest.FixtureRequest) -> None:
    """pytest reads one line of an xfail's traceback: where it was raised."""
    item = request.node

    def deeper() -> None:
        verdicts.xfail(item, "wrong")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "cases_of", lambda item: ("a case",))
        call = pytest.CallInfo.from_call(deeper, "call")
        assert call.excinfo is not None
        whole = call.excinfo
        place = str(whole.getrepr(style="value").reprcrash)
        verdicts.shorten_traceback(item, call)
    assert call.excinfo.value is whole.value
    assert len(call.excinfo.traceback) == 1
    assert str(call.excinfo.getrepr(style="value").reprcrash) == place
