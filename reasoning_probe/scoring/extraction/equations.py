"""Equations: calculations in the forms in which people and models write them, with their stated and exact results.

``10 - 4 = 6``, ``16 eggs - 3 eggs = 13 eggs``, ``(16 - 3 - 4) * $2 = $18``, ``25% of $20 = 0.25 * 20 = $5`` and
``5 plus 3 is 8`` are equations. All arithmetic is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from reasoning_probe.utils.number_words import NumberSpan
from reasoning_probe.utils.numbers import MAX_DIGITS, find_numbers

Token = Fraction | str
"""A number, one of ``+ - * / ^``, or a bracket."""

MAX_TOKENS = 60
"""Longer calculations are not evaluated."""

_OPERATORS = {
    "+": "+", "plus": "+", "-": "-", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "minus": "-",
    "*": "*", "\N{MULTIPLICATION SIGN}": "*", "x": "*", "\N{MIDDLE DOT}": "*", "times": "*", "multiplied by": "*",
    "/": "/", "\N{DIVISION SIGN}": "/", "divided by": "/", "^": "^", "**": "^",
    "of": "of", "=": "=", "\N{ALMOST EQUAL TO}": "=",
}  # fmt: skip
_LONE_OPERATORS = {symbol for symbol, operator in _OPERATORS.items() if operator in tuple("+-*/=") and len(symbol) == 1}
RESULT = (
    r"(?:,?\s?(?:which|and this|this|that|and it)\s)?"
    r"\b(?:is equal to|equals|equal to|equal|is|are|gives|gives? (?:you|us)|makes|results? in|resulting in|leaves|"
    r"to get|to give|(?:you|we) get)\b(?: about| approximately| exactly| a total of)?"
)
"""A pattern for the words between a calculation and its result."""

_SYMBOLS = "|".join(re.escape(word) for word in sorted(_OPERATORS, key=len, reverse=True))
_UNIT = r"[ ]?%|[ ]?\([a-z]{1,20}(?:[ ][a-z]{1,20})?\)|[ ]?[a-z][a-z'-]{0,20}(?:[ ][a-z'-]{1,20}){0,3}?"
_GAP = re.compile(
    rf"(?P<unit>{_UNIT})??"
    rf"[ \t]*(?P<close>[)\]]*)[ \t]*(?:(?P<operator>{_SYMBOLS})|(?P<result>{RESULT}))[ \t]*(?P<open>[(\[]*)[ \t]*",
    re.IGNORECASE,
)
_VERBS = {
    "add": "+",
    "sum": "+",
    "total": "+",
    "subtract": "-",
    "difference": "-",
    "multipl": "*",
    "product": "*",
    "divid": "/",
}
_VERB = re.compile(
    r"\b(add|subtract|multipl|divid)(?:ing|ed|y|ying|e)?\b|\b(sum|total|difference|product) (?:of|between)\b",
    re.IGNORECASE,
)
_PROSE_RESULT = re.compile(rf"[ a-z]{{0,20}}?(?:{RESULT}|=)[ ]?", re.IGNORECASE)
_COMPARED = re.compile(r"[ ](?:[a-z]+[ ])?(?:more|less|fewer|greater|longer|older|times)\b", re.IGNORECASE)
_MAX_GAP = 60
_GAP_ENDS = (
    *_OPERATORS, "equals", "equal", "is", "are", "give", "gives", "makes", "get", "in", "to", "leaves", "you", "us",
    "about", "approximately", "exactly",
)  # fmt: skip
"""The ends of what stands between two numbers of a calculation; "of" is among the operators."""

_VERB_STEMS = ("add", "subtract", "multipl", "divid", "sum", "total", "difference", "product")
_RANK = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "^": 3}


class Equation(NamedTuple):
    """A calculation and the result that the text states.

    ``stated`` is ``None`` for a calculation without a result. ``text[start:end]`` is the calculation with its result,
    which ends before ``result_end`` (``None`` where the next calculation starts with the result).
    """

    tokens: tuple[Token, ...]
    stated: Fraction | None
    start: int
    end: int
    result_end: int | None

    @property
    def operands(self) -> tuple[Fraction, ...]:
        """The operands, in order."""
        return tuple(token for token in self.tokens if not isinstance(token, str))

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, each one of ``+ - * / ^``, in order."""
        return tuple(token for token in self.tokens if isinstance(token, str) and token in "+-*/^")

    @property
    def true(self) -> Fraction | None:
        """The exact result; ``None`` for a division by zero."""
        return evaluate(self.tokens)


