"""Arithmetic and premise patterns that the solvers of generated questions share."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction

from hypothesis import strategies as st

from reasoning_probe.data.items import Item

OPERATIONS: dict[str, Callable[[int, int], int | Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": Fraction,
}
SEEDS = st.integers(0, 2**32)


def compute(expression: str) -> Fraction:
    """Return the value of a sum, difference, product or quotient of two numbers."""
    match = re.fullmatch(r"(\d+)([-+*/])(\d+)", expression.replace(" ", ""))
    assert match, expression
    return Fraction(OPERATIONS[match[2]](int(match[1]), int(match[3])))


ONE = r"(\w+) is (not )?an? (\w+)"
CLASSES = r"(All|No|Some) (\w+) are (\w+)"
ORDER = r"(\w+) is (\w+) than (\w+)"


def check_annotations(item: Item) -> None:
    """Assert that every ``<<a*b=c>>`` of the solution is right, and that the last result is the answer."""
    steps = re.findall(r"<<(.+?)=(.+?)>>", item.solution or "")
    assert steps
    assert all(compute(expression) == Fraction(result) for expression, result in steps)
    assert Fraction(steps[-1][1]) == Fraction(item.answer.replace(",", ""))
