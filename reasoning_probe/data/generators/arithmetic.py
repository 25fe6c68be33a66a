"""One-step arithmetic: + and - on 0 to 99 (never below zero), * and / in the tables to 12 (always exact).

The shares of the operations are the same in every 40 items. The 78 products of the tables, of which each is asked in
one order alone, are the first to run out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from reasoning_probe.data.generators.blocks import shuffled_blocks
from reasoning_probe.data.items import Item


@dataclass(frozen=True)
class Operation:
    """One operation: its sign, the word in its items' ids, and how many of every 40 items ask it.

    ``facts`` are all of its (left operand, right operand, result) triples.
    """

    sign: str
    word: str
    share: int
    facts: tuple[tuple[int, int, int], ...]


OPERATIONS = (
    Operation("+", "add", 16, tuple((a, b, a + b) for a in range(100) for b in range(100))),
    Operation("-", "sub", 16, tuple((a, b, a - b) for a in range(100) for b in range(a + 1))),
    Operation("*", "mul", 3, tuple((a, b, a * b) for a in range(1, 13) for b in range(1, 13))),
    Operation("/", "div", 5, tuple((a * b, b, a) for a in range(1, 13) for b in range(1, 13))),
)

WORDS = {operation.sign: operation.word for operation in OPERATIONS}
"""The word of each operation by its sign."""


def draws(rng: random.Random) -> Iterator[Callable[[], Item | None]]:
    """Yield, without end, what draws the next item: one of the facts that are left, or ``None`` if none is."""
    facts = {operation.word: list(operation.facts) for operation in OPERATIONS}
    for remaining in facts.values():
        rng.shuffle(remaining)
    block = [operation for operation in OPERATIONS for _ in range(operation.share)]
    for operation in shuffled_blocks(rng, block):
        yield partial(draw, operation, facts[operation.word])


def draw(operation: Operation, remaining: list[tuple[int, int, int]]) -> Item | None:
    """Take a fact out of *remaining* and return its item; return ``None`` where no fact is left."""
    return item(operation, *remaining.pop()) if remaining else None


def item(operation: Operation, a: int, b: int, result: int) -> Item:
    """Return the item that asks for ``a operation b``."""
    return Item(
        id=f"{operation.word}-{a}-{b}",
        question=f"What is {a} {operation.sign} {b}?",
        answer=str(result),
        kind="number",
        operands=(str(a), str(b)),
        operation=operation.sign,
        form=operation.word,
    )
