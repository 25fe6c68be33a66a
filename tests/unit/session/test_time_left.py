"""The time left: none before a rate is known, then what is left of each kind of work at the rate of this run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from reasoning_probe.data.datasets import from_items
from reasoning_probe.data.items import Item
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from reasoning_probe.session.time_left import TEST_S, Rates, analyses_left, model_seconds_left, seconds_left
from tests.helpers.known_circuits import circuit, donated
from tests.helpers.planted_model import DEFAULT, KNOWN, planted

NAMES = [name for name, answer in KNOWN.items() if answer != DEFAULT and not name.isdigit()]
RIGHT = [Item(question=f"Is {first} {second} an animal?", answer="yes") for first in NAMES for second in NAMES][:9]
WRONG = [Item(question=f"Is a cat number {number} an animal?", answer="yes") for number in range(9)]
RATES = Rates(
    baseline_s=1.0, row_s=0.5, row_tokens=20.0, leaving=0.3, token_s=0.1, answer_tokens=3.0, baseline_tokens=3.0
)


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


def test_a_row_counts_by_the_layers_it_runs_and_by_whether_it_is_decoded() -> None:
    session = session_of(heads="L0H0,L1H0")  # two layers: the second row runs half of them
    session.sweep(session.items[:3])
    assert session.engine is not None
    session.post_sweep.begin("done")  # no analysis follows
    pace, timing = session.engine.pace, session.engine.timing
    assert (pace.rows, pace.depth, pace.decoded) == (6, 4.5, pace.diverged)
    timing.baseline_s = 3.0  # a second each
    pace.verify_s, pace.diverged, pace.decoded = 9.0, 3, 3  # two seconds a whole row; half of the rows leave
    pace.past_decode_s, pace.tokens, pace.decoded_tokens, pace.row_tokens = 12.0, 6, 6, math.inf  # two tokens each
    token = 12.0 / (6 + 3)  # of which three count like verified ones, which cost nothing here
    assert model_seconds_left(session) == pytest.approx(6 * 1.0 + 9.0 * 2.0 + 12 * 0.5 * 2 * token)
    assert seconds_left(session) == pytest.approx(6 + 18 + 12 * token + 27 * TEST_S)


def test_rows_that_are_verified_and_not_handed_over_count_as_verified() -> None:
    session = session_of(heads="L0H0,L0H1")
    sampled: list[tuple[int, float | None]] = []
    session.model_runner.start(session.targets)
    session.post_sweep.begin("done")
    assert session.engine is not None
    pace = session.engine.pace
    with pace.reported_to(lambda: sampled.append((pace.rows, model_seconds_left(session)))):
        session.sweep(session.items)
    rows = [verified for verified, _ in sampled]
    assert rows[0] > 0
    assert rows == sorted(rows)
    last = sampled[-1][1]
    assert last is not None
    assert last < pace.verify_s + pace.decode_s + session.engine.timing.baseline_s  # nothing is counted twice


def test_passes_aside_do_not_change_the_pace() -> None:
    session = session_of(heads="L0H0")
    session.sweep(session.items)
    assert session.engine is not None
    before = vars(session.engine.pace).copy()
    with session.engine.aside("curve_s"):
        list(
            session.engine.run(
                [SweepRequest(session.queries.query("animals", WRONG[0]), ((session.targets[0], "mean"),))]
            )
        )
        assert session.engine.pace.rows == before["rows"] + 1
    assert vars(session.engine.pace) == before


def test_every_head_has_a_curve_and_named_heads_have_cards() -> None:
    session = session_of(RIGHT, ablate_heads=True)
    session.sweep(session.items[:3])
    seconds = analyses_left(session, RATES)
    assert seconds["control_s"] > 0
    assert seconds["curve_s"] > 0
    assert seconds["describe_s"] > 0
    assert seconds["directions_s"] > seconds["control_s"]  # twenty directions and the head, on several items


def test_the_analyses_cost_what_such_rows_cost_in_the_sweep() -> None:
    session = session_of(RIGHT, ablate_heads=True)
    session.sweep(session.items[:3])
    slower = replace(RATES, row_s=2 * RATES.row_s, token_s=2 * RATES.token_s)
    once, twice = analyses_left(session, RATES), analyses_left(session, slower)
    assert twice["control_s"] == pytest.approx(2 * once["control_s"])
    assert once["curve_s"] < twice["curve_s"] < 2 * once["curve_s"]  # its statistics do not use the model


def test_sets_that_restore_answers_are_asked_beside_random_ones() -> None:
    session = ProbeSession(Settings(heads="L0H1+L0H3,L1H2", ablations=("restore",), max_new_tokens=4))
    session.model_runner.use(circuit(), "circuit")
    session.select(session.cases(session.dataset("sums", from_items("sums", donated(24)).items)))
    session.sweep(session.items[:6])
    baselines = [outcome for outcome in session.outcomes.values() if outcome.target == "baseline"]
    right = len(session.items) * sum(outcome.correct for outcome in baselines) / len(baselines)
    assert analyses_left(session, RATES)["circuits_s"] == pytest.approx(2 * right * (0.5 + 0.3 * 3 * 0.1))
    session.sweep(session.items)
    session.run_post_sweep()
    assert session.engine is not None
    assert session.engine.timing.circuits_s > 0


def test_an_analysis_that_runs_takes_less_and_less_and_those_before_it_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(RIGHT, ablate_heads=True)
    session.sweep(session.items)
    whole = analyses_left(session, RATES)
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    session.post_sweep.begin("describe_s")
    clock[0] += whole["describe_s"] / 4
    left = analyses_left(session, RATES)
    assert left == pytest.approx({"describe_s": 0.75 * whole["describe_s"], "curve_s": whole["curve_s"]})
    clock[0] += 100 * whole["describe_s"]  # longer than was thought: it is not over yet
    assert analyses_left(session, RATES)["describe_s"] > whole["describe_s"]


def test_where_no_answer_is_right_no_head_is_named() -> None:
    session = session_of(ablate_heads=True)
    session.sweep(session.items[:3])
    assert analyses_left(session, RATES)["describe_s"] == 0.0


def test_what_is_done_is_left_no_more() -> None:
    session = session_of(heads="L0H0")
    session.sweep(session.items)
    session.run_post_sweep()
    assert analyses_left(session, RATES) == {}
    assert model_seconds_left(session) == 0.0


def test_a_plan_without_targets_ends_with_its_baselines() -> None:
    session = session_of()
    session.sweep(session.items[:3])
    assert session.engine is not None
    session.engine.timing.baseline_s = 3.0
    assert model_seconds_left(session) == pytest.approx(6.0)
