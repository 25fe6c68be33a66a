"""What counts as a number, and its value."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.utils.numbers import MAX_DIGITS, find_numbers, parse_number, render_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("8.", 8),
        (" 8 ", 8),
        ("08", 8),
        ("8.0", 8),
        ("18", 18),
        ("-3", -3),
        ("\N{MINUS SIGN}3", -3),
        ("+5", 5),
        ("1,000", 1000),
        ("400 000", 400_000),
        ("$400 000", 400_000),
        ("$1 234", 1234),
        ("1\u202f234", 1234),
        ("$400k", 400_000),
        ("7 dozen", 84),
        ("3:00", 3),
        ("9 degrees below zero", -9),
        ("$1,000.00", 1000),
        ("-$3", -3),
        ("$-3", -3),
        ("$ 18", 18),
        ("€5", 5),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("1/2", Fraction(1, 2)),
        ("1 1/2", Fraction(3, 2)),
        ("½", Fraction(1, 2)),
        ("1½", Fraction(3, 2)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        ("2.5 million", 2_500_000),
        ("1e3", 1000),
        ("٣", 3),
        ("eight", 8),
        ("Eight.", 8),
        ("twenty-one", 21),
        ("twenty one", 21),
        ("two hundred and five", 205),
        ("one hundred twenty thousand and three", 120_003),
        ("twelve hundred", 1200),
        ("a dozen", 12),
        ("three dozen", 36),
        ("half a million", 500_000),
        ("negative five", -5),
        ("minus three", -3),
        ("one half", Fraction(1, 2)),
        ("two thirds", Fraction(2, 3)),
        ("two and a half", Fraction(5, 2)),
    ],
)
def test_a_text_that_is_one_number(text: str, value: Fraction | int) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", ".", "-", "$", "no", "8 apples", "5 6", "five six", "1,00", "1 234", "5²", "L3", "1/0", "0/0", "10:30",
     "5/5/2021", "2021-05-05", "1.2.3", "May 5, 2021", "1e400", "inf", "nan", "1_000", "9" * (MAX_DIGITS + 1)],
)  # fmt: skip
def test_a_text_that_is_not_one_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("She has 5 apples and 3 pears.", ["5", "3"]),
        ("10-4", ["10", "4"]),
        ("10 -4", ["10", "4"]),
        ("10 - -4", ["10", "-4"]),
        ("= -3, is -5, (-2)", ["-3", "-5", "-2"]),
        ("= - 9", ["-9"]),
        ("5 minus three", ["5", "3"]),
        ("6x2=12", ["6", "2", "12"]),
        ("1,2,3", ["1", "2", "3"]),
        ("head L3H7 of x2", []),
        ("the 3rd of 5kg", ["3", "5"]),
        ("no one, each one, one of them, one apple", ["1"]),
        ("on May 5, 2021 at 10:30, and 7 more", ["7"]),
        ("4.5. Then 6.", ["9/2", "6"]),
        ("five six", ["5", "6"]),
        ("someone often tends", []),
        ("A1.0 or #1 is no number, #### 8 is", ["8"]),
        ("100 000 of 5 200", ["100000", "5", "200"]),
        ("from 9:00 AM to 10:45", ["9"]),
    ],
)
def test_the_numbers_in_a_sentence(text: str, values: list[str]) -> None:
    assert [str(number.value) for number in find_numbers(text)] == values


def test_a_numeral_knows_where_it_stands() -> None:
    text = "It costs -$1,000.50 in all"
    (number,) = find_numbers(text)
    assert text[number.start : number.end] == number.text == "-$1,000.50"
    assert not number.is_word
    assert find_numbers("eight")[0].is_word


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(6), "6"),
        (Fraction(-3), "-3"),
        (Fraction(15, 2), "7.5"),
        (Fraction(-1, 20), "-0.05"),
        (Fraction(1, 3), "1/3"),
    ],
)
def test_a_number_in_digits(value: Fraction, text: str) -> None:
    assert render_number(value) == text


@given(st.fractions(max_denominator=10**6))
def test_a_rendered_number_is_read_back(value: Fraction) -> None:
    assert parse_number(render_number(value)) == value


@given(st.integers(-(10**12), 10**12))
def test_thousands_separators_change_nothing(value: int) -> None:
    assert parse_number(f"{value:,}") == parse_number(f"${value:,}.00".replace("$-", "-$")) == value


@given(st.text())
def test_any_text_can_be_searched(text: str) -> None:
    ends = [0]
    for number in find_numbers(text):
        assert ends[-1] <= number.start < number.end <= len(text)
        ends.append(number.end)
    parse_number(text)


@pytest.mark.parametrize("unit", ["1", "1,000,", "1/", "1:", "$ ", "one ", "-", "1e", "½"])
def test_a_very_long_text_is_no_one_number(unit: str) -> None:
    assert parse_number(unit * 300_000) is None
