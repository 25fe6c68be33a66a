"""Scoring: from a response to its answer, and whether that is right.

The expected answer plays no part in the reading, and neither does the prompt: only the generated text is read.
"""

from __future__ import annotations

import re

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.scoring.extraction.choices import chosen_option, expand_option_letter, options_of
from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer, explicit_statement
from reasoning_probe.scoring.extraction.free_text import read_text, same_words
from reasoning_probe.scoring.extraction.label_answer import read_label
from reasoning_probe.scoring.extraction.number_answer import read_number
from reasoning_probe.scoring.extraction.preprocess import clean
from reasoning_probe.scoring.extraction.sentences import options_in, words
from reasoning_probe.utils.numbers import find_numbers, parse_number

MAX_SCANNED = 100_000
"""Characters of a response that lm-eval's filters are run over here (from its beginning, and from its end)."""
_LETTER = re.compile(r"\(?[A-Ea-e]\)?[.)]?")
_ENDED = re.compile(r"=[^\n=0-9]{0,9}[0-9][^\n=]{0,40}\n[ \t]*\n[ \t]*\n\s*\Z")
"""A line that ends in "= N", and then nothing but blank lines: the model had come to its end before the limit."""


def extract_answer(item: Item, response: str, truncated: bool = False) -> ExtractedAnswer | None:
    """Return the answer that a careful reader takes from *response*, or ``None`` if it gives no definite one.

    A number is read from the response to a number question, yes / no / unknown from that to a label question, and
    the stated words from that to a text question; where the question lists options, the one that is taken, as its
    letter where a letter is expected, else as what it says. *truncated* says that the token limit ended the response; a
    number that touches its end may have been cut in half and is not read.
    """
    text = clean(response, item.question, truncated)
    if not any(character.isalnum() for character in text):
        return None
    choices = options_of(item.question)
    if choices and item.kind == "text":
        if letter := chosen_option(text, choices):
            return ExtractedAnswer(
                letter if _LETTER.fullmatch(item.answer.strip()) else choices[letter], source=text[:400]
            )
        if options_in(text) and not explicit_statement(text):
            return None  # the options, and none of them taken
    elif choices:
        text = expand_option_letter(text, choices)
    if item.kind == "label":
        return read_label(text, item.question)
    if item.kind == "number":
        ended = _ENDED.search(response[-MAX_SCANNED:]) is not None
        return read_number(text, item.question, truncated and not ended)
    return read_text(text, item.question, truncated)


def is_correct(item: Item, reading: ExtractedAnswer) -> bool:
    """Whether *reading* is the item's expected answer."""
    if item.kind == "number":
        value = parse_number(item.answer)
        return reading.value is not None and (
            reading.value == value or (reading.percent and reading.value / 100 == value)
        )
    if item.kind == "label":
        return reading.answer == label_of(item.answer)
    expected = find_numbers(item.answer[:1000])
    if len(expected) == 1 and reading.value is not None and len(words(item.answer[expected[0].end :])) <= 3:
        return reading.value == expected[0].value  # "8" for "8 apples"
    return same_words(reading.answer, item.answer)
