"""How wrong answers deviate: each way by examples that show it and near ones that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.scoring.deviations import WORDS, deviations

SUM = "What is 52 + 27?"


def ways(expected: str, answer: str | None, question: str = "") -> set[str]:
    return {name for name, holds in deviations(expected, answer, question).items() if holds}


@pytest.mark.parametrize(
    ("expected", "answer", "way", "near"),
    [
        ("79", "72", "units_digit", "92"),
        ("79", "19", "other_digit", "12"),
        ("79", "179", "number_of_digits", "97"),
        ("79", "7", "number_of_digits", "-78"),
        ("6", "-6", "sign", "-5"),
        ("79", "52", "operand_echoed", "53"),
        ("79", "25", "other_operation", "26"),
        ("79", "-25", "other_operation", "-26"),
        ("79", "80", "off_by_one", "79.5"),
        ("79", "790", "magnitude", "791"),
        ("79", "7.9", "magnitude", "9"),
    ],
)
def test_a_wrong_number(expected: str, answer: str, way: str, near: str) -> None:
    assert way in ways(expected, answer, SUM)
    assert way not in ways(expected, near, SUM)


def test_one_number_can_deviate_in_several_ways() -> None:
    assert ways("8", "7", "What is 15 - 7?") == {"units_digit", "operand_echoed", "off_by_one"}


def test_digits_are_those_of_whole_numbers() -> None:
    assert ways("7.5", "7.4") == set()
    assert ways("1,000", "1,009.00") == {"units_digit"}


def test_a_wrong_label_is_one_of_the_others() -> None:
    assert deviations("Yes.", "unknown") == {"answered_no": False, "answered_unknown": True, "no_answer": False}
    assert ways("no", "yes and no") == set()


@pytest.mark.parametrize("expected", ["79", "yes", "Paris"])
def test_no_answer_is_a_way_to_be_wrong(expected: str) -> None:
    assert ways(expected, None) == {"no_answer"}


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_whole_numbers_of_as_many_digits_differ_in_some(expected: int, answer: int) -> None:
    shown = ways(str(expected), str(answer))
    assert shown <= WORDS.keys()
    pairs = list(zip(reversed(str(abs(expected))), reversed(str(abs(answer))), strict=False))
    assert ("number_of_digits" in shown) == (len(str(abs(expected))) != len(str(abs(answer))))
    if "units_digit" in shown:
        assert abs(expected - answer) < 10
        assert all(one == other for one, other in pairs[1:])
    if "other_digit" in shown:
        assert expected % 10 == answer % 10
