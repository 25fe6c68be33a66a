"""The gold solution of an item: the numbers that its question gives and the steps of its right solution.

The steps come from the item's worked solution (GSM8K's ``<<a*b=c>>`` or its written equations) or its operation; where
there is neither, from the question's own calculation, or from a search over its numbers for what makes the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, pairwise, permutations

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.extraction.equations import Equation, combine, find_equations
from reasoning_probe.scoring.extraction.units import ratios
from reasoning_probe.utils.number_words import NumberSpan
from reasoning_probe.utils.numbers import find_numbers, parse_number

MAX_SEARCHED = 4
"""Solutions are searched for among at most so many numbers: 4 make some thousand calculations."""

MAX_FACTORS = 6
"""At most so many factors of a product may be multiplied in any order."""

MAX_IMPLIED = 8
"""At most so many of the numbers that a question only implies are tried."""

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

    ``numbers`` are in the question's order, repeats included; ``implied`` are those that words such as "half" and
    percentages imply; ``steps`` are the results of the right solution, the answer among them; ``chain`` is that
    solution in order, if it is known; ``factors`` are the pairs that may be multiplied first in a longer product.
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
        """The numerators and denominators of the question's fractions: 3 and 4 of ``3/4``."""
        fractions = [number for number in self.numbers if number.denominator > 1]
        parts = {Fraction(part) for number in fractions for part in (number.numerator, number.denominator)}
        return self.implied & parts

    @property
    def available(self) -> frozenset[Fraction]:
        """All numbers that the question gives or implies."""
        return self.implied | frozenset(self.numbers)


@lru_cache(maxsize=4096)
def gold_solution_of(item: Item) -> GoldSolution:
    """Return the gold solution of *item*, whose answer is a number.

    >>> gold = gold_solution_of(Item(question="Alice has 10 dollars, spends four. How much left?", answer="6"))
    >>> [str(number) for number in gold.numbers], [str(step) for step in gold.steps], sorted(gold.operators)
    (['10', '4'], ['6'], ['-'])
    """
    expected = parse_number(item.answer)
    assert expected is not None  # an item of kind number has one
    question = _OPTIONS.split(item.question[:_MAX_TEXT], maxsplit=1)[0]  # the question does not give its options
    spans = find_numbers(question)
    operands = [value for text in item.operands if (value := parse_number(text)) is not None]
    numbers = tuple(operands or [span.value for span in spans])
    percents = [span.value for span in spans if _is_percent(question, span)]
    implied = _implied_numbers(question, spans)
    chain, alternatives = _solution(item, expected, _operand_groups(numbers, percents, sorted(implied)))
    constants = {operand for step in chain for operand in step.operands} if item.solution is not None else set()
    steps = {step.stated for step in (*chain, *alternatives) if step.stated is not None} | {expected}
    operators = {operator for step in (*chain, *alternatives) for operator in step.operators}
    if item.operation is not None and item.solution is None:
        operators = {item.operation}
    return GoldSolution(
        expected,
        numbers,
        frozenset(implied | (constants - steps)),
        frozenset(steps),
        frozenset(operators),
        chain,
        frozenset(_factor_pairs(chain)),
    )


