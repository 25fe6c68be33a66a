"""Extraction of the answer from a response, and its comparison with the expected answer.

The expected answer plays no part in the extraction, and neither does the prompt: only the generated text is read. By
the item's kind the strategies of ``extraction/`` for numbers, labels, options or free text are tried.
"""

from __future__ import annotations

import re

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.scoring.expressions import same_expression
from reasoning_probe.scoring.extraction.choices import chosen_option, expand_option_letter, options_of
from reasoning_probe.scoring.extraction.emphasis import emphasised
from reasoning_probe.scoring.extraction.explicit import BOXED, ExtractedAnswer, explicit_statement
from reasoning_probe.scoring.extraction.free_text import read_text, same_words
from reasoning_probe.scoring.extraction.label_answer import read_label
from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.scoring.extraction.number_answer import read_number
from reasoning_probe.scoring.extraction.preprocess import clean
from reasoning_probe.scoring.extraction.sentences import options_in, words
from reasoning_probe.utils.numbers import find_numbers, parse_number

MAX_SCANNED = 100_000
"""lm-eval's filters scan so many characters of a response, from its beginning and from its end."""

_LETTER = re.compile(r"\(?[A-Ea-e]\)?[.)]?")
_OPERATOR = re.compile(r"[-+*/^<>#:%()\[\]\u2212\u00d7\u00f7\u2264\u2265\u2260\\]")
_FACTORIAL = re.compile(r"[-$(\\ ]*[0-9]{1,9}[ ]?!")
"""A response or a box that is nothing but a factorial; in a sentence the sign is an exclamation mark."""

_FACTORIAL_OF = re.compile(r"(?<![0-9.,])[0-9]{1,9}!(?=[ ]?=[ ]?[0-9])")
_EXCLAIMED = re.compile(r"[*_`]!")
_FINISHED = re.compile(r"=[^\n=0-9]{0,9}[0-9][^\n=]{0,40}\n[ \t]*\n[ \t]*\n\s*\Z")
"""A line that ends in "= N" before nothing but blank lines: the model had finished before the limit."""


def extract_answer(item: Item, response: str, truncated: bool = False) -> ExtractedAnswer | None:
    """Return the answer of *response* as :func:`answer_in` reads it from the cleaned response."""
    return answer_in(clean(response, item.question, truncated), item, response, truncated)


def answer_in(text: str, item: Item, response: str, truncated: bool = False) -> ExtractedAnswer | None:
    """Return the answer that a careful reader takes from *text*, or ``None`` if it gives no definite one.

    *text* is *response* as :func:`~reasoning_probe.scoring.extraction.preprocess.clean` leaves it.

    The answer is a number for a number question, yes / no / unknown for a label question, and words for a text
    question. Where the question lists options, it is the chosen one: its letter if a letter is expected, else its text.
    *truncated* says that the token limit ended the response; a number that touches its end may be cut in half and is
    not read.
    """
    if not any(map(str.isalnum, text)):
        return None
    choices = options_of(item.question)
    if choices and item.kind == "text":
        if letter := chosen_option(text, choices):
            answer = letter if _LETTER.fullmatch(item.answer.strip()) else choices[letter]
            return ExtractedAnswer(answer, source=text[:400])
        if options_in(text) and not explicit_statement(text):
            return None  # it repeats the options and chooses none
    elif choices:
        text = expand_option_letter(text, choices)
    if item.kind == "label":
        return read_label(text, item.question)
    if item.kind == "number":
        boxes = BOXED.findall(text)
        if _FACTORIAL.fullmatch(boxes[-1] if boxes else text) and not _EXCLAIMED.search(response):
            return None
        text = _FACTORIAL_OF.sub("n", text)  # "4! = 24": the sign ends no sentence
        finished = _FINISHED.search(response[-MAX_SCANNED:]) is not None
        return emphasised(read_number(text, item.question, truncated and not finished), response, item.question)
    return read_text(text, item.question, truncated)


def is_correct(item: Item, extracted: ExtractedAnswer) -> bool:
    """Whether *extracted* is the expected answer of *item*."""
    if item.kind == "number":
        expected = parse_number(item.answer)
        value = extracted.value
        return value is not None and (value == expected or (extracted.percent and value / 100 == expected))
    if item.kind == "label":
        return extracted.answer == label_of(item.answer)
    if item.kind == "expression":
        return same_expression(extracted.answer, item.answer)
    expected_text = plain_text(item.answer[:1000])
    numbers = find_numbers(expected_text)
    if len(numbers) == 1 and extracted.value is not None and len(words(expected_text[numbers[0].end :])) <= 3:
        rest = expected_text[: numbers[0].start] + expected_text[numbers[0].end :]
        if not _OPERATOR.search(f"{rest}{'%' if '%' in extracted.answer else ''}"):
            return extracted.value == numbers[0].value  # "8" for "8 apples"
    return same_words(extracted.answer, item.answer)
