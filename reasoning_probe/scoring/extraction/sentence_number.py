"""The number that a sentence states, among all numbers that it mentions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from reasoning_probe.scoring.extraction.equations import Equation, find_equations
from reasoning_probe.scoring.extraction.sentences import MAX_SENTENCE, words
from reasoning_probe.scoring.extraction.strategies import NO_ANSWER, Decision, first_decision
from reasoning_probe.scoring.extraction.units import is_conversion, merge_unit_pairs
from reasoning_probe.utils.number_words import NumberSpan
from reasoning_probe.utils.numbers import find_numbers

_DENIED = re.compile(r"(?:\bnot|n't)(?: (?:equal to|exactly|just|only))?[ $(]*$", re.IGNORECASE)
_GOES_ON = re.compile(r" ?(?:[+*/\u00d7\u00f7]|[-\u2212] )")
_CONCLUDING = re.compile(
    r"\b(?:so|therefore|thus|hence)\b"
    r"|\bround(?:s|ed|ing)?(?: it)?(?: up| down| off)? to\b(?!.{0,30}\b(?:decimal|places|nearest))",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
"""The words that introduce the check of a result: "9 - 4 is 5 because 5 + 4 = 9"."""

_SUBORDINATE = re.compile(
    r"(?:^(?:if|after|since|when|because|given|with|as|for|out of|of|from)\b[^,]{1,200},)"
    r"|\b(?:after|because|since|when|if|out of|from|per|than|at a rate|"
    r"in(?= \w+ (?:minutes|hours|days|weeks|months|years)\b))\b[^,]{1,200}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NumberSentence:
    """A sentence with its calculations and with the *numbers* that it may state."""

    text: str
    question_numbers: AbstractSet[Fraction]
    calculations: Sequence[Equation]
    numbers: Sequence[NumberSpan]


def stated_number(sentence: str, question_numbers: AbstractSet[Fraction]) -> NumberSpan | None:
    """Return the number that *sentence* states, by the first strategy that decides; never an operand of a calculation.

    What follows "so" is read before the rest, and what follows "because" is not read after a result.

    >>> question_numbers = {Fraction(10), Fraction(4)}
    >>> texts = ("10 - 4 = 6 dollars", "Alice has 6 dollars left after spending 4.", "10 - 4", "it is 4")
    >>> [number.text if (number := stated_number(text, question_numbers)) else None for text in texts]
    ['6', '6', None, '4']
    """
    return _stated_number(sentence, frozenset(question_numbers))


@lru_cache(maxsize=1024)
def _stated_number(sentence: str, question_numbers: frozenset[Fraction]) -> NumberSpan | None:
    conclusions = list(_CONCLUDING.finditer(sentence))
    if conclusions:
        start = conclusions[-1].end()
        if number := stated_number(sentence[start:], question_numbers):
            return number._replace(start=number.start + start, end=number.end + start)
    explanation = _EXPLAINED.search(sentence)
    if explanation:
        before = sentence[: explanation.start()]
        if any(equation.stated is not None for equation in calculations_in(before)):
            return stated_number(before, question_numbers)
    return first_decision(SENTENCE_STRATEGIES, number_sentence(sentence, question_numbers))


def number_sentence(text: str, question_numbers: AbstractSet[Fraction]) -> NumberSentence:
    """Return the sentence *text* with its numbers, without operands and denied ones; in words only where all are.

    >>> [number.text for number in number_sentence("5 + 3 = 8, not 7, and eight", set()).numbers]
    ['8']
    """
    calculations = calculations_in(text)
    lower = text.lower()
    denies = "not" in lower or "n't" in lower
    numbers = [
        number
        for number in merge_unit_pairs(text, find_numbers(text), question_numbers)
        if not (denies and _DENIED.search(text, max(0, number.start - 30), number.start))
        and not any(
            equation.start <= number.start < equation.end and not _is_result(number, equation)
            for equation in calculations
        )
        and not _is_clock_operand(text, number)
    ]
    numerals = [number for number in numbers if not number.is_word]
    return NumberSentence(text, question_numbers, calculations, numerals or numbers)


def listed_numbers(sentence: NumberSentence) -> Decision | None:
    """There is no number, or three and more without another word, or always the same one: no answer.

    >>> listed_numbers(number_sentence("8 8 8 8", set())).name
    'NO_ANSWER'
    >>> listed_numbers(number_sentence("8 of 8 are 8, and 9 more", set()))
    """
    numbers = sentence.numbers
    if not numbers or (len(numbers) > 2 and len(words(sentence.text)) == len(numbers)):
        return NO_ANSWER
    same = not sentence.calculations and len(numbers) > 2 and len({number.value for number in numbers}) == 1
    return NO_ANSWER if same else None


def result_of_calculation(sentence: NumberSentence) -> NumberSpan | None:
    """The last number after an equals sign that is no operand, else the last result of a calculation.

    >>> result_of_calculation(number_sentence("10 - 4 is 6", set())).text
    '6'
    >>> result_of_calculation(number_sentence("6 of 10", set()))
    """
    marked = [
        number
        for number in sentence.numbers
        if after_equals(sentence.text, number) and not _GOES_ON.match(sentence.text, number.end)  # "= 3 + 2"
    ]
    results = [
        number for number in sentence.numbers if any(_is_result(number, equation) for equation in sentence.calculations)
    ]
    return (marked or results)[-1] if marked or results else None


def offered_numbers(sentence: NumberSentence) -> Decision | None:
    """Two numbers are offered side by side: no answer.

    >>> offered_numbers(number_sentence("It is 5 or 6.", set())).name
    'NO_ANSWER'
    >>> offered_numbers(number_sentence("It is 5 and 6.", set()))
    """
    offered = any(_is_choice(sentence.text, *pair) for pair in pairwise(sentence.numbers))
    return NO_ANSWER if offered else None


def converted_number(sentence: NumberSentence) -> NumberSpan | None:
    """The last number that says the same as the number before it, in another unit.

    >>> converted_number(number_sentence("210 minutes is 3 hours.", {Fraction(210)})).text
    '3'
    >>> converted_number(number_sentence("210 minutes is 30 more.", {Fraction(210)}))
    """
    numbers = [right for left, right in pairwise(sentence.numbers) if is_conversion(sentence.text, left, right)]
    return numbers[-1] if numbers else None


def number_at_the_beginning(sentence: NumberSentence) -> NumberSpan | None:
    """The number with which the sentence begins.

    >>> number_at_the_beginning(number_sentence("$6 of 10 are left.", set())).text
    '$6'
    >>> number_at_the_beginning(number_sentence("About 6 of 10.", set()))
    """
    first = sentence.numbers[0]
    return None if sentence.text[: first.start].strip(" $\"'(:*") else first


def last_number(sentence: NumberSentence) -> NumberSpan:
    """The last number: outside "after ..." and "if ...", and not from the question, as far as there is one.

    >>> last_number(number_sentence("Alice has 6 dollars left after spending 4.", {Fraction(4)})).text
    '6'
    >>> last_number(number_sentence("Alice spends 4.", {Fraction(4)})).text
    '4'
    """
    asides = [match.span() for match in _SUBORDINATE.finditer(sentence.text)]
    numbers = [
        number for number in sentence.numbers if not any(start <= number.start < end for start, end in asides)
    ] or sentence.numbers
    new = [number for number in numbers if number.value not in sentence.question_numbers]
    return (new or numbers)[-1]


SENTENCE_STRATEGIES: tuple[Callable[[NumberSentence], NumberSpan | Decision | None], ...] = (
    listed_numbers,
    result_of_calculation,
    offered_numbers,
    converted_number,
    number_at_the_beginning,
    last_number,
)
"""The strategies for the number of a sentence in the order in which they are tried."""


def _is_result(number: NumberSpan, equation: Equation) -> bool:
    """Whether *number* is the stated result of *equation*; "5 + 3 = 4 + 4" has no such number."""
    if equation.result_end != number.end:
        return False
    if equation.stated == number.value:
        return True
    stated, value = abs(equation.stated or 0), abs(number.value)
    return stated in (value, value / 100)


def _is_clock_operand(statement: str, number: NumberSpan) -> bool:
    """Whether a full hour is calculated with, as in "10:00 - 8:40"."""
    if ":" not in number.text:
        return False
    before = statement[max(0, number.start - 3) : number.start]
    return bool(_GOES_ON.match(statement, number.end) or re.search(r"[-+*/] ?$", before))


def _is_choice(statement: str, left: NumberSpan, right: NumberSpan) -> bool:
    """Whether two numbers are offered side by side: "5 or 6", "between 7 and 9"."""
    gap = statement[left.end : right.start].strip().lower()
    between = statement[: left.start].lower().rstrip(" $").endswith(("between", "either"))
    return left.value != right.value and (gap == "or" or (between and gap in ("and", "or")))


def after_equals(statement: str, number: NumberSpan) -> bool:
    """Whether *number* stands right after an equals sign."""
    return statement[max(0, number.start - 4) : number.start].rstrip(" $(").endswith(("=", "\N{ALMOST EQUAL TO}"))


@lru_cache(maxsize=1024)
def calculations_in(text: str) -> tuple[Equation, ...]:
    """Return the equations of *text* that are more than a fraction such as ``1/8``."""
    return tuple(
        equation
        for equation in find_equations(text[:MAX_SENTENCE])
        if equation.stated is not None or equation.operators != ("/",) or " " in text[equation.start : equation.end]
    )
