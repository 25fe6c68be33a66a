"""Donors of calculations and word problems: the same text with two of its numbers moved.

The twin moves one number and makes up for it with another; the counterfactual moves both as far, and at least one of
them the other way. Products and quotients of the tables, of which few have the same result, are paired with those whose
distances differ least.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from reasoning_probe.data.generators.arithmetic import OPERATIONS
from reasoning_probe.data.items import Donor
from reasoning_probe.data.readers.reading import Numbers

_TRIES = 100
_MOST_UNEQUAL = 0.25  # of the twin's distance: by how much that of a counterfactual from the tables may differ
_TABLES = {operation.sign: operation.facts for operation in OPERATIONS if operation.sign in "*/"}


def number_pairs(question: str, numbers: Numbers, rng: random.Random) -> Iterator[tuple[Donor, Donor]]:
    """Yield pairs of a counterfactual and a same-answer twin of *question*, drawn from *rng*."""
    answer = numbers.answer(numbers.values)
    if answer is None or len(numbers.values) < 2:
        return
    one_step = len(numbers.program) == 1
    from_tables = one_step and numbers.program[0][1] in _TABLES
    for moved, balanced in _table_pairs(numbers, rng) if from_tables else _moved_pairs(numbers, answer, rng):
        other = numbers.answer(moved)
        if other is not None and other != answer:
            yield (
                Donor(question=numbers.question_with(question, moved), answer=str(other)),
                Donor(question=numbers.question_with(question, balanced), answer=str(answer)),
            )


def distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how far the numbers of two questions are from each other, in sum."""
    return sum(abs(left - right) for left, right in zip(one, other, strict=True))


def _moved_pairs(numbers: Numbers, answer: int, rng: random.Random) -> Iterator[tuple[list[int], list[int]]]:
    """Yield numbers that are moved as far as those after them, which have the same *answer*."""
    for _ in range(_TRIES):
        first, second = rng.sample(range(len(numbers.values)), 2)
        balanced = list(numbers.values)
        balanced[first] = _other_number(rng, balanced[first])
        if (value := _balance(numbers, balanced, second, answer)) is None:
            continue
        balanced[second] = value
        if not _are_others(balanced, numbers.values) or numbers.answer(balanced) != answer:
            continue
        signs = [(1, -1), (-1, 1), (-1, -1)]
        for first_sign, second_sign in rng.sample(signs, len(signs)):
            moved = list(numbers.values)
            moved[first] += first_sign * (balanced[first] - moved[first])
            moved[second] += second_sign * (balanced[second] - moved[second])
            if _are_others(moved, numbers.values):
                yield moved, balanced


def _balance(numbers: Numbers, values: Sequence[int], place: int, answer: int) -> int | None:
    """Return the number at *place* that makes *answer* of the others, if the answer is linear in it."""
    values = list(values)
    base = numbers.exact(values)
    values[place] += 1
    above = numbers.exact(values)
    if base is None or above is None or above == base:
        return None
    move, rest = divmod(answer - base, above - base)
    return None if rest else values[place] - 1 + int(move)


def _table_pairs(numbers: Numbers, rng: random.Random) -> Iterator[tuple[list[int], list[int]]]:
    """Yield facts of the tables, each with one of the same result that is about as far away."""
    sign, values = numbers.program[0][1], numbers.values
    answer = numbers.answer(values)
    facts = [list(fact[:2]) for fact in _TABLES[sign] if _are_others(fact[:2], values)]
    results = [(numbers.answer(fact), fact) for fact in facts]
    balanced = [fact for result, fact in results if result == answer]
    moved = [fact for result, fact in results if result not in (answer, None)]
    pairs = [(one, other) for one in moved for other in balanced]
    rng.shuffle(pairs)
    for one, other in sorted(pairs, key=lambda pair: _unequal(pair[0], pair[1], values)):
        if _unequal(one, other, values) > _MOST_UNEQUAL:
            return
        yield one, other


def _unequal(one: Sequence[int], other: Sequence[int], values: Sequence[int]) -> float:
    """Return by how much the distance of *one* from *values* differs from that of *other*, as a share of this."""
    return abs(distance(one, values) / distance(other, values) - 1)


def _are_others(values: Sequence[int], others: Sequence[int]) -> bool:
    """Tell whether *values* are other numbers than *others*, not the same in another order, and written as long."""
    return all(
        value > 0 and len(str(value)) == len(str(other)) for value, other in zip(values, others, strict=True)
    ) and sorted(values) != sorted(others)


def _other_number(rng: random.Random, value: int) -> int:
    """Return another number of as many digits as *value*, from 1 on."""
    digits = len(str(value))
    low, high = 10 ** (digits - 1), 10**digits - 1
    other = rng.randint(low, high - 1) if value >= low else rng.randint(low, high)
    return other + 1 if low <= value <= other else other