def _implied_numbers(question: str, spans: Sequence[NumberSpan]) -> set[Fraction]:
    """Return the numbers that *question* implies by words, units, clock times, percentages, dozens and fractions."""
    implied = {value for pattern, values in _IMPLIED if pattern.search(question) for value in values} | ratios(question)
    implied |= {Fraction(part) for time in _CLOCK.findall(question) for part in time}
    for span in spans:
        value = span.value
        if _is_percent(question, span):
            implied |= {value / 100, 1 - value / 100, 1 + value / 100, Fraction(1)}
        if "dozen" in span.text:
            implied.add(value / 12)
        if value.denominator > 1 and "." not in span.text:
            implied |= {1 - value, Fraction(value.numerator), Fraction(value.denominator)}
            implied |= {Fraction(value // 1), value % 1} - {Fraction(0)}  # 3 of "three and a half"
    return implied


def _solution(
    item: Item, expected: Fraction, groups: Iterable[list[tuple[Fraction, ...]]]
) -> tuple[tuple[Equation, ...], list[Equation]]:
    """Return the calculations of the right solution in order, and those of all alternatives that a search finds."""
    if item.solution is not None:
        solution = item.solution[:_MAX_TEXT]
        texts = _ANNOTATION.findall(solution) or [solution]
        equations = [equation for text in texts for equation in find_equations(text)]
        if chain := tuple(equation for equation in equations if equation.stated is not None):
            return chain, []
    if item.operation is not None:
        return (), []
    equations = [equation for equation in find_equations(item.question[:_MAX_TEXT]) if equation.true == expected]
    if equations:
        return (equations[0]._replace(stated=expected),), []
    searches = ([solution for numbers in group for solution in _search(numbers, expected)] for group in groups)
    solutions = next((solutions for solutions in searches if solutions), [])
    steps = [step for solution in solutions for step in (*solution, *_distributed(solution))]
    return (solutions[0] if solutions else ()), steps


def _is_percent(question: str, span: NumberSpan) -> bool:
    return question[span.end : span.end + 8].strip().startswith(("%", "percent"))


def _operand_groups(
    numbers: tuple[Fraction, ...], percents: Sequence[Fraction], implied: Sequence[Fraction]
) -> Iterator[list[tuple[Fraction, ...]]]:
    """Yield groups of the numbers that a solution may be made of, the simplest first.

    They are the question's numbers, with a percentage as a factor; one of them used twice (20 for "Ann has 20 and Bob
    11 fewer: how many together?"); and one that the question only implies.
    """
    candidates = [numbers]
    for percent in percents[:1]:
        index = numbers.index(percent) if percent in numbers else len(numbers)
        before, after = numbers[:index], numbers[index + 1 :]
        factor = percent / 100
        candidates += [(*before, factor, *after, number) for number in (*before, *after)]
        candidates += [(*before, value, *after) for value in (factor, 1 - factor, 1 + factor)]
    yield [candidate for candidate in candidates if 1 < len(candidate) <= MAX_SEARCHED]
    yield [(*numbers, number) for number in numbers] if 1 < len(numbers) < MAX_SEARCHED else []
    if 0 < len(numbers) < MAX_SEARCHED:
        yield [(*numbers, number) for number in implied[:MAX_IMPLIED]]
    if 0 < len(numbers) < MAX_SEARCHED - 1:
        yield [(*numbers, number, numbers[0]) for number in implied[:MAX_IMPLIED]]


def _search(numbers: tuple[Fraction, ...], expected: Fraction) -> list[tuple[Equation, ...]]:
    """Return each solution that makes *expected* from all *numbers*, as its calculations in order."""
    if len(numbers) == 1:
        return [()] if numbers[0] == expected else []
    sequences = _step_sequences(tuple(map(Fraction.as_integer_ratio, numbers)), expected.as_integer_ratio())
    return [
        tuple(
            Equation((Fraction(*left), operator, Fraction(*right)), Fraction(*value), 0, 0, None)
            for left, operator, right, value in steps
        )
        for steps in sequences
    ]


_Ratio = tuple[int, int]
"""A number as numerator and positive denominator, not reduced: a search combines thousands, and fractions are slow."""

_Step = tuple[_Ratio, str, _Ratio, _Ratio]
"""The left operand, the operator, the right operand and the value."""


def _step_sequences(numbers: tuple[_Ratio, ...], expected: _Ratio) -> list[tuple[_Step, ...]]:
    """Return each sequence of steps that makes *expected* from all of two *numbers* or more; no step is negative."""
    sequences: list[tuple[_Step, ...]] = []
    top, bottom = expected
    for i, j in permutations(range(len(numbers)), 2):
        left, right = numbers[i], numbers[j]
        rest = tuple(number for k, number in enumerate(numbers) if k not in (i, j)) if len(numbers) > 2 else ()
        for operator, value in _values(left, right, in_order=i < j):
            if value[0] < 0:
                continue
            step = left, operator, right, value
            if rest:
                sequences += [(step, *later) for later in _step_sequences((*rest, value), expected)]
            elif value[0] * bottom == top * value[1]:
                sequences.append((step,))
    return sequences


def _values(left: _Ratio, right: _Ratio, *, in_order: bool) -> list[tuple[str, _Ratio]]:
    """Return each operator with the value of ``left operator right``; sums and products only *in_order*."""
    (a, b), (c, d) = left, right
    bottom = b * d
    values = [("-", (a * d - c * b, bottom))]
    if in_order:
        values = [("+", (a * d + c * b, bottom)), *values, ("*", (a * c, bottom))]
    if c:
        values.append(("/", (a * d, b * c) if c > 0 else (-a * d, -b * c)))
    return values


def _factor_pairs(chain: Sequence[Equation]) -> Iterator[frozenset[Fraction]]:
    """Yield any two factors of each product in *chain*, whether it is made in one step or in several.

    ``13 * 4`` is as good a step as the first one of ``13 * 2 = 26, 26 * 4 = 104``.
    """
    factors: dict[Fraction, tuple[Fraction, ...]] = {}
    for step in chain:
        if set(step.operators) == {"*"} and step.stated is not None:
            operands = step.operands
            factors[step.stated] = tuple(factor for operand in operands for factor in factors.get(operand, (operand,)))
            yield from (frozenset(pair) for pair in combinations(factors[step.stated][:MAX_FACTORS], 2))


def _distributed(solution: tuple[Equation, ...]) -> Iterator[Equation]:
    """Yield ``12 * 2`` and ``9 * 2`` where ``(12 + 9) * 2`` is a solution: each part may be multiplied first."""
    for first, second in pairwise(solution):
        if first.operators[0] not in "+-" or second.operators[0] not in "*/" or second.operands[0] != first.stated:
            continue
        for part in first.operands:
            value = combine(part, second.operators[0], second.operands[1])
            yield Equation((part, second.operators[0], second.operands[1]), value, 0, 0, None)
