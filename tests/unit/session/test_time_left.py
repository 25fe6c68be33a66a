"""The time left: none before a rate is known, then the rest of the sweep by its rate, and what follows by its rows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reasoning_probe.data.datasets import from_items
from reasoning_probe.data.items import Item
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from reasoning_probe.session.time_left import CONTROL_ROWS, TEST_S, model_seconds_left, rows_after_sweep, seconds_left
from tests.helpers.planted_model import DEFAULT, KNOWN, planted

NAMES = [name for name, answer in KNOWN.items() if answer != DEFAULT and not name.isdigit()]
RIGHT = [Item(question=f"Is {first} {second} an animal?", answer="yes") for first in NAMES for second in NAMES][:9]
WRONG = [Item(question=f"Is a cat number {number} an animal?", answer="yes") for number in range(9)]


def session_of(items: Sequence[Item] = WRONG, **settings: object) -> ProbeSession:
    session = ProbeSession(Settings(**({"max_new_tokens": 4} | settings)))  # type: ignore[arg-type]
    session.model_runner.use(planted(), "planted")
    session.select(session.cases(session.dataset("animals", from_items("animals", items).items)))
    return session


def test_before_a_rate_is_known_there_is_no_estimate() -> None:
    session = session_of(ablate_heads=True)
    assert seconds_left(session) is None
    session.model_runner.start(session.targets)
    assert seconds_left(session) is None


def test_in_the_sweep_its_rest_counts_by_its_rate_and_the_analyses_by_their_rows() -> None:
    session = session_of(heads="L0H0,L0H1")
    session.sweep(session.items[:3])
    assert session.engine is not None
    session.engine.timing.baseline_s, session.engine.timing.sweep_s = 3.0, 6.0  # a second each
    control = 2 * CONTROL_ROWS
    assert rows_after_sweep(session) == pytest.approx(
        {"control_s": control, "directions_s": 0.0, "describe_s": 0.0, "curve_s": 0}
    )
    assert model_seconds_left(session) == pytest.approx(6 + 12 + control)
    assert seconds_left(session) == pytest.approx(6 + 12 + control + 27 * TEST_S)


def test_every_head_has_a_curve_and_named_heads_have_cards() -> None:
    session = session_of(RIGHT, ablate_heads=True)
    session.sweep(session.items[:3])
    rows = rows_after_sweep(session)
    assert rows["curve_s"] > 0
    assert rows["describe_s"] > 0
    assert rows["directions_s"] > 0


def test_where_no_answer_is_right_no_head_is_named() -> None:
    session = session_of(ablate_heads=True)
    session.sweep(session.items[:3])
    rows = rows_after_sweep(session)
    assert (rows["directions_s"], rows["describe_s"]) == (0.0, 0.0)


def test_what_is_done_is_left_no_more() -> None:
    session = session_of(heads="L0H0")
    session.sweep(session.items)
    session.run_post_sweep()
    assert "control_s" not in rows_after_sweep(session)
    assert model_seconds_left(session) == 0.0


def test_a_plan_without_targets_ends_with_its_baselines() -> None:
    session = session_of()
    session.sweep(session.items[:3])
    assert session.engine is not None
    session.engine.timing.baseline_s = 3.0
    assert model_seconds_left(session) == pytest.approx(6.0)
