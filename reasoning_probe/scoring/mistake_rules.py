"""The rules that explain a wrong number: one pure function for each kind of mistake.

A rule takes the gold solution (the question's numbers and the steps of the right solution), the wrong answer, and the
chain of calculations that the response states. It returns the reason why it applies in one line, or ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod

from reasoning_probe.scoring.extraction.equations import Equation, Token, combine, evaluate
from reasoning_probe.scoring.gold_solution import GoldSolution
from reasoning_probe.utils.numbers import render_number


@dataclass(frozen=True)
class StatedChain:
    """The calculations that a response states up to its answer.

    ``values`` are their exact values, each with the mistakes of the earlier results corrected (``None`` for a division
    by zero); ``preceding`` are the numbers that the response states before its first calculation.
    """

    equations: tuple[Equation, ...]
    values: tuple[Fraction | None, ...]
    preceding: frozenset[Fraction] = frozenset()


Rule = Callable[[GoldSolution, Fraction, StatedChain | None], str | None]
"""A rule: from gold solution, wrong answer and stated chain to a reason, or ``None`` where the rule does not apply."""

_TENS = frozenset(Fraction(10) ** power for power in range(1, 13))


def stated_chain(
    equations: Iterable[Equation], answer: Fraction, preceding: Iterable[Fraction] = ()
) -> StatedChain | None:
    """Return the stated calculations up to the last one whose result is *answer*, or ``None`` if there is none.

    ``16 - 3 - 4 = 8, 8 * 2 = 16`` is one chain of two calculations: the second inherits the mistake of the first.
    """
    stated = [equation for equation in equations if equation.stated is not None]
    while stated and stated[-1].stated != answer:
        stated.pop()
    corrections: dict[Fraction, Fraction] = {}
    values = []
    for equation in stated:
        value = evaluate(equation.tokens, corrections)
        values.append(value)
        if value is not None and equation.stated is not None and equation.stated not in equation.operands:
            corrections[equation.stated] = value
    return StatedChain(tuple(stated), tuple(values), frozenset(preceding)) if stated else None


def one_too_many(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is a whole number that exceeds the expected one by exactly 1.

    Example: 9 for 5 + 3. Counter-examples: 1.5 for 0.5, and 10 for 5 + 3.
    """
    return _off_by(gold, answer, 1)


