"""Emphasis: the one number of a sentence that a response sets in bold."""

from __future__ import annotations

import re
from dataclasses import replace

from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer
from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.scoring.extraction.sentence_number import calculations_in
from reasoning_probe.utils.number_words import NumberSpan
from reasoning_probe.utils.numbers import find_numbers, render_number

_BOLD = re.compile(r"(\*\*|__)(?=\S)([^*_\n]{1,60}?)(?<=\S)\1")
_QUANTITY = re.compile(r"[^\W\d]*(?:[ -][^\W\d_]+){0,4}[.!%]?")


def emphasised(answer: ExtractedAnswer | None, response: str, question: str) -> ExtractedAnswer | None:
    """Return the one number in bold of the sentence that *answer* was read from, else *answer* itself.

    A sentence that calculates has a result, and a number of the question in bold only repeats it.

    >>> answer = ExtractedAnswer("2", None, "There are 8 apples in the 2 baskets.")
    >>> emphasised(answer, "There are **8** apples in the 2 baskets.", "How many are there?").answer
    '8'
    >>> emphasised(answer, "There are 8 apples in the 2 baskets.", "How many are there?").answer
    '2'
    """
    if answer is None or ("**" not in response and "__" not in response):
        return answer
    source = answer.source.strip()
    line = next((line for line in response.split("\n") if source and source in plain_text(line)), "")
    numbers = [number for bold in _BOLD.findall(line) if (number := _bold_number(plain_text(bold[1])))]
    if len({number.value for number in numbers}) != 1 or numbers[0].value == answer.value:
        return answer
    value = numbers[0].value
    calculates = any(equation.stated is not None for equation in calculations_in(source))
    mentioned = any(number.value == value for number in find_numbers(source))
    if calculates or not mentioned or any(number.value == value for number in find_numbers(question[:20_000])):
        return answer
    return replace(answer, answer=render_number(value), value=value, percent="%" in numbers[0].text, written=value)


def _bold_number(text: str) -> NumberSpan | None:
    """Return the number of *text* if that is one number with at most a few words after it."""
    numbers = find_numbers(text)
    if len(numbers) != 1 or text[: numbers[0].start].strip(" $"):
        return None
    return numbers[0] if _QUANTITY.fullmatch(text, numbers[0].end) else None
