"""Calculations of several steps on numbers of a chosen length, such as "What is (345 + 278) - 119?"."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count

from reasoning_probe.data.generators.arithmetic import WORDS
from reasoning_probe.data.generators.blocks import shuffled_blocks
from reasoning_probe.data.generators.difficulty import Spec
from reasoning_probe.data.items import Item

LARGEST = 10**15
"""No result exceeds it."""


def draws(rng: random.Random, spec: Spec) -> Iterator[Callable[[], Item]]:
    """Yield, without end, what draws the next calculation.

    It has ``spec["steps"]`` steps on numbers of ``spec["digits"]`` digits and never falls below zero. At every step the
    signs come in shuffled blocks of two sums, two differences and a product.
    """
    signs = [shuffled_blocks(rng, "++--*") for _ in range(spec["steps"])]
    for number in count(1):
        yield partial(draw, rng, spec["digits"], [next(sign) for sign in signs], number)


def draw(rng: random.Random, digits: int, signs: Sequence[str], number: int) -> Item:
    """Return a calculation drawn from *rng* with *signs*, or with others where a result would leave its range."""
    first = value = _number(rng, digits)
    other = _number(rng, digits)
    if signs[0] == "-" and other > value:
        first, value, other = other, other, value
    text, lines, operands, used = str(value), [], [str(value)], []
    for step, sign in enumerate(signs):
        if sign == "*" and value * other > LARGEST:
            sign = "-"
        if sign == "-" and other > value:
            sign = "+"
        result = {"+": value + other, "-": value - other, "*": value * other}[sign]
        text = f"({text}) {sign} {other}" if step else f"{text} {sign} {other}"
        lines.append(f"{value} {sign} {other} = <<{value}{sign}{other}={result}>>{result}")
        operands.append(str(other))
        used.append(sign)
        value, other = result, _number(rng, digits)
    one_step = len(signs) == 1
    return Item(
        id=f"sum-{first}-{number}",
        question=f"What is {text}?",
        answer=str(value),
        kind="number",
        solution=None if one_step else "\n".join((*lines, f"#### {value}")),
        operands=tuple(operands) if one_step else (),
        operation=used[0] if one_step else None,
        form="-".join(WORDS[sign] for sign in used),
    )


def _number(rng: random.Random, digits: int) -> int:
    return rng.randint(10 ** (digits - 1), 10**digits - 1)