def one_too_few(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is a whole number that falls short of the expected one by exactly 1.

    Example: 7 for 5 + 3. Counter-example: 6 for 5 + 3.
    """
    return _off_by(gold, answer, -1)


def _off_by(gold: GoldSolution, answer: Fraction, difference: int) -> str | None:
    whole = answer.denominator == gold.expected.denominator == 1
    if not whole or answer - gold.expected != difference:
        return None
    word = "more" if difference > 0 else "less"
    return f"{render_number(answer)} is one {word} than {render_number(gold.expected)}"


def miscalculated(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The response states steps of the right solution, but calculates one of them wrong.

    Definition: either the last calculation comes to the expected answer once its mistakes are corrected, or every
    calculation is a step of the right solution and one has a wrong result. Example: ``52 - 27 = 23``. Counter-example:
    ``52 + 27 = 78`` for 52 - 27, which is another operation.
    """
    if chain is None or _is_circular(gold, answer, chain):
        return None
    last, value = chain.equations[-1], chain.values[-1]
    wrong = next((equation for equation in reversed(chain.equations) if not _holds(equation)), None)
    allowed = gold.available | gold.steps | {_stated(equation) for equation in chain.equations[:-1]}
    solved = _matches(last, value, {gold.expected}) and allowed.issuperset(last.operands)
    if wrong is None or not (solved or _all_steps(gold, chain)):
        return None
    result = render_number(_stated(wrong))
    return f"{_expression(wrong.tokens)} is the right calculation, but it does not come to {result}"


def wrong_chain(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The response calculates with the question's own numbers, but not as the right solution does.

    Definition: the operands of a calculation, or its first two, are numbers of the question or results derived from
    them, and the right solution has no such step; a division counts only where it is exact, and the result need not
    be right. Example: ``10 + 4 = 15`` for 10 - 4, and ``10 + 4 - 1 = 13``. Counter-example: ``18 / 10 = 1.8`` for "What
    is half of 18?", as the question has no 10.
    """
    if chain is None or _is_circular(gold, answer, chain):
        return None
    allowed = set(gold.available | (gold.steps - ({gold.expected} - chain.preceding)))
    for equation, value in zip(chain.equations, chain.values, strict=True):
        derived = allowed.issuperset(equation.operands)
        counts = derived and _is_exact(equation)
        if counts and not _is_step(gold, chain, equation, value):
            return f"{_expression(equation.tokens)} is not what the question asks for"
        first_step = None if counts else _first_step(equation)
        if first_step is not None:
            result = evaluate(first_step)
            whole = result is not None and result.denominator == 1
            if allowed.issuperset(first_step[::2]) and whole and result not in gold.steps:
                return f"{_expression(first_step)} is not what the question asks for"
        if derived:
            allowed.add(_stated(equation))
    return None


def foreign_chain(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The response calculates its answer with numbers that the question does not give.

    Example: ``18 / 10 = 1.8`` for "What is half of 18?". Counter-example: ``18 * 2 = 36``, where "half" gives the 2.
    """
    if chain is None or _is_circular(gold, answer, chain) or _all_steps(gold, chain):
        return None
    last = chain.equations[-1]
    if set(last.operands) <= gold.available:
        return f"{_expression(last.tokens)} is not what the question asks for, and does not come out even"
    return f"{_expression(last.tokens)} does not come from the question's numbers"


def operand_echoed(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is one of the question's numbers.

    Example: 10 for "Alice has 10 dollars, spends 4. How much left?". Counter-example: 14.
    """
    return f"{render_number(answer)} is a number of the question" if answer in gold.numbers else None


def step_left_out(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is an intermediate result of the right solution.

    Example: 9 where the solution is ``16 - 3 - 4 = 9, 9 * 2 = 18``. Counter-example: 17.
    """
    if answer not in gold.steps - {gold.expected}:
        return None
    return f"{render_number(answer)} is a step on the way to {render_number(gold.expected)}"


def wrong_operand(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer applies an operation of the solution to two other numbers of the question.

    Example: 12 for (16 - 3 - 4) * 2, by 16 - 4. Counter-example: 20, by 16 + 4.
    """
    return _combination(gold, answer, gold.operators) if len(gold.numbers) > 2 else None


def other_operation(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is another operation on two of the question's numbers, or the sum or product of all of them.

    Example: 15 for 5 + 3, by 5 * 3. Counter-examples: 2 for 5 / 3, which is not exact, and -6 for 10 - 4: a sign.
    """
    reason = _combination(gold, answer, frozenset("+-*/"))
    if reason is None and len(gold.numbers) > 2 and answer in (sum(gold.numbers), prod(gold.numbers)):
        return f"{render_number(answer)} is all of the question's numbers together"
    return reason


def altered_solution(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is that of the right solution with one change: another operator, one number fewer, or another number.

    The steps after the change are recalculated with its result. Example: 26 for ``16 - 3 - 4 = 9, 9 * 2 = 18``, by
    16 - 3 = 13 and 13 * 2. Counter-example: 100, which no single change gives.
    """
    if len(gold.chain) == 1 and len(gold.chain[0].operators) == 1:
        return None  # ``other_operation`` covers one operation on two numbers
    for index, equation in enumerate(gold.chain[:12]):
        for tokens in _alterations(equation.tokens[:20], gold.numbers[:12]):
            value = evaluate(tokens)
            results = {} if value is None or equation.stated is None else {equation.stated: value}
            for later in gold.chain[index + 1 : 12]:
                value = evaluate(later.tokens, results)
                if value is not None and later.stated is not None:
                    results[later.stated] = value
            if value == answer and results:
                altered, original = _expression(tokens), _expression(equation.tokens)
                return f"the right solution with {altered} for {original} comes to it"
    return None


def _alterations(tokens: tuple[Token, ...], numbers: Sequence[Fraction]) -> Iterator[tuple[Token, ...]]:
    """Yield *tokens* with one operator replaced, one operand left out, or one operand replaced by one of *numbers*."""
    for index, token in enumerate(tokens):
        before, after = tokens[:index], tokens[index + 1 :]
        if isinstance(token, Fraction):
            neighbours = {
                *tokens[max(0, index - 2) : index],
                *tokens[index + 1 : index + 3],
            }  # never "40 / 40"
            others = [number for number in numbers if number not in (token, *neighbours) and token in numbers]
            yield from ((*before, number, *after) for number in others)
            continue
        if token in "()":
            continue
        yield from ((*before, operator, *after) for operator in "+-*/" if operator != token)
        if len(tokens) == 3 and token in "+*":
            yield from ((after[0], operator, before[0]) for operator in "-/")
        if len(tokens) > 3 and isinstance(after[0], Fraction):
            yield (*before, *after[1:])


def sign(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is the expected number with the opposite sign.

    Example: -6 for 10 - 4. Counter-example: -5.
    """
    return "the sign is wrong" if answer == -gold.expected else None


def magnitude(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is the expected number times a power of ten.

    Example: 1800 for 60 * 3. Counter-example: 360.
    """
    if not answer or not gold.expected:
        return None
    factor = max(abs(answer / gold.expected), abs(gold.expected / answer))
    return "it is off by a power of ten" if factor in _TENS else None


def place_value(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is a whole number with one digit off by one (a forgotten carry), or with its digits in another order.

    Example: 69 for 52 + 27, which is 79. Counter-example: 66.
    """
    if answer.denominator != 1 or gold.expected.denominator != 1:
        return None
    if abs(answer - gold.expected) in _TENS:
        return "one digit is wrong by one place value"
    digits = [sorted(render_number(value)) for value in (answer, gold.expected)]
    return "the digits stand in another order" if digits[0] == digits[1] else None


def concatenated(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The answer is two of the question's numbers written side by side.

    Example: 53 for 5 + 3. Counter-example: 58.
    """
    numerals = [render_number(number) for number in gold.numbers[:12]]
    pairs = {a + b for i, a in enumerate(numerals) for j, b in enumerate(numerals) if i != j}
    return "two numbers of the question are written together" if render_number(answer) in pairs else None


def _stated(equation: Equation) -> Fraction:
    assert equation.stated is not None  # a StatedChain holds no other
    return equation.stated


def _holds(equation: Equation) -> bool:
    return equation.true == equation.stated


def _all_steps(gold: GoldSolution, chain: StatedChain) -> bool:
    """Whether every calculation of *chain* is a step of the right solution."""
    pairs = zip(chain.equations, chain.values, strict=True)
    return all(_is_step(gold, chain, equation, value) for equation, value in pairs)


def _is_step(gold: GoldSolution, chain: StatedChain, equation: Equation, value: Fraction | None) -> bool:
    """Whether *equation* is a step of the right solution: it makes one of its values from numbers that a solver has."""
    others = {_stated(other) for other in chain.equations if other is not equation}
    return (gold.available | gold.steps | others).issuperset(equation.operands) and _makes_step(gold, equation, value)


def _makes_step(gold: GoldSolution, equation: Equation, value: Fraction | None) -> bool:
    if equation.operators == ("*",) and frozenset(equation.operands) in gold.factors:
        return True
    return _matches(equation, value, gold.steps) or _matches(equation, equation.true, gold.steps)


def _first_step(equation: Equation) -> tuple[Token, Token, Token] | None:
    """Return ``12 + 90`` of ``12 + 90 - 1``; ``None`` if it is not calculated first, or is the whole calculation.

    ``60 + 4`` is calculated first in ``(60 + 4) / 7``.
    """
    tokens, operators = equation.tokens, set(equation.operators)
    if len(tokens) > 5 and tokens[0] == "(" and tokens[4] == ")":
        return tokens[1], tokens[2], tokens[3]
    same_precedence = operators <= {*"+-"} or operators <= {*"*/"}
    if len(tokens) < 5 or "(" in tokens or not same_precedence:
        return None
    return tokens[0], tokens[1], tokens[2]


def _matches(equation: Equation, value: Fraction | None, targets: Iterable[Fraction]) -> bool:
    """Whether *value* is a target; a single subtraction may be either way round ("4 - 10" is a slip of the pen)."""
    return value is not None and (value in targets or (equation.operators == ("-",) and -value in targets))


def _is_exact(equation: Equation) -> bool:
    """Whether *equation* has no division, or one that comes out even or is stated exactly."""
    if "/" not in equation.operators:
        return True
    value = equation.true
    return value is not None and (value.denominator == 1 or _holds(equation))


def _is_circular(gold: GoldSolution, answer: Fraction, chain: StatedChain) -> bool:
    """Whether *chain* starts from its own answer: "12, because 24 - 12 = 12"."""
    return answer in chain.equations[0].operands and answer not in gold.available | gold.steps


def _combination(gold: GoldSolution, answer: Fraction, operators: frozenset[str]) -> str | None:
    """Return how one of *operators* makes *answer* from two of the question's numbers."""
    if answer == -gold.expected:
        return None
    numbers = [*gold.numbers[:20], *(gold.implied if len(gold.numbers) == 1 else gold.parts)]
    for a, b in combinations(numbers, 2):
        for operator in "+-*/":
            for left, right in ((a, b), (b, a)):
                if operator in operators and combine(left, operator, right) == answer:
                    return f"{render_number(answer)} is {render_number(left)} {operator} {render_number(right)}"
    return None


def _expression(tokens: tuple[Token, ...]) -> str:
    """Write a calculation on one line of at most 60 characters."""
    text = " ".join(token if isinstance(token, str) else render_number(token) for token in tokens)
    text = text.replace("( ", "(").replace(" )", ")")
    return text if len(text) <= 60 else text[:57] + "..."
