"""Preprocessing: the part of a response that can hold its answer, without markup, further questions and cut numbers."""

from __future__ import annotations

import re

from reasoning_probe.scoring.extraction.markup import THOUGHTS, ThoughtMarks, plain_text, without_thoughts
from reasoning_probe.scoring.extraction.sentences import normalise_text, options_in, words
from reasoning_probe.scoring.extraction.units import without_open_quantity
from reasoning_probe.utils.number_words import NUMBER_WORDS
from reasoning_probe.utils.numbers import find_numbers

HEAD, TAIL = 6000, 3000
"""So many characters from the beginning and from the end of a longer response are read."""

_SPECIAL = re.compile(r"<\|[^<>|]{0,40}\|>|</?s>|\[/?INST\]")
_SPECIAL_AHEAD = re.compile(rf"\A(?:\s*(?:{_SPECIAL.pattern}))+")

_NEW_QUESTION = re.compile(
    r"^[ \t>#*]{0,8}(?:question|q|problem|exercise|example|instruction|user|human|input)"
    r"[ \t]*\d{0,3}[ \t]*[:.)][ \t*]*"
    r"|^[ \t>#*]{0,8}(?:question|problem|exercise|example)[ \t]*\d{1,3}[ \t*]*$",
    re.IGNORECASE | re.MULTILINE,
)

_QUESTION_LINE = re.compile(
    r"\n(?P<blank>[ \t]*\n)?[ \t#>*]{0,8}(?:(?P<question>(?:[A-Z0-9]|what\b|how\b|if\b)[^\n]{3,600}?\?)[ \t*]*"
    r"|(?P<task>(?:(?i:compute|calculate|find|solve|evaluate|simplify|determine|add|subtract|multiply|divide)\b"
    r"[^\n]{3,200}|[0-9][-+*/x\u00d7\u00f7 0-9.()]{2,60}=)[ \t*]*)(?=\n[ \t]*(?i:a|ans|answer)[ \t]*:))"
    r"(?=\n|(?:A|Ans|Answer)[ \t]*:)"
)
_ANSWERED = re.compile(r"\s*(?:answer|a|ans|solution|response)[ \t]*[:.]", re.IGNORECASE)
_ROLE = re.compile(r"\s*(?:(?:assistant|a|answer|response|output|solution)[ \t]*[:\n]\s*)+", re.IGNORECASE)


_CUT = re.compile(r"[-+\u2212\u2013$\u20ac\u00a3\u00a5]{0,3}[0-9][0-9.,/:]*(?: [0-9]{1,3})* ?\Z")


def clean(response: str, question: str, truncated: bool, thoughts: ThoughtMarks = THOUGHTS) -> str:
    """Return the part of *response* that can hold its answer, without markup and without what *thoughts* surround.

    Everything after a new question is dropped, and so is a repetition of *question* before its answer. If the token
    limit ended the response (*truncated*), a number that touches its end is dropped: it may be cut in half.
    """
    return _this_question(without_markup(response, truncated, thoughts), question).strip(" \t\n")


def with_latex(response: str, question: str, thoughts: ThoughtMarks = THOUGHTS) -> str:
    """Return what :func:`clean` returns, with the response's markup in it."""
    return _this_question(_visible(response, thoughts), question).strip(" \t\n")


def without_markup(response: str, truncated: bool = False, thoughts: ThoughtMarks = THOUGHTS) -> str:
    """Return *response* without thoughts, special tokens and markup, and if *truncated* without a number at its end."""
    text = plain_text(_visible(response, thoughts))
    return _without_cut_number(text) if truncated else text


def _visible(response: str, thoughts: ThoughtMarks) -> str:
    """Return the ends of *response* without thoughts and special tokens."""
    text = without_thoughts(response, thoughts)
    if len(text) > HEAD + TAIL:
        head, tail = text[:HEAD], text[-TAIL:]
        text = f"{head[: head.rfind(' ') + 1]}\n\n{tail[tail.find(' ') + 1 :]}"
    text = text.replace("\r", "\n").replace("\u2019", "'")
    return _SPECIAL.split(_SPECIAL_AHEAD.sub("", text), maxsplit=1)[0]


def _may_continue(rest: str) -> bool:
    """Whether *rest*, after a number in words, may begin its next word, as in "twenty-o"."""
    match = re.fullmatch(r"[ -]?(?:and[ ]|(?:an?d?)?\Z)?([a-z]{0,9})\.?", rest, re.IGNORECASE)
    return match is not None and any(word.startswith(match[1].lower()) for word in NUMBER_WORDS)


def _without_cut_number(text: str) -> str:
    """Drop a number at the very end: "18" may have been cut to "1", "7.5" to "7.", "1,000" to "1,0", "4 000" to "4"."""
    text = without_open_quantity(text)
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
    text = text[role.end() :] if role and text[role.end() :].strip() and not options_in(text) else text
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
    text = text[: following.start()] if following else text
    return text[: _other_question(text, question)]


def _other_question(text: str, question: str) -> int:
    """Return where *text* asks a question other than *question* after an answer, without a heading; else its length.

    " 8", and then "What is 9 + 1?" with its own answer; a question that a solution asks itself has no new numbers.
    """
    end = 0
    for line in _QUESTION_LINE.finditer(text):
        if not any(character.isalnum() for character in text[end : line.start()]):
            continue
        known = set(words(f"{question} {text[: line.start()]}"))
        new = [word for word in words(line["question"] or line["task"]) if word not in known]
        answered = _ANSWERED.match(text, line.end()) is not None
        numbers = any(word[0].isdecimal() for word in new)
        asks = line["question"] is not None or line["blank"] is not None  # a step of a solution is a line among others
        if asks and ((answered and (numbers or len(new) > 2)) or (numbers and line["blank"])):
            return line.start()
    return len(text)
