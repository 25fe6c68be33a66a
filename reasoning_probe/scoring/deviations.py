"""How a wrong answer deviates from the right one: in which digits, by which sign, towards which label.

An error category says where a wrong answer comes from, and each has one. What is asked here is how it looks, so that a
wrong number can deviate in several ways: 80 for 79 is off by one, and has another units digit and another tens digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from reasoning_probe.data.items import LABELS, label_of
from reasoning_probe.scoring.extraction.equations import combine
from reasoning_probe.utils.numbers import find_numbers, parse_number

MAX_NUMBERS = 6
"""At most so many numbers of a question are tried in pairs with other operations."""

_TENS = frozenset(Fraction(10) ** power for power in range(-12, 13) if power)
_MAX_TEXT = 20_000


@dataclass(frozen=True)
class Deviation:
    """A way in which a wrong answer deviates: its name in a run's files, and words that follow "answers are"."""

    name: str
    words: str


NUMBERS = (
    Deviation("units_digit", "wrong in the units digit alone"),
    Deviation("other_digit", "wrong in one other digit alone"),
    Deviation("number_of_digits", "numbers with more or fewer digits"),
    Deviation("sign", "right but for the sign"),
    Deviation("operand_echoed", "a number of the question"),
    Deviation("other_operation", "another operation on the question's numbers"),
    Deviation("off_by_one", "off by one"),
    Deviation("magnitude", "off by a power of ten"),
)
ANSWERED = {label: Deviation(f"answered_{label}", f'"{label}"') for label in LABELS}
NO_ANSWER = Deviation("no_answer", "missing: no answer is given")

WORDS: Mapping[str, str] = {deviation.name: deviation.words for deviation in (*NUMBERS, *ANSWERED.values(), NO_ANSWER)}
"""The words of each deviation by its name."""


def deviations(expected: str, answer: str | None, question: str = "") -> dict[str, bool]:
    """Return by name whether the wrong *answer* deviates from *expected* in each of the ways that are possible.

    A label cannot be answered wrongly by the expected one, so that name is missing; so are digits of a text.

    >>> [name for name, holds in deviations("79", "75", "What is 52 + 27?").items() if holds]
    ['units_digit']
    >>> deviations("yes", "unknown")
    {'answered_no': False, 'answered_unknown': True, 'no_answer': False}
    """
    missing = {NO_ANSWER.name: answer is None}
    label = label_of(expected)
    if label is not None:
        word = None if answer is None else label_of(answer)
        return {ANSWERED[other].name: other == word for other in LABELS if other != label} | missing
    right = parse_number(expected)
    if right is None:
        return missing
    wrong = None if answer is None else parse_number(answer)
    ways = frozenset() if wrong is None else number_deviations(right, wrong, _numbers_of(question))
    return {deviation.name: deviation.name in ways for deviation in NUMBERS} | missing


@lru_cache(maxsize=4096)
def _numbers_of(question: str) -> tuple[Fraction, ...]:
    return tuple(span.value for span in find_numbers(question[:_MAX_TEXT]))


def number_deviations(expected: Fraction, answer: Fraction, numbers: tuple[Fraction, ...] = ()) -> frozenset[str]:
    """Return the names of all ways in which *answer* deviates; *numbers* are those of the question.

    Digits are compared between whole numbers alone.

    >>> sorted(number_deviations(Fraction(79), Fraction(69)))
    ['other_digit']
    >>> sorted(number_deviations(Fraction(2), Fraction(3), (Fraction(5), Fraction(3))))
    ['off_by_one', 'operand_echoed', 'units_digit']
    """
    ways = set()
    if expected.denominator == answer.denominator == 1:
        ways |= _digit_deviations(int(expected), int(answer))
        if abs(answer - expected) == 1:
            ways.add("off_by_one")
    if answer == -expected:
        ways.add("sign")
    if answer in numbers:
        ways.add("operand_echoed")
    if expected and answer / expected in _TENS:
        ways.add("magnitude")
    if answer != -expected and _other_operation(answer, numbers[:MAX_NUMBERS]):
        ways.add("other_operation")
    return frozenset(ways)


def _digit_deviations(expected: int, answer: int) -> set[str]:
    right, wrong = str(abs(expected)), str(abs(answer))
    if len(right) != len(wrong):
        return {"number_of_digits"}
    differing = [place for place, (one, other) in enumerate(zip(right, wrong, strict=True)) if one != other]
    if len(differing) != 1 or (expected < 0) != (answer < 0):
        return set()
    return {"units_digit" if differing[0] == len(right) - 1 else "other_digit"}


def _other_operation(answer: Fraction, numbers: tuple[Fraction, ...]) -> bool:
    """Tell whether an operation on two of *numbers*, either way round, gives *answer*."""
    for index, left in enumerate(numbers):
        for other, right in enumerate(numbers):
            if index != other and any(combine(left, operator, right) == answer for operator in "+-*/"):
                return True
    return False
