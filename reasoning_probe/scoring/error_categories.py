"""Mistakes: the rules for a wrong number, in the order in which they are tried.

Each rule is a pure function of the reference (what the question gives and the right solution passes through), the wrong
answer, and the chain of calculations that the response states; it returns why it fires, in one line, or ``None``.
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

CATEGORIES = ("incomplete", "wrong_label", "off_by_one", "wrong_operation", "hallucination")
DEFINITIONS = {
    "incomplete": "no definite answer: empty, cut off, a loop, the question restated, a refusal",
    "wrong_label": "a definite but wrong yes, no or unknown",
    "off_by_one": "a whole number that is exactly 1 away",
    "wrong_operation": "follows from the question's own numbers, by other steps",
    "hallucination": "any other definite wrong answer",
}
"""The error categories in a few words, the first that applies first."""

CATEGORIES = ("incomplete", "wrong_label", "off_by_one", "wrong_operation", "hallucination")
"""The categories of a wrong answer, in the order in which they are tried."""


@dataclass(frozen=True)
class StatedChain:
    """The calculations that a response states up to its answer.

    ``carried`` says what each really comes to when the results before it are put right; ``ahead`` are the numbers that
    the response states before it calculates.
    """

    equations: tuple[Equation, ...]
    carried: tuple[Fraction | None, ...]
    ahead: frozenset[Fraction] = frozenset()


def stated_chain(equations: Iterable[Equation], answer: Fraction, ahead: Iterable[Fraction] = ()) -> StatedChain | None:
    """Return the stated calculations of which the last comes to *answer*, or ``None`` if none does.

    ``16 - 3 - 4 = 8, 8 * 2 = 16`` is one chain of two: the second carries the first one's mistake.
    """
    stated = [found for found in equations if found.stated is not None]
    while stated and stated[-1].stated != answer:
        stated.pop()
    known: dict[Fraction, Fraction] = {}
    carried = []
    for found in stated:
        value = evaluate(found.tokens, known)
        carried.append(value)
        if value is not None and found.stated is not None and found.stated not in found.operands:
            known[found.stated] = value
    return StatedChain(tuple(stated), tuple(carried), frozenset(ahead)) if stated else None


def wrong_number(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> tuple[str, str, str]:
    """Return category, kind and reason of a wrong *answer*: the first rule that fires."""
    for category, kind, rule in RULES:
        reason = rule(reference, answer, chain)
        if reason is not None:
            return category, kind, reason
    return "hallucination", "from_nowhere", f"{render_number(answer)} follows from nothing in the question"


def one_too_many(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """A whole number that is greater than the expected one by exactly 1.

    Example: 9 for 5 + 3. Counter-examples: 1.5 for 0.5, and 10 for 5 + 3.
    """
    return _off_by(reference, answer, 1)


def one_too_few(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """A whole number that is less than the expected one by exactly 1.

    Example: 7 for 5 + 3. Counter-example: 6 for 5 + 3.
    """
    return _off_by(reference, answer, -1)


def _off_by(reference: GoldSolution, answer: Fraction, difference: int) -> str | None:
    whole = answer.denominator == reference.expected.denominator == 1
    if not whole or answer - reference.expected != difference:
        return None
    word = "more" if difference > 0 else "less"
    return f"{render_number(answer)} is one {word} than {render_number(reference.expected)}"


def miscalculated(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The calculations that the response states are steps of the right solution, but it gets a result wrong.

    Definition: put right, the last one comes to the expected answer, or each is a step of the solution and one is
    wrong. Example: ``52 - 27 = 23``. Counter-example: ``52 + 27 = 78`` for 52 - 27, which is another operation.
    """
    if chain is None or _explains_itself(reference, answer, chain):
        return None
    last, value = chain.equations[-1], chain.carried[-1]
    wrong = next((found for found in reversed(chain.equations) if not _holds(found)), None)
    own = reference.given | reference.steps | {_stated(found) for found in chain.equations[:-1]}
    solved = _matches(last, value, {reference.expected}) and own.issuperset(last.operands)
    if wrong is None or not (solved or all(_is_step(reference, chain, *pair) for pair in _pairs(chain))):
        return None
    return f"{_expression(wrong)} is the right calculation, but it does not come to {render_number(_stated(wrong))}"