def find_equations(text: str) -> Sequence[Equation]:
    """Return the calculations in *text*, in order.

    >>> equations = find_equations("10 - 4 = 5, so 5 plus 3 is 8; 2 + 2")
    >>> [(str(equation.true), str(equation.stated)) for equation in equations]
    [('6', '5'), ('8', '8'), ('4', 'None')]
    """
    return _equations_of(text)


@lru_cache(maxsize=1024)
def _equations_of(text: str) -> tuple[Equation, ...]:
    """Return the calculations in *text*; the sentences of a response are read by many rules, and only once."""
    numbers = _split_fractions(text, find_numbers(text))
    lower = text.lower()
    verbal = any(stem in lower for stem in _VERB_STEMS)
    if len(numbers) < 2 and not verbal:
        return ()
    equations = list(_verbal(text, numbers)) if verbal else []
    first = 0
    while first < len(numbers):
        last = first
        gaps: list[_Gap] = []
        while last + 1 < len(numbers) and (gap := _gap(text, numbers[last], numbers[last + 1], gaps)):
            gaps.append(gap)
            last += 1
        if any(gap.symbol != "=" for gap in gaps):
            equations += _written(text, numbers[first : last + 1], gaps)
        first = last + 1
    return tuple(sorted(equations, key=lambda equation: equation.start) if verbal else equations)


def evaluate(tokens: tuple[Token, ...], known: Mapping[Fraction, Fraction] | None = None) -> Fraction | None:
    """Return the exact value of *tokens* by the usual precedence, with numbers replaced by their values in *known*.

    It is ``None`` for a division by zero, and for a malformed or a very long calculation.

    >>> evaluate((Fraction(2), "*", "(", Fraction(1), "+", Fraction(3), ")"))
    Fraction(8, 1)
    """
    if len(tokens) == 1 and not isinstance(tokens[0], str):
        return known.get(tokens[0], tokens[0]) if known else tokens[0]
    if len(tokens) > MAX_TOKENS:
        return None
    values: list[Fraction] = []
    pending: list[str] = []
    try:
        for token in (*tokens, ")"):
            if not isinstance(token, str):  # asked of the class of fractions, this takes ten times as long
                values.append(known.get(token, token) if known else token)
                continue
            while token != "(" and pending and pending[-1] != "(" and _RANK[pending[-1]] >= _RANK.get(token, 0):
                _apply(pending.pop(), values)
            if token == ")":
                if pending:
                    pending.pop()
            else:
                pending.append(token)
        return values[0] if len(values) == 1 else None
    except (ZeroDivisionError, IndexError, OverflowError):
        return None


