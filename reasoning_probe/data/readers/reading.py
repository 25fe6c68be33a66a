"""What is read from the text of a question: its tags, its parts, and the numbers that its answer is calculated from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from reasoning_probe.data.items import Span
from reasoning_probe.data.readers.sentences import Argument

Spans = tuple[Span, ...]


Program = tuple[tuple[int, str, int], ...]
"""Steps of a calculation, ``(left, sign, right)``: places among the numbers, followed by the results so far."""


@dataclass(frozen=True)
class Numbers:
    """The numbers that the answer to a question is calculated from, in the order of the text.

    ``spans`` are their places in the question, and ``program`` is the calculation on ``values`` and ``constants``.
    ``allows`` tells whether the generator of the question would ask for other values with these results of the steps.
    """

    values: tuple[int, ...]
    spans: Spans
    program: Program
    allows: Callable[[Sequence[int], Sequence[int]], bool]
    constants: tuple[int, ...] = ()

    def results(self, values: Sequence[int]) -> list[int] | None:
        """Return the results of the steps on *values*; ``None`` if one is not a whole number from 0 on."""
        known = [*values, *self.constants]
        for left, sign, right in self.program:
            result = step(sign, known[left], known[right])
            if result is None:
                return None
            known.append(result)
        return known[len(values) + len(self.constants) :]

    def answer(self, values: Sequence[int]) -> int | None:
        """Return the answer for *values*, ``None`` where the generator of the question would not ask for them."""
        results = self.results(values)
        return results[-1] if results and self.allows(values, results) else None

    def exact(self, values: Sequence[int]) -> Fraction | int | None:
        """Return the value of the calculation on any *values*, ``None`` where it divides by zero."""
        known: list[Fraction | int] = [*values, *self.constants]
        for left, sign, right in self.program:
            if sign != "/":
                known.append(_OPERATIONS[sign](known[left], known[right]))
            elif known[right]:
                known.append(Fraction(known[left]) / known[right])
            else:
                return None
        return known[-1]

    def steps(self) -> list[tuple[int, str, int]]:
        """Return the steps of the question itself with their numbers."""
        known = [*self.values, *self.constants, *(self.results(self.values) or ())]
        return [(known[left], sign, known[right]) for left, sign, right in self.program]

    def question_with(self, question: str, values: Sequence[int]) -> str:
        """Return *question* with *values* in place of its numbers."""
        text, end = "", 0
        for (start, stop), value in zip(self.spans, values, strict=True):
            text += f"{question[end:start]}{value}"
            end = stop
        return text + question[end:]


@dataclass(frozen=True)
class Reading:
    """The tags and the parts of a question, with its numbers or its argument where its answer follows from them."""

    tags: Mapping[str, str]
    parts: Mapping[str, Spans]
    numbers: Numbers | None = None
    argument: Argument | None = None


_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def chain(signs: Sequence[str]) -> Program:
    """Return the program of a calculation from left to right, with a sign before each number but the first."""
    first_result = len(signs) + 1
    return tuple((first_result + n - 1 if n else 0, sign, n + 1) for n, sign in enumerate(signs))


def step(sign: str, left: int, right: int) -> int | None:
    """Return the result of one step, or ``None`` where it is not a whole number from 0 on.

    >>> step("-", 3, 5), step("/", 8, 3), step("/", 8, 4)
    (None, None, 2)
    """
    if sign == "/":
        return left // right if right and not left % right else None
    result: int = _OPERATIONS[sign](left, right)
    return result if result >= 0 else None


def carries(left: int, right: int) -> int:
    """Return how many digits of the sum of two numbers carry one to the next.

    >>> carries(27, 46), carries(99, 1), carries(20, 30)
    (1, 2, 0)
    """
    count = carry = 0
    while left or right:
        carry = (left % 10 + right % 10 + carry) // 10
        count += carry
        left, right = left // 10, right // 10
    return count


def borrows(left: int, right: int) -> int:
    """Return how many digits of the difference of two numbers borrow one from the next.

    >>> borrows(52, 27), borrows(100, 1), borrows(57, 22)
    (1, 2, 0)
    """
    return carries(left - right, right) if left >= right else 0


def step_tags(steps: Sequence[tuple[int, str, int]], numbers: Sequence[int]) -> dict[str, str]:
    """Return the tags of a calculation of *steps*, ``(left, sign, right)``, on *numbers*.

    ``digits`` are those of the longest number. Carries are counted over the steps that add, and borrows over those that
    subtract; where no step does, there is no such tag.
    """
    signs = [sign for _, sign, _ in steps]
    tags = {"steps": str(len(steps)), "digits": str(max(len(str(number)) for number in numbers))}
    tags |= {"operation": signs[0]} if len(steps) == 1 else {"operations": " ".join(signs)}
    if "+" in signs:
        tags["carries"] = str(sum(carries(left, right) for left, sign, right in steps if sign == "+"))
    if "-" in signs:
        tags["borrows"] = str(sum(borrows(left, right) for left, sign, right in steps if sign == "-"))
    return tags


def number_parts(spans: Spans) -> dict[str, Spans]:
    """Return the parts that are numbers: all of them, each of them, and their last digits."""
    each = {f"operand_{number}": (span,) for number, span in enumerate(spans, 1)}
    return {"operands": spans, **each, "units": tuple((end - 1, end) for _, end in spans)}