def wrong_chain(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The response states a calculation with the question's own numbers that the right solution does not hold.

    Definition: its operands, or its first two, are the question's numbers or results found from them; a division counts
    only where it is exact; whether it is calculated right does not matter. Example: ``10 + 4 = 15`` for 10 - 4, and
    so is ``10 + 4 - 1 = 13``. Counter-example: ``18 / 10 = 1.8`` for "What is half of 18?": 10 is from nowhere.
    """
    if chain is None or _explains_itself(reference, answer, chain):
        return None
    own = set(reference.given | (reference.steps - ({reference.expected} - chain.ahead)))
    for found, value in _pairs(chain):
        given = own.issuperset(found.operands)
        if given and _counts(found) and not _is_step(reference, chain, found, value):
            return f"{_expression(found)} is not what the question asks for"
        begun = None if given and _counts(found) else _first_step(found)
        if begun is not None:
            true = evaluate(begun)
            whole = true is not None and true.denominator == 1
            if own.issuperset(begun[::2]) and whole and true not in reference.steps:
                return f"{_written(begun)} is not what the question asks for"
        if given:
            own.add(_stated(found))
    return None


def foreign_chain(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The response calculates its answer with numbers that the question does not give.

    Example: ``18 / 10 = 1.8`` for "What is half of 18?". Counter-example: ``18 * 2 = 36``, where "half" gives the 2.
    """
    if (
        chain is None
        or _explains_itself(reference, answer, chain)
        or all(_is_step(reference, chain, *pair) for pair in _pairs(chain))
    ):
        return None
    last = chain.equations[-1]
    if set(last.operands) <= reference.given:
        return f"{_expression(last)} is not what the question asks for, and does not come out even"
    return f"{_expression(last)} does not come from the question's numbers"


def operand_echoed(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """One of the question's numbers is given as the answer.

    Example: 10 for "Alice has 10 dollars, spends 4. How much left?". Counter-example: 14.
    """
    return f"{render_number(answer)} is a number of the question" if answer in reference.numbers else None


def step_left_out(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """An intermediate result of the right solution is given as the answer.

    Example: 9 where the solution is ``16 - 3 - 4 = 9, 9 * 2 = 18``. Counter-example: 17.
    """
    if answer not in reference.steps - {reference.expected}:
        return None
    return f"{render_number(answer)} is a step on the way to {render_number(reference.expected)}"


def wrong_operand(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The solution's operation on two other numbers of the question.

    Example: 12 for (16 - 3 - 4) * 2, by 16 - 4. Counter-example: 20, by 16 + 4.
    """
    return _combination(reference, answer, len(reference.numbers) > 2, reference.operators)


def altered_solution(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The right solution with one change: an operation replaced, a number left out, or another number in its place.

    The steps after the change are calculated with what it came to. Example: 26 for ``16 - 3 - 4 = 9, 9 * 2 = 18``, by
    16 - 3 = 13 and 13 * 2. Counter-example: 100, for which no one change is enough.
    """
    if len(reference.chain) == 1 and len(reference.chain[0].operators) == 1:
        return None  # one operation on two numbers: ``other_operation`` knows what else can be done with them
    for index, found in enumerate(reference.chain[:12]):
        for tokens in _alterations(found.tokens[:20], reference.numbers[:12]):
            value = evaluate(tokens)
            known = {} if value is None or found.stated is None else {found.stated: value}
            for later in reference.chain[index + 1 : 12]:
                value = evaluate(later.tokens, known)
                if value is not None and later.stated is not None:
                    known[later.stated] = value
            if value == answer and known:
                return f"the right solution with {_written(tokens)} for {_written(found.tokens)} comes to it"
    return None


def _alterations(tokens: tuple[Token, ...], numbers: Sequence[Fraction]) -> Iterator[tuple[Token, ...]]:
    """Yield *tokens* with one operator replaced, one operand left out, or one exchanged for one of *numbers*."""
    for at, token in enumerate(tokens):
        before, after = tokens[:at], tokens[at + 1 :]
        if isinstance(token, Fraction):
            beside = {*tokens[max(0, at - 2) : at], *tokens[at + 1 : at + 3]}  # "40 / 40" is nobody's mistake
            exchanged = [number for number in numbers if number not in (token, *beside) and token in numbers]
            yield from ((*before, number, *after) for number in exchanged)
            continue
        if token in "()":
            continue
        yield from ((*before, operator, *after) for operator in "+-*/" if operator != token)
        if len(tokens) == 3 and token in "+*":
            yield from ((after[0], operator, before[0]) for operator in "-/")
        if len(tokens) > 3 and isinstance(after[0], Fraction):
            yield (*before, *after[1:])


def other_operation(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """Another operation on two of the question's numbers, or the sum or product of all of them.

    Example: 15 for 5 + 3, by 5 * 3. Counter-examples: 2 for 5 / 3, which is not exact, and -6 for 10 - 4: a sign.
    """
    found = _combination(reference, answer, True, frozenset("+-*/"))
    if found is None and len(reference.numbers) > 2 and answer in (sum(reference.numbers), prod(reference.numbers)):
        return f"{render_number(answer)} is all of the question's numbers together"
    return found


def sign(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The expected number with the other sign.

    Example: -6 for 10 - 4. Counter-example: -5.
    """
    return "the sign is wrong" if answer == -reference.expected else None


def magnitude(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """The expected number times a power of ten.

    Example: 1800 for 60 * 3. Counter-example: 360.
    """
    if not answer or not reference.expected:
        return None
    factor = max(abs(answer / reference.expected), abs(reference.expected / answer))
    return "it is off by a power of ten" if factor in _TENS else None


def place_value(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """A whole number of which one digit is wrong by one, a carry forgotten, or the digits stand in another order.

    Example: 69 for 52 + 27, which is 79. Counter-example: 66.
    """
    if answer.denominator != 1 or reference.expected.denominator != 1:
        return None
    if abs(answer - reference.expected) in _TENS:
        return "one digit is wrong by one place value"
    digits = [sorted(render_number(value)) for value in (answer, reference.expected)]
    return "the digits stand in another order" if digits[0] == digits[1] else None


def concatenated(reference: GoldSolution, answer: Fraction, chain: StatedChain | None) -> str | None:
    """Two of the question's numbers written after each other.

    Example: 53 for 5 + 3. Counter-example: 58.
    """
    written = [render_number(number) for number in reference.numbers[:12]]
    joined = {a + b for i, a in enumerate(written) for j, b in enumerate(written) if i != j}
    return "two numbers of the question are written together" if render_number(answer) in joined else None


Rule = Callable[[GoldSolution, Fraction, StatedChain | None], str | None]

RULES: tuple[tuple[str, str, Rule], ...] = (
    ("off_by_one", "one_too_many", one_too_many),
    ("off_by_one", "one_too_few", one_too_few),
    ("hallucination", "miscalculated", miscalculated),
    ("wrong_operation", "wrong_chain", wrong_chain),
    ("hallucination", "foreign_numbers", foreign_chain),
    ("wrong_operation", "operand_echoed", operand_echoed),
    ("wrong_operation", "step_left_out", step_left_out),
    ("wrong_operation", "wrong_operand", wrong_operand),
    ("wrong_operation", "other_operation", other_operation),
    ("wrong_operation", "altered_solution", altered_solution),
    ("hallucination", "sign", sign),
    ("hallucination", "magnitude", magnitude),
    ("hallucination", "place_value", place_value),
    ("hallucination", "concatenated", concatenated),
)
"""Category, kind and rule. A stated chain is judged by its operations before the answer is judged alone."""

_TENS = frozenset(Fraction(10) ** power for power in range(1, 13))


def _pairs(chain: StatedChain) -> list[tuple[Equation, Fraction | None]]:
    return list(zip(chain.equations, chain.carried, strict=True))


def _stated(found: Equation) -> Fraction:
    assert found.stated is not None  # stated_chain keeps no other
    return found.stated


def _holds(found: Equation) -> bool:
    return found.true == found.stated


def _is_step(reference: GoldSolution, chain: StatedChain, found: Equation, carried: Fraction | None) -> bool:
    """Whether a calculation is one of the right solution: it comes to one of its values from numbers a solver has."""
    own = reference.given | reference.steps | {_stated(each) for each in chain.equations if each is not found}
    return own.issuperset(found.operands) and _comes_to_step(reference, found, carried)


def _comes_to_step(reference: GoldSolution, found: Equation, carried: Fraction | None) -> bool:
    if found.operators == ("*",) and frozenset(found.operands) in reference.factors:
        return True
    return _matches(found, carried, reference.steps) or _matches(found, found.true, reference.steps)


def _first_step(found: Equation) -> tuple[Token, Token, Token] | None:
    """Return ``12 + 90`` of ``12 + 90 - 1``; ``None`` where that is not calculated first, or is all there is.

    ``60 + 4`` is calculated first in ``(60 + 4) / 7``.
    """
    operators = set(found.operators)
    if len(found.tokens) > 5 and found.tokens[0] == "(" and found.tokens[4] == ")":
        return found.tokens[1], found.tokens[2], found.tokens[3]
    one_rank = operators <= {*"+-"} or operators <= {*"*/"}
    if len(found.tokens) < 5 or "(" in found.tokens or not one_rank:
        return None
    return found.tokens[0], found.tokens[1], found.tokens[2]


def _matches(found: Equation, value: Fraction | None, targets: Iterable[Fraction]) -> bool:
    """Whether *value* is a target; for one subtraction, either way round ("4 - 10" is a slip of the pen)."""
    return value is not None and (value in targets or (found.operators == ("-",) and -value in targets))


def _counts(found: Equation) -> bool:
    """Whether a calculation counts as one: a division does where it comes out even or is stated exactly."""
    if "/" not in found.operators:
        return True
    true = found.true
    return true is not None and (true.denominator == 1 or _holds(found))


def _explains_itself(reference: GoldSolution, answer: Fraction, chain: StatedChain) -> bool:
    """Whether the chain starts from its own answer: "12, because 24 - 12 = 12"."""
    return answer in chain.equations[0].operands and answer not in reference.given | reference.steps


def _combination(reference: GoldSolution, answer: Fraction, applies: bool, operators: frozenset[str]) -> str | None:
    if not applies or answer == -reference.expected:
        return None
    numbers = [*reference.numbers[:20], *(reference.implied if len(reference.numbers) == 1 else reference.parts)]
    for a, b in combinations(numbers, 2):
        for operator in "+-*/":
            for left, right in ((a, b), (b, a)):
                if operator in operators and combine(left, operator, right) == answer:
                    return f"{render_number(answer)} is {render_number(left)} {operator} {render_number(right)}"
    return None


def _expression(found: Equation) -> str:
    """Write a calculation on one line, cut to 60 characters."""
    return _written(found.tokens)


def _written(tokens: tuple[Token, ...]) -> str:
    text = " ".join(token if isinstance(token, str) else render_number(token) for token in tokens)
    text = text.replace("( ", "(").replace(" )", ")")
    return text if len(text) <= 60 else text[:57] + "..."
