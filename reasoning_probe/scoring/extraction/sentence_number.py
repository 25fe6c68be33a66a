"""Statements: the number that one sentence states, among all that it mentions."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from reasoning_probe.scoring.extraction.equations import Equation, find_equations
from reasoning_probe.scoring.extraction.sentences import MAX_SENTENCE, words
from reasoning_probe.scoring.extraction.units import merge_unit_pairs
from reasoning_probe.utils.numbers import NumberSpan, find_numbers

_DENIED = re.compile(r"(?:\bnot|n't)(?: (?:equal to|exactly|just|only))?[ $(]*$", re.IGNORECASE)
_GOES_ON = re.compile(r" ?(?:[+*/\u00d7\u00f7]|[-\u2212] )")
_CONCLUDING = re.compile(
    r"\b(?:so|therefore|thus|hence)\b"
    r"|\bround(?:s|ed|ing)?(?: it)?(?: up| down| off)? to\b(?!.{0,30}\b(?:decimal|places|nearest))",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
"""What explains a result: the calculation after it checks the one before, as in "9 - 4 is 5 because 5 + 4 = 9"."""

_SUBORDINATE = re.compile(
    r"(?:^(?:if|after|since|when|because|given|with|as|for|out of|of|from)\b[^,]{1,200},)"
    r"|\b(?:after|because|since|when|if|out of|from|per|than|at a rate|"
    r"in(?= \w+ (?:minutes|hours|days|weeks|months|years)\b))\b[^,]{1,200}$",
    re.IGNORECASE,
)


def stated_number(statement: str, own: set[Fraction]) -> NumberSpan | None:
    """Return the number that *statement* states, where *own* are those that the question gave.

    A result ("= 6", "which is 6") first; never an operand of a calculation; then what stands at the beginning, outside
    "after ..." and "if ...", what is not from the question; at last whatever comes last.

    >>> own = {Fraction(10), Fraction(4)}
    >>> texts = ("10 - 4 = 6 dollars", "Alice has 6 dollars left after spending 4.", "10 - 4", "it is 4")
    >>> [number.text if (number := stated_number(text, own)) else None for text in texts]
    ['6', '6', None, '4']
    """
    concluding = list(_CONCLUDING.finditer(statement))
    if concluding and (number := stated_number(statement[concluding[-1].end() :], own)):
        return number
    explained = _EXPLAINED.search(statement)
    if explained and any(found.stated is not None for found in calculations_in(statement[: explained.start()])):
        return stated_number(statement[: explained.start()], own)
    calculations = calculations_in(statement)
    numbers = [
        number
        for number in merge_unit_pairs(statement, find_numbers(statement), own)
        if not _DENIED.search(statement, max(0, number.start - 30), number.start)
        and not any(found.start <= number.start < found.end and not _is_result(number, found) for found in calculations)
        and not _is_clock_operand(statement, number)
    ]
    numbers = [number for number in numbers if not number.is_word] or numbers
    if not numbers or (len(numbers) > 2 and len(words(statement)) == len(numbers)):  # "8 8 8 8" answers nothing
        return None
    if not calculations and len(numbers) > 2 and len({number.value for number in numbers}) == 1:
        return None
    marked = [
        number
        for number in numbers
        if after_equals(statement, number) and not _GOES_ON.match(statement, number.end)  # "= 3 + 2"
    ]
    results = [number for number in numbers if any(_is_result(number, found) for found in calculations)]
    if marked or results:
        return (marked or results)[-1]
    if any(_is_choice(statement, *pair) for pair in pairwise(numbers)):
        return None
    if not statement[: numbers[0].start].strip(" $\"'(:*"):
        return numbers[0]
    aside = [match.span() for match in _SUBORDINATE.finditer(statement)]
    main = [number for number in numbers if not any(start <= number.start < end for start, end in aside)] or numbers
    fresh = [number for number in main if number.value not in own]
    return (fresh or main)[-1]


def _is_result(number: NumberSpan, found: Equation) -> bool:
    """Whether *number* is what *found* is said to come to; "5 + 3 = 4 + 4" names no such number."""
    return found.result_end == number.end and abs(found.stated or 0) in (abs(number.value), abs(number.value) / 100)


def _is_clock_operand(statement: str, number: NumberSpan) -> bool:
    """Whether a full hour is calculated with, as in "10:00 - 8:40"."""
    before, after = statement[max(0, number.start - 3) : number.start], statement[number.end :]
    return ":" in number.text and bool(_GOES_ON.match(after) or re.search(r"[-+*/] ?$", before))


def _is_choice(statement: str, left: NumberSpan, right: NumberSpan) -> bool:
    """Whether two numbers are offered side by side: "5 or 6", "between 7 and 9"."""
    gap = statement[left.end : right.start].strip().lower()
    between = statement[: left.start].lower().rstrip(" $").endswith(("between", "either"))
    return left.value != right.value and (gap == "or" or (between and gap in ("and", "or")))


def after_equals(statement: str, number: NumberSpan) -> bool:
    """Whether *number* stands right after an equals sign."""
    return statement[max(0, number.start - 4) : number.start].rstrip(" $(").endswith(("=", "\N{ALMOST EQUAL TO}"))


def calculations_in(text: str) -> list[Equation]:
    """Return the equations of *text* that are more than a fraction such as ``1/8``."""
    return [
        found
        for found in find_equations(text[:MAX_SENTENCE])
        if found.stated is not None or found.operators != ("/",) or " " in text[found.start : found.end]
    ]
