"""Calculations of several steps on numbers of a chosen length, such as "What is (345 + 278) - 119?"."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

from reasoning_probe.data.generators.difficulty import Spec
from reasoning_probe.data.items import Item

LARGEST = 10**15
"""No result exceeds it."""


def items(rng: random.Random, spec: Spec) -> Iterator[Item]:
    """Yield calculations of ``spec["steps"]`` steps on numbers of ``spec["digits"]`` digits, never below zero."""
    for number in count(1):
        yield draw(rng, spec["digits"], spec["steps"], number)


def draw(rng: random.Random, digits: int, steps: int, number: int) -> Item:
    """Return a calculation drawn from *rng*, of sums, differences and, more rarely, products."""
    first = value = _number(rng, digits)
    text, lines, operands, signs = str(value), [], [str(value)], []
    for step in range(steps):
        sign, other = rng.choices("+-*", (2, 2, 1))[0], _number(rng, digits)
        if sign == "*" and value * other > LARGEST:
            sign = "-"
        if sign == "-" and other > value:
            sign = "+"
        result = {"+": value + other, "-": value - other, "*": value * other}[sign]
        text = f"({text}) {sign} {other}" if step else f"{text} {sign} {other}"
        lines.append(f"{value} {sign} {other} = <<{value}{sign}{other}={result}>>{result}")
        operands.append(str(other))
        signs.append(sign)
        value = result
    one_step = steps == 1
    return Item(
        id=f"sum-{first}-{number}",
        question=f"What is {text}?",
        answer=str(value),
        kind="number",
        solution=None if one_step else "\n".join((*lines, f"#### {value}")),
        operands=tuple(operands) if one_step else (),
        operation=signs[0] if one_step else None,
    )


def _number(rng: random.Random, digits: int) -> int:
    return rng.randint(10 ** (digits - 1), 10**digits - 1)
