"""Reference: what an item's question gives and what its right solution passes through.

The steps come from the item's worked solution (GSM8K's ``<<a*b=c>>`` or its written equations) or its operation; where
there is neither, from the question's own calculation, or from a search over its few numbers for what makes the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, pairwise

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.extraction.equations import Equation, combine, find_equations
from reasoning_probe.scoring.extraction.units import ratios
from reasoning_probe.utils.numbers import NumberSpan, find_numbers, parse_number

MAX_SEARCHED = 4
"""The search for a solution takes questions of at most so many numbers: 4 make some thousand calculations."""

MAX_FACTORS = 6
"""The first so many factors of a product may be multiplied in any order."""

MAX_IMPLIED = 8
"""So many of the numbers that a question only implies are tried."""

_MAX_TEXT = 20_000
_CLOCK = re.compile(r"(?<![0-9:])([0-9]{1,2}):([0-9]{2})(?![0-9:])")
_OPTIONS = re.compile(r"\s\(?A[).:]\s(?=.{1,400}?\s\(?B[).:]\s)", re.DOTALL)
_ANNOTATION = re.compile(r"<<([^<>]{1,200})>>")
_IMPLIED = (
    (re.compile(r"\b(?:twice|doubles?|doubled|both|pair)\b", re.IGNORECASE), (Fraction(2),)),
    (re.compile(r"\b(?:thrice|triples?|tripled)\b", re.IGNORECASE), (Fraction(3),)),
    (re.compile(r"\b(?:a|one|two|the) thirds?\b", re.IGNORECASE), (Fraction(3), Fraction(1, 3))),
    (re.compile(r"\b(?:a|an|one|two|three|four) fifths?\b", re.IGNORECASE), (Fraction(5), Fraction(1, 5))),
    (re.compile(r"\b(?:a|an|one) eighths?\b", re.IGNORECASE), (Fraction(8), Fraction(1, 8))),
    (re.compile(r"\b(?:a|an|one) tenths?\b", re.IGNORECASE), (Fraction(10), Fraction(1, 10))),
    (re.compile(r"\b(?:percent|percentage)\b|%", re.IGNORECASE), (Fraction(100),)),
    (re.compile(r"\b(?:half|halves|halved)\b", re.IGNORECASE), (Fraction(2), Fraction(1, 2))),
    (re.compile(r"\bweekdays?\b", re.IGNORECASE), (Fraction(5),)),
    (re.compile(r"\bquarters?\b", re.IGNORECASE), (Fraction(4), Fraction(1, 4))),
    (re.compile(r"\bdozens?\b", re.IGNORECASE), (Fraction(12),)),
)
"""Words that bring a number into a calculation without being one themselves."""


@dataclass(frozen=True)
class GoldSolution:
    """The right answer of a number item, the numbers of its question, and the steps of its solution.

    ``numbers`` stand in the question's order, repeats included; ``implied`` are those that words like "half" and
    percentages bring in; ``steps`` are the values that the right solution passes through, the answer among them;
    ``chain`` is that solution in its order, as far as it is known, and ``factors`` are the pairs that may be multiplied
    first where it is a longer product.
    """

    expected: Fraction
    numbers: tuple[Fraction, ...]
    implied: frozenset[Fraction]
    steps: frozenset[Fraction]
    operators: frozenset[str]
    chain: tuple[Equation, ...] = ()
    factors: frozenset[frozenset[Fraction]] = frozenset()

    @property
    def parts(self) -> frozenset[Fraction]:
        """The whole numbers that the question's fractions are made of: 3 and 4 of ``3/4``."""
        fractions = [number for number in self.numbers if number.denominator > 1]
        made_of = {Fraction(part) for number in fractions for part in (number.numerator, number.denominator)}
        return self.implied & made_of

    @property
    def given(self) -> frozenset[Fraction]:
        """Every number that a solver may calculate with."""
        return self.implied | frozenset(self.numbers)


