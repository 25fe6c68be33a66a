"""Calculations read from their text: "What is 27 + 46?", "What is (345 + 278) - 119?"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_probe.data.generators.arithmetic import OPERATIONS
from reasoning_probe.data.generators.arithmetic_steps import LARGEST
from reasoning_probe.data.readers.reading import Numbers, Reading, chain, number_parts, step, step_tags

_QUESTION = re.compile(r"What is (\(*)(\d{1,20}(?: [-+*/] \d{1,20}\)*)+)\?", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_SIGN = re.compile(r"(?<= )[-+*/](?= )")
_TABLES = {operation.sign: frozenset(operation.facts) for operation in OPERATIONS if operation.sign in "*/"}


def read_calculation(question: str) -> Reading | None:
    """Return what is read from *question*, ``None`` if it is no calculation that goes from left to right."""
    match = _QUESTION.fullmatch(question)
    if match is None:
        return None
    spans = tuple(number.span() for number in _NUMBER.finditer(question))
    sign_spans = tuple(sign.span() for sign in _SIGN.finditer(question))
    values = [int(question[start:end]) for start, end in spans]
    signs = [question[start:end] for start, end in sign_spans]
    if f"What is {_written(values, signs)}?" != question:
        return None
    in_tables = len(signs) == 1 and _in_tables(signs[0], values)

    def allows(values: Sequence[int], results: Sequence[int]) -> bool:
        return max(results) <= LARGEST and (not in_tables or _in_tables(signs[0], values))

    numbers = Numbers(tuple(values), spans, chain(signs), allows)
    if numbers.results(values) is None:
        return None
    operators = {"operator": sign_spans} if len(signs) == 1 else {"operators": sign_spans}
    return Reading(step_tags(numbers.steps(), values), number_parts(spans) | operators, numbers)


def _written(values: Sequence[int], signs: Sequence[str]) -> str:
    """Return the calculation as the generators write it, with parentheses around all steps but the last."""
    text = str(values[0])
    for number, (sign, value) in enumerate(zip(signs, values[1:], strict=True)):
        text = f"({text}) {sign} {value}" if number else f"{text} {sign} {value}"
    return text


def _in_tables(sign: str, values: Sequence[int]) -> bool:
    """Tell whether a product or a quotient is one of the tables to 12."""
    return (values[0], values[1], step(sign, values[0], values[1])) in _TABLES.get(sign, ())
