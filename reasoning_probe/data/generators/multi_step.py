"""Word problems of two and three operations on whole numbers, with the steps of their solution.

A template names its amounts by the letters a to d and its intermediate results by x to z. Amounts are drawn until the
result of every step is a whole number of at least 1.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from reasoning_probe.data.generators.blocks import shuffled_blocks
from reasoning_probe.data.items import Item

# fmt: off
NAMES = (
    "Alice", "Bob", "Carol", "David", "Emily", "Frank", "Grace", "Henry", "Irene", "James", "Kate", "Liam",
)
THINGS = (
    "apples", "books", "cards", "coins", "eggs", "flowers",
    "marbles", "pencils", "shells", "stamps", "stickers", "toys",
)
# fmt: on

STEP = re.compile(r"([a-dx-z]) ([-+*/]) ([a-dx-z]) = ([x-z])")
LARGEST = 200
"""No result of a step exceeds it."""


@dataclass(frozen=True)
class Template:
    """A story: its text, the steps of its solution in order, and the ranges of its amounts if not 2 to 12."""

    name: str
    text: str
    steps: str
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)


TEMPLATES = (
    Template(
        "wallet",
        "{name} has {a} dollars, spends {b} and earns {c}. How many dollars does {name} have now?",
        "a - b = x, x + c = y",
        {"a": (10, 60)},
    ),
    Template(
        "boxes",
        "{name} has {a} boxes with {b} {things} in each box and {c} more {things}. How many {things} are there in all?",
        "a * b = x, x + c = y",
    ),
    Template(
        "gift",
        "{name} had {a} {things}, found {b} more and gave {c} to {other}. How many {things} does {name} have left?",
        "a + b = x, x - c = y",
        {"a": (5, 40)},
    ),
    Template(
        "share",
        "{name} and {other} put {a} and {b} {things} together and share them equally among {c} friends. "
        "How many {things} does each friend get?",
        "a + b = x, x / c = y",
        {"a": (4, 40), "b": (4, 40), "c": (2, 6)},
    ),
    Template(
        "shop",
        "A shop sells {things} at {a} dollars each. {name} buys {b} and pays with {c} dollars. "
        "How many dollars does {name} get back?",
        "a * b = x, c - x = y",
        {"a": (2, 9), "b": (2, 9), "c": (20, 100)},
    ),
    Template(
        "twice",
        "{name} has {a} {things}. {other} has {b} times as many. How many {things} do they have together?",
        "a * b = x, a + x = y",
        {"a": (2, 60), "b": (2, 5)},
    ),
    Template(
        "bus",
        "A bus carries {a} people. At the first stop {b} get off and {c} get on. At the second stop {d} get off. "
        "How many people are on the bus?",
        "a - b = x, x + c = y, y - d = z",
        {"a": (15, 60)},
    ),
    Template(
        "shelves",
        "{name} puts {a} {things} on {b} shelves, the same number on each, and then {c} more on the first shelf. "
        "How many {things} are on the first shelf?",
        "a / b = x, x + c = y",
        {"a": (6, 96)},
    ),
    Template(
        "garden",
        "{name} plants {a} rows of {b} flowers. The wind breaks {c} of them and {name} plants {d} new ones. "
        "How many flowers are there?",
        "a * b = x, x - c = y, y + d = z",
    ),
    Template(
        "fewer",
        "{name} has {a} {things} and {other} has {b} fewer. How many {things} do they have together?",
        "a - b = x, a + x = y",
        {"a": (6, 40)},
    ),
    Template(
        "weeks",
        "{name} reads {a} pages a day for {b} days and {other} reads {c} pages a day for as many days. "
        "How many pages do they read?",
        "a + c = x, x * b = y",
        {"b": (2, 7)},
    ),
    Template(
        "bags",
        "{name} picks {a} {things}, loses {b} and packs the rest into bags of {c}. How many bags does {name} fill?",
        "a - b = x, x / c = y",
        {"a": (10, 80), "c": (2, 9)},
    ),
    Template(
        "savings",
        "{name} saves {a} dollars a week for {b} weeks, then buys a game for {c} dollars. "
        "How many dollars does {name} have left?",
        "a * b = x, x - c = y",
        {"c": (5, 60)},
    ),
    Template(
        "tickets",
        "Tickets cost {a} dollars for adults and {b} dollars for children. "
        "How many dollars do {c} adults and {d} children pay?",
        "a * c = x, b * d = y, x + y = z",
        {"c": (2, 5), "d": (2, 5)},
    ),
    Template(
        "trip",
        "A trip is {a} miles long. {name} drives {b} miles on the first day and {c} miles on the second. "
        "How many miles are left?",
        "b + c = x, a - x = y",
        {"a": (30, 99), "b": (5, 40), "c": (5, 40)},
    ),
    Template(
        "half",
        "{name} bakes {a} cookies. {other} eats half of them and {name} eats {b}. How many cookies are left?",
        "a / c = x, x - b = y",
        {"a": (8, 60), "c": (2, 2)},
    ),
)


def draws(rng: random.Random) -> Iterator[Callable[[], Item]]:
    """Yield, without end, what draws the next word problem; the templates come in shuffled blocks."""
    for number, template in enumerate(shuffled_blocks(rng, TEMPLATES), 1):
        yield partial(draw, rng, template, number)


def draw(rng: random.Random, template: Template, number: int) -> Item:
    """Return an item of *template* with names and amounts drawn from *rng*."""
    name, other = rng.sample(NAMES, 2)
    things = rng.choice(THINGS)
    while True:
        amounts = {letter: rng.randint(*template.ranges.get(letter, (2, 12))) for letter in "abcd"}
        steps = solve(template.steps, amounts)
        if steps is not None:
            break
    answer = steps[-1].rpartition("=")[2]
    return Item(
        id=f"{template.name}-{name}-{number}".lower(),
        question=template.text.format(name=name, other=other, things=things, **amounts),
        answer=answer,
        kind="number",
        solution="\n".join((*(_line(step) for step in steps), f"#### {answer}")),
        form=template.name,
    )


def solve(steps: str, amounts: dict[str, int]) -> tuple[str, ...] | None:
    """Return the steps as ``a*b=c`` in digits, or ``None`` where one is not a whole number from 1 to 200."""
    known = dict(amounts)
    solved = []
    for left, sign, right, result in STEP.findall(steps):
        a, b = known[left], known[right]
        if sign == "/" and a % b:
            return None
        known[result] = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]
        if not 1 <= known[result] <= LARGEST:
            return None
        solved.append(f"{a}{sign}{b}={known[result]}")
    return tuple(solved)


def _line(step: str) -> str:
    """Return a step as GSM8K writes it: ``6 * 4 = <<6*4=24>>24``."""
    calculation, _, result = step.partition("=")
    spaced = re.sub(r"([-+*/])", r" \1 ", calculation)
    return f"{spaced} = <<{step}>>{result}"
