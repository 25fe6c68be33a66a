"""Reference: what an item's question gives and what its right solution passes through.

The steps come from the item's worked solution (GSM8K's ``<<a*b=c>>`` or its written equations) or its operation; where
there is neither, from the question's own calculation, or from a search over its few numbers for what makes the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from reasoning_probe.equations import combine, find_equations
from reasoning_probe.items import Item
from reasoning_probe.numerals import find_numbers, parse_number

MAX_SEARCHED = 4
"""The search for a solution takes questions of at most so many numbers: 4 make some thousand calculations."""

_MAX_TEXT = 20_000
_ANNOTATION = re.compile(r"<<([^<>]{1,200})>>")
_IMPLIED = (
    (re.compile(r"\b(?:twice|doubles?|doubled|both|pair)\b", re.IGNORECASE), (Fraction(2),)),
    (re.compile(r"\b(?:thrice|triples?|tripled)\b", re.IGNORECASE), (Fraction(3),)),
    (re.compile(r"\b(?:half|halves|halved)\b", re.IGNORECASE), (Fraction(2), Fraction(1, 2))),
    (re.compile(r"\bquarters?\b", re.IGNORECASE), (Fraction(4), Fraction(1, 4))),
    (re.compile(r"\bdozens?\b", re.IGNORECASE), (Fraction(12),)),
)
"""Words that bring a number into a calculation without being one themselves."""


@dataclass(frozen=True)
class Reference:
    """The right answer of a number item, the numbers of its question, and the steps of its solution.

    ``numbers`` stand in the question's order, repeats included; ``implied`` are those that words like "half" and
    percentages bring in; ``steps`` are the values that the right solution passes through, the answer among them.
    """

    expected: Fraction
    numbers: tuple[Fraction, ...]
    implied: frozenset[Fraction]
    steps: frozenset[Fraction]
    operators: frozenset[str]

    @property
    def given(self) -> frozenset[Fraction]:
        """Every number that a solver may calculate with."""
        return self.implied | frozenset(self.numbers)


@lru_cache(maxsize=4096)
def reference_of(item: Item) -> Reference:
    """Return the reference of a number *item*.

    >>> found = reference_of(Item(question="Alice has 10 dollars, spends four. How much left?", answer="6"))
    >>> [str(number) for number in found.numbers], [str(step) for step in found.steps], sorted(found.operators)
    (['10', '4'], ['6'], ['-'])
    """
    expected = parse_number(item.answer)
    assert expected is not None  # an item of kind number has one
    question = item.question[:_MAX_TEXT]
    found = find_numbers(question)
    given = [value for text in item.operands if (value := parse_number(text)) is not None]
    numbers = tuple(given or [number.value for number in found])
    implied = {value for pattern, values in _IMPLIED if pattern.search(question) for value in values}
    for number in found:
        if question[number.end : number.end + 8].strip().startswith(("%", "percent")):
            implied |= {number.value / 100, 1 - number.value / 100, 1 + number.value / 100, Fraction(100)}
        if "dozen" in number.text:
            implied.add(number.value / 12)
        if number.value.denominator > 1 and "." not in number.text:
            implied |= {1 - number.value, Fraction(number.value.numerator), Fraction(number.value.denominator)}
    steps, operators, constants = _steps(item, expected, numbers)
    implied |= constants - steps
    return Reference(expected, numbers, frozenset(implied), frozenset(steps | {expected}), frozenset(operators))


def _steps(
    item: Item, expected: Fraction, numbers: tuple[Fraction, ...]
) -> tuple[set[Fraction], set[str], set[Fraction]]:
    """Return the values and the operators of the right solution, and what it calculates with (7 days a week)."""
    if item.solution is not None:
        solution = item.solution[:_MAX_TEXT]
        annotations = _ANNOTATION.findall(solution)
        written = [found for text in annotations or [solution] for found in find_equations(text)]
        steps = {found.stated for found in written if found.stated is not None}
        if steps:
            operands = {operand for found in written for operand in found.operands}
            return steps, {operator for found in written for operator in found.operators}, operands
    if item.operation is not None:
        return set(), {item.operation}, set()
    asked = [found for found in find_equations(item.question[:_MAX_TEXT]) if found.true == expected]
    if asked:
        return set(), set(asked[0].operators), set()
    ways = _search(numbers, expected) if 2 <= len(numbers) <= MAX_SEARCHED else []
    return {value for values, _ in ways for value in values}, {used for _, all_used in ways for used in all_used}, set()


def _search(numbers: tuple[Fraction, ...], expected: Fraction) -> list[tuple[frozenset[Fraction], frozenset[str]]]:
    """Return, for each way to make *expected* from all *numbers*, the values and operators on the way."""
    if len(numbers) == 1:
        return [(frozenset(), frozenset())] if numbers[0] == expected else []
    found = []
    for i, left in enumerate(numbers):
        for j, right in enumerate(numbers):
            if i == j:
                continue
            rest = tuple(number for k, number in enumerate(numbers) if k not in (i, j))
            for operator in "+-*/":
                value = combine(left, operator, right)
                if value is None or (operator in "+*" and i > j) or value < 0:
                    continue
                for values, used in _search((*rest, value), expected):
                    found.append((values | {value}, used | {operator}))
    return found
