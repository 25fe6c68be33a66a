"""Preprocessing: the part of a response that can hold its answer, without markup, further questions and cut numbers."""

from __future__ import annotations

import re

from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.scoring.extraction.sentences import normalise_text, options_in
from reasoning_probe.utils.numbers import NUMBER_WORDS, find_numbers

HEAD, TAIL = 6000, 3000
"""So many characters from the beginning and from the end of a longer response are read."""

_SPECIAL = re.compile(r"<\|[^<>|]{0,40}\|>|</?s>|\[/?INST\]")
_SPECIAL_AHEAD = re.compile(rf"\A(?:\s*(?:{_SPECIAL.pattern}))+")

_NEW_QUESTION = re.compile(
    r"^[ \t>#*]{0,8}(?:question|q|problem|exercise|example|instruction|user|human|input)"
    r"[ \t]*\d{0,3}[ \t]*[:.)][ \t*]*",
    re.IGNORECASE | re.MULTILINE,
)

_ROLE = re.compile(r"\s*(?:(?:assistant|a|answer|response|output|solution)[ \t]*[:\n]\s*)+", re.IGNORECASE)


_CUT = re.compile(r"[-+\u2212\u2013$\u20ac\u00a3\u00a5]{0,3}[0-9][0-9.,/:]*(?: [0-9]{1,3})* ?\Z")


def clean(response: str, question: str, truncated: bool) -> str:
    """Return the part of *response* that can hold its answer, without markup.

    Everything after a new question is dropped, and so is a repetition of *question* before its answer. If the token
    limit ended the response (*truncated*), a number that touches its end is dropped: it may be cut in half.
    """
    text = response
    if len(text) > HEAD + TAIL:
        head, tail = text[:HEAD], text[-TAIL:]
        text = f"{head[: head.rfind(' ') + 1]}\n\n{tail[tail.find(' ') + 1 :]}"
    text = text.replace("\r", "\n").replace("\u2019", "'")
    text = _SPECIAL.split(_SPECIAL_AHEAD.sub("", text), maxsplit=1)[0]
    text = plain_text(text)
    if truncated:
        text = _without_cut_number(text)
    return _this_question(text, question).strip(" \t\n")


def _may_continue(rest: str) -> bool:
    """Whether *rest*, after a number in words, may begin its next word, as in "twenty-o"."""
    match = re.fullmatch(r"[ -]?(?:and[ ]|(?:an?d?)?\Z)?([a-z]{0,9})\.?", rest, re.IGNORECASE)
    return match is not None and any(word.startswith(match[1].lower()) for word in NUMBER_WORDS)


def _without_cut_number(text: str) -> str:
    """Drop a number at the very end: "18" may have been cut to "1", "7.5" to "7.", "1,000" to "1,0", "4 000" to "4"."""
    tail = text[-500:]
    numbers = find_numbers(tail)
    if numbers and numbers[-1].is_word and _may_continue(tail[numbers[-1].end :]):
        return text[: len(text) - len(tail) + numbers[-1].start]
    number = re.escape(numbers[-1].text) if numbers else ""
    if number and re.search(rf"(?:=|\bis) ?{number}(?![0-9.,]*[0-9]).*{number}\.\Z", tail, re.DOTALL):
        return text  # "= 21. The answer is 21.": the number was complete before
    cut = _CUT.search(tail)
    return text[: len(text) - len(tail) + cut.start()] if cut else text


def _this_question(text: str, question: str) -> str:
    """Cut *text* before another question, and skip the question itself where *text* repeats it first."""
    role = _ROLE.match(text)
    text = text[role.end() :] if role and not options_in(text) else text
    plain_question = normalise_text(question)
    for _ in range(3):
        start = _NEW_QUESTION.match(text.lstrip())
        if start is None:
            break
        text = text.lstrip()[start.end() :]
        line, _, rest = text.partition("\n")
        plain_line = normalise_text(line)
        if plain_line not in plain_question and plain_question not in plain_line:
            return ""
        role = _ROLE.match(rest)
        text = rest[role.end() :] if role else rest
    following = _NEW_QUESTION.search(text)
    return text[: following.start()] if following else text
