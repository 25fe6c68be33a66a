"""One-step arithmetic: + and - on 0 to 99 (never below zero), * and / in the tables to 12 (always exact)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from reasoning_probe.data.items import Item


@dataclass(frozen=True)
class Operation:
    """One operation: its sign, the word in its items' ids, and its share of the items.

    ``facts`` are all of its (left operand, right operand, result) triples.
    """

    sign: str
    word: str
    share: float
    facts: tuple[tuple[int, int, int], ...]


OPERATIONS = (
    Operation("+", "add", 0.3, tuple((a, b, a + b) for a in range(100) for b in range(100))),
    Operation("-", "sub", 0.3, tuple((a, b, a - b) for a in range(100) for b in range(a + 1))),
    Operation("*", "mul", 0.2, tuple((a, b, a * b) for a in range(1, 13) for b in range(1, 13))),
    Operation("/", "div", 0.2, tuple((a * b, b, a) for a in range(1, 13) for b in range(1, 13))),
)


def items(rng: random.Random) -> Iterator[Item]:
    """Yield every arithmetic item once, in an order drawn from *rng*."""
    remaining = [(operation, list(operation.facts)) for operation in OPERATIONS]
    for _, facts in remaining:
        rng.shuffle(facts)
    while remaining:
        [(operation, facts)] = rng.choices(remaining, [operation.share for operation, _ in remaining])
        yield item(operation, *facts.pop())
        remaining = [(operation, facts) for operation, facts in remaining if facts]


def item(operation: Operation, a: int, b: int, result: int) -> Item:
    """Return the item that asks for ``a operation b``."""
    return Item(
        id=f"{operation.word}-{a}-{b}",
        question=f"What is {a} {operation.sign} {b}?",
        answer=str(result),
        kind="number",
        operands=(str(a), str(b)),
        operation=operation.sign,
    )
