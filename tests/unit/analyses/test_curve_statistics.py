"""What a cumulative curve shows item by item, on outcomes whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reasoning_probe.analyses.curve_statistics import carried, excess, with_adjusted


def log_probability(log_odds: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -log_odds)


RNG = np.random.default_rng(0)
WHOLE = RNG.normal(4, 1, 40)  # log-odds of the expected answers
COSTS = RNG.uniform(0.5, 3, (5, 40))  # what each head costs alone


def test_independent_heads_have_no_excess_although_log_probabilities_do_not_add_up() -> None:
    alone, joint = log_probability(WHOLE - COSTS), log_probability(WHOLE - COSTS.sum(axis=0))
    start = log_probability(WHOLE)
    assert np.median((joint - start) - (alone - start).sum(axis=0)) < -3  # nats: as if they backed each other up
    test = excess(start, joint, alone)
    assert test is not None
    assert test["items"] == 40
    assert test["median"] == pytest.approx(0.0, abs=1e-9)
    assert test["p_value"] == 1.0


def test_heads_that_replace_each_other_have_one() -> None:
    alone, joint = log_probability(WHOLE - 0.1 + 0 * COSTS), log_probability(WHOLE - 8)
    test = excess(log_probability(WHOLE), joint, alone)
    assert test is not None
    assert (test["falls"], test["rises"]) == (40, 0)
    assert test["median"] == pytest.approx(-7.5)
    assert test["sum_of_single"] == pytest.approx(-0.5)
    assert test["p_value"] == 2 / 2**40


def test_what_is_too_sure_or_not_known_is_left_out() -> None:
    start, joint = log_probability(WHOLE), log_probability(WHOLE - 8)
    sure = start.copy()
    sure[:30] = -1e-9  # p is 1 in float32, and its log-odds are rounding
    assert excess(sure, joint, start[None]) == excess(start[30:], joint[30:], start[None, 30:])
    sure[30:33] = math.nan
    assert excess(sure, joint, start[None]) is None
    assert excess(start, joint, np.full((1, 40), -math.inf)) is None


def test_the_points_of_both_curves_are_one_family() -> None:
    test = {"items": 9, "falls": 9, "rises": 0, "median": -2.0, "sum_of_single": 0.0, "p_value": 2 / 2**9}
    points = [{"heads": heads, "excess": test | {"p_adjusted": 2 / 2**9}} for heads in range(4)]
    entries = with_adjusted([{"points": [*points, {"heads": 9, "excess": None}]}, {"points": points}])  # type: ignore[list-item,typeddict-item]
    adjusted = [point["excess"]["p_adjusted"] for entry in entries for point in entry["points"] if point["excess"]]  # type: ignore[index]
    assert adjusted == pytest.approx([8 * 2 / 2**9] * 8)


def test_the_first_size_that_keeps_nine_tenths_comes_with_its_range() -> None:
    correct = np.zeros((4, 20))
    correct[3, :] = 1  # all heads: 20 of 20
    correct[2, :18] = 1
    correct[1, :17] = 1
    result = carried([0, 2, 4, 8], correct)
    assert result is not None
    assert result["heads"] == 4
    assert result["range95"] == [2, 8]  # 17 of 20 is nine tenths in many samples, and 18 of 20 is not in many
    assert carried([0, 2, 4, 8], correct) == result


def test_nothing_is_carried_where_nothing_is_right_or_all_heads_are_needed() -> None:
    assert carried([0, 2], np.zeros((2, 20))) is None
    assert carried([0, 2], np.array([[0.0] * 20, [1.0] * 20])) is None


def test_one_right_answer_of_twenty_is_no_finding() -> None:
    """With 1 of 20 right at every size, no head is needed for it; the range says how little that means."""
    result = carried([0, 1, 2], np.array([[1.0] + [0.0] * 19] * 2 + [[0.0, 1.0] + [0.0] * 18]))
    assert result is not None
    assert result == {"heads": 0, "range95": [0, 2]}