def combine(left: Fraction, operator: str, right: Fraction) -> Fraction | None:
    """Return ``left operator right``, or ``None`` for a division by zero and a power that is too large or not whole."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "^":
        size = (left.numerator.bit_length() + left.denominator.bit_length()) * abs(right)
        return left**right.numerator if right.denominator == 1 and right >= 0 and size <= 8 * MAX_DIGITS else None
    return left / right if right else None


def _apply(operator: str, values: list[Fraction]) -> None:
    right, left = values.pop(), values.pop()
    value = combine(left, operator, right)
    if value is None:
        raise ZeroDivisionError
    if value.numerator.bit_length() + value.denominator.bit_length() > 8 * MAX_DIGITS:
        raise OverflowError
    values.append(value)


def _split_fractions(text: str, numbers: list[NumberSpan]) -> list[NumberSpan]:
    """Split ``12/4`` into twelve and four, so that both are operands."""
    if not any("/" in number.text for number in numbers):
        return numbers
    split: list[NumberSpan] = []
    for number in numbers:
        top, slash, bottom = number.text.partition("/")
        parts = [*find_numbers(top), *find_numbers(bottom)] if slash else []
        if len(parts) != 2 or " " in top.strip():
            split.append(number)
            continue
        middle = number.start + len(top)
        split.append(NumberSpan(parts[0].value, number.start, middle, top))
        split.append(NumberSpan(parts[1].value, middle + 1, number.end, bottom))
    return split


class _Gap(NamedTuple):
    """The text between two numbers of a calculation: one of ``+ - * / ^ =``, and the count of brackets around it."""

    symbol: str
    close: int
    open: int


def _gap(text: str, left: NumberSpan, right: NumberSpan, gaps: list[_Gap]) -> _Gap | None:
    """Return the operator between two numbers, if only units and brackets are beside it."""
    if right.start - left.end > _MAX_GAP:
        return None
    if (symbol := text[left.end : right.start].strip(" \t")) in _LONE_OPERATORS:
        return _Gap(_OPERATORS[symbol], 0, 0)
    possible = text[left.end : right.start].rstrip(" \t([").lower().endswith(_GAP_ENDS)
    match = _GAP.fullmatch(text, left.end, right.start) if possible else None
    if match is None:
        return None
    if match["result"] and _COMPARED.match(text, right.end):
        return None  # "5 miles, which is 3 miles more"
    symbol = "=" if match["result"] else _OPERATORS[match["operator"].lower()]
    if symbol == "^" and match["unit"]:
        return None  # "50 cm^2"
    percent = text[left.end : left.end + 2].strip()[:1] == "%"
    if symbol == "of":  # "25% of 20", "1/2 of 20", but not "3 of 20"
        if not percent and not (gaps and gaps[-1].symbol == "/"):
            return None
        symbol = "*"
    if match["result"] and not any(gap.symbol in "+-*/^" for gap in gaps):
        return None  # "Tom is 5 and Ann is 3" calculates nothing
    if match["result"] and gaps[-1].symbol == "=" and (match["unit"] or "%").strip() != "%":
        return None  # "25 * 0.2 = 5 deer that are 8 points" has its result
    return _Gap(symbol, len(match["close"]), len(match["open"]))


def _written(text: str, numbers: list[NumberSpan], gaps: list[_Gap]) -> Iterator[Equation]:
    """Yield the calculations in a run of two or more *numbers* with *gaps* between them."""
    sides: list[list[Token]] = [["("] * _brackets(text, numbers[0].start)]
    ends = [numbers[0].end]
    for before, number, gap in zip([None, *gaps], numbers, [*gaps, None], strict=True):
        percent = text[number.end : number.end + 2].strip()[:1] == "%"
        multiplied = (gap is not None and gap.symbol == "*") or (
            before is not None and before.symbol == "*" and not before.open
        )
        sides[-1].append(number.value / 100 if percent and multiplied else number.value)
        ends[-1] = number.end
        closing = gap.close if gap else text[number.end : number.end + 2].lstrip("% ").startswith((")", "]"))
        sides[-1] += [")"] * closing
        if gap and gap.symbol == "=":
            sides.append([])
            ends.append(number.end)
        elif gap:
            sides[-1].append(gap.symbol)
        sides[-1] += ["("] * (gap.open if gap else 0)
    yield from _sides_to_equations([_balanced(side) for side in sides], numbers[0].start, ends)


def _sides_to_equations(sides: list[tuple[Token, ...]], start: int, ends: list[int]) -> Iterator[Equation]:
    """Yield the calculations of ``a - b = c - d = e``: two that are run together, or one that is simplified."""
    mere = [not any(isinstance(token, str) and token in "+-*/^" for token in side) for side in sides]
    if all(mere):
        return
    values = [evaluate(side) for side in sides]
    for index, side in enumerate(sides):
        if mere[index]:
            continue
        true, calculated = values[index], index > 0 and not mere[index - 1]
        following = sides[index + 1] if index + 1 < len(sides) else ()
        if calculated and values[index - 1] == true:
            continue
        if calculated and not following and _is_quotient(side):
            continue  # "1/2 + 1/4 = 2/6": the result of what stands before it
        if calculated and following and mere[index + 1] and _is_fraction(side, true, values[index - 1]):
            continue  # "3/4 / 2 = 3/2 = 1.5": the same, and then as a decimal
        if following and not mere[index + 1] and following[0] == true and values[index + 1] != true:
            yield Equation(side, true, start, ends[index], None)
            continue
        results = [later for later in range(index + 1, len(sides)) if mere[later] or later == len(sides) - 1]
        if results:
            yield Equation(side, values[results[-1]], start, ends[results[-1]], ends[results[-1]])
        else:
            before = values[index - 1] if index and mere[index - 1] else None
            yield Equation(side, before, start, ends[index], None if before is None else ends[index - 1])


def _is_quotient(side: tuple[Token, ...]) -> bool:
    return len(side) == 3 and isinstance(side[1], str) and side[1] == "/"


def _is_fraction(side: tuple[Token, ...], value: Fraction | None, before: Fraction | None) -> bool:
    """Whether *side* is a fraction that is not whole, and not a calculation run together with the side *before* it."""
    return _is_quotient(side) and value is not None and value.denominator > 1 and side[0] != before


def _verbal(text: str, numbers: list[NumberSpan]) -> Iterator[Equation]:
    """Yield calculations in prose that state their result: "multiply 3 by 6, which is 18"."""
    later = 0
    for match in _VERB.finditer(text):
        while later < len(numbers) and numbers[later].start < match.end():
            later += 1
        operands = numbers[later : later + 2]
        if not operands or operands[0].start - match.end() > _MAX_GAP // 2:
            continue
        left = operands[0]
        itself = text.find("itself", left.end, left.end + _MAX_GAP // 2)
        if itself >= 0:
            right, result, end = left, numbers[later + 1 : later + 2], itself + len("itself")
        elif len(operands) == 2 and re.search(
            r"\b(?:and|to|from|by|with)\b", text[left.end : min(operands[1].start, left.end + _MAX_GAP)]
        ):
            right, result, end = operands[1], numbers[later + 2 : later + 3], operands[1].end
        else:
            continue
        stated = result[0] if result and result[0].start - end <= _MAX_GAP else None
        if stated and not _PROSE_RESULT.fullmatch(text, end, stated.start):
            stated = None
        first, second = left.value, right.value
        operator = _VERBS[(match[1] or match[2]).lower()]
        if operator == "-":  # "subtract 4 from 10", and small models write it either way round
            first, second = max(first, second), min(first, second)
        value, end = (stated.value, stated.end) if stated else (None, end)
        yield Equation((first, operator, second), value, match.start(), end, end if stated else None)


def _brackets(text: str, start: int) -> int:
    """Return the count of opening brackets right before *start*."""
    before = text[max(0, start - 4) : start].rstrip(" $")
    return len(before) - len(before.rstrip("(["))


def _balanced(side: list[Token]) -> tuple[Token, ...]:
    """Return *side* without its brackets if they do not match."""
    opened = 0
    for token in side:
        if isinstance(token, str):
            opened += (token == "(") - (token == ")")
            if opened < 0:
                break
    return tuple(side) if opened == 0 else tuple(token for token in side if not _is_bracket(token))


def _is_bracket(token: Token) -> bool:
    return isinstance(token, str) and token in ("(", ")")