@lru_cache(maxsize=4096)
def reference_of(item: Item) -> GoldSolution:
    """Return the reference of a number *item*.

    >>> found = reference_of(Item(question="Alice has 10 dollars, spends four. How much left?", answer="6"))
    >>> [str(number) for number in found.numbers], [str(step) for step in found.steps], sorted(found.operators)
    (['10', '4'], ['6'], ['-'])
    """
    expected = parse_number(item.answer)
    assert expected is not None  # an item of kind number has one
    question = _OPTIONS.split(item.question[:_MAX_TEXT], maxsplit=1)[0]  # what is only offered is not given
    found = find_numbers(question)
    given = [value for text in item.operands if (value := parse_number(text)) is not None]
    numbers = tuple(given or [number.value for number in found])
    implied = {value for pattern, values in _IMPLIED if pattern.search(question) for value in values} | ratios(question)
    implied |= {Fraction(part) for time in _CLOCK.findall(question) for part in time}
    for number in found:
        if _is_percent(question, number):
            implied |= {number.value / 100, 1 - number.value / 100, 1 + number.value / 100, Fraction(1)}
        if "dozen" in number.text:
            implied.add(number.value / 12)
        if number.value.denominator > 1 and "." not in number.text:
            implied |= {1 - number.value, Fraction(number.value.numerator), Fraction(number.value.denominator)}
            implied |= {Fraction(number.value // 1), number.value % 1} - {Fraction(0)}  # 3 of "three and a half"
    percents = [number.value for number in found if _is_percent(question, number)]
    chain, ways = _solution(item, expected, _variants(numbers, percents, sorted(implied)))
    constants = {operand for found in chain for operand in found.operands} if item.solution is not None else set()
    steps = {found.stated for found in (*chain, *ways) if found.stated is not None} | {expected}
    operators = {operator for found in (*chain, *ways) for operator in found.operators}
    if item.operation is not None and item.solution is None:
        operators = {item.operation}
    return GoldSolution(
        expected,
        numbers,
        frozenset(implied | (constants - steps)),
        frozenset(steps),
        frozenset(operators),
        chain,
        frozenset(_regrouped(chain)),
    )


def _solution(
    item: Item, expected: Fraction, groups: Iterable[list[tuple[Fraction, ...]]]
) -> tuple[tuple[Equation, ...], list[Equation]]:
    """Return the right solution's calculations in order, and those of every other way to it that was found."""
    if item.solution is not None:
        solution = item.solution[:_MAX_TEXT]
        annotations = _ANNOTATION.findall(solution)
        written = [found for text in annotations or [solution] for found in find_equations(text)]
        if chain := tuple(found for found in written if found.stated is not None):
            return chain, []
    if item.operation is not None:
        return (), []
    asked = [found for found in find_equations(item.question[:_MAX_TEXT]) if found.true == expected]
    if asked:
        return (replace(asked[0], stated=expected),), []
    searched = ([way for numbers in group for way in _search(numbers, expected)] for group in groups)
    ways = next((ways for ways in searched if ways), [])
    found = [step for way in ways for step in (*way, *_distributed(way))]
    return (ways[0] if ways else ()), found


def _is_percent(question: str, number: NumberSpan) -> bool:
    return question[number.end : number.end + 8].strip().startswith(("%", "percent"))


def _variants(
    numbers: tuple[Fraction, ...], percents: Sequence[Fraction], implied: Sequence[Fraction]
) -> Iterator[list[tuple[Fraction, ...]]]:
    """Yield groups of the numbers that a solution may be made of, the plainest first.

    They are the question's own, a percentage as a factor, one of them taken twice (20 for "Ann has 20 and Bob 11 fewer:
    how many together?"), and one that the question only implies.
    """
    own = [numbers]
    for percent in percents[:1]:
        at = numbers.index(percent) if percent in numbers else len(numbers)
        before, after = numbers[:at], numbers[at + 1 :]
        factor = percent / 100
        taken = [(*before, factor, *after, number) for number in (*before, *after)]
        own += [*taken, *((*before, each, *after) for each in (factor, 1 - factor, 1 + factor))]
    own = [each for each in own if len(each) <= MAX_SEARCHED]
    yield [each for each in own if len(each) > 1]
    yield [(*numbers, number) for number in numbers] if 1 < len(numbers) < MAX_SEARCHED else []
    if 0 < len(numbers) < MAX_SEARCHED:
        yield [(*numbers, number) for number in implied[:MAX_IMPLIED]]
    if 0 < len(numbers) < MAX_SEARCHED - 1:
        yield [(*numbers, number, numbers[0]) for number in implied[:MAX_IMPLIED]]


def _search(numbers: tuple[Fraction, ...], expected: Fraction) -> list[tuple[Equation, ...]]:
    """Return each way to make *expected* from all *numbers*, as its calculations in order."""
    if len(numbers) == 1:
        return [()] if numbers[0] == expected else []
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
                step = Equation((left, operator, right), value, 0, 0, None)
                found += [(step, *way) for way in _search((*rest, value), expected)]
    return found


def _regrouped(chain: Sequence[Equation]) -> Iterator[frozenset[Fraction]]:
    """Yield any two factors of each product in *chain*, be it made in one step or in several.

    ``13 * 4`` is a step as good as the first one of ``13 * 2 = 26, 26 * 4 = 104``.
    """
    factors: dict[Fraction, tuple[Fraction, ...]] = {}
    for found in chain:
        if set(found.operators) == {"*"} and found.stated is not None:
            factors[found.stated] = tuple(part for each in found.operands for part in factors.get(each, (each,)))
            yield from (frozenset(pair) for pair in combinations(factors[found.stated][:MAX_FACTORS], 2))


def _distributed(way: tuple[Equation, ...]) -> Iterator[Equation]:
    """Yield ``12 * 2`` and ``9 * 2`` where ``(12 + 9) * 2`` is a way: each part may be multiplied first."""
    for first, second in pairwise(way):
        if first.operators[0] not in "+-" or second.operators[0] not in "*/" or second.operands[0] != first.stated:
            continue
        for part in first.operands:
            value = combine(part, second.operators[0], second.operands[1])
            yield Equation((part, second.operators[0], second.operands[1]), value, 0, 0, None)
