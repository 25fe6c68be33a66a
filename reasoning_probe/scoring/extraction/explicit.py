r"""Explicit answers: what a response itself calls its answer, by ``####``, ``\boxed{}`` or "the answer is"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from reasoning_probe.scoring.extraction.sentence_number import stated_number
from reasoning_probe.scoring.extraction.sentences import options_in
from reasoning_probe.scoring.extraction.units import asked_unit, convert_unit
from reasoning_probe.scoring.extraction.yes_no import label_in, says_both
from reasoning_probe.utils.numbers import NumberSpan, render_number

_ANSWER = re.compile(
    r"\banswer\b(?:[^.\n:=]{0,80}?\b(?:is|was|equals|(?:would|will|should|must) be)\b(?! not \d)[ \t]*:?"
    r"|[^.\n:=]{0,80}[:=])\s*",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####[ \t]*")
_BOXED = re.compile(r"\\boxed\{([^{}]{1,100})\}")
_FINAL = re.compile(r"\b(?:so|therefore|thus|hence|final(?:ly)?|correct(?:ed)?|overall)\b", re.IGNORECASE)


@dataclass(frozen=True)
class ExtractedAnswer:
    """An answer as it was read: the normal form of it, its ``value`` if it is a number, and the sentence it is from.

    ``percent`` says that a percent sign follows it: "75%" is 75, and may also be meant as 0.75;
    ``written`` is the number as it stands there, before its unit is converted.
    """

    answer: str
    value: Fraction | None = None
    source: str = ""
    percent: bool = False
    written: Fraction | None = None


BOTH = "yes and no"
"""The answer of a reply that says both."""


def explicit_statement(text: str) -> str:
    """Return what stands after the first "the answer is" of a cleaned response; empty if there is none."""
    boxed = _BOXED.findall(text)
    match = _ANSWER.search(text)
    return str(boxed[-1]) if boxed else to_sentence_end(text, match.end()) if match else ""


def with_choice(text: str) -> str:
    """Return the option that a reply chooses by its letter, else all of its text: "A) 7 B) 8. The answer is B."."""
    options = options_in(text)
    chosen = re.fullmatch(r"\(?([A-Ea-e])\)?[.)]?", explicit_statement(text).strip()) if options else None
    return f"The answer is {options[chosen[1].upper()]}" if chosen and chosen[1].upper() in options else text


def explicit_label(text: str, question: str) -> ExtractedAnswer | None:
    r"""``\boxed{Yes}`` (last), "the answer is yes" (first; a later one after "so"); two that differ are both."""
    for inner in reversed(_BOXED.findall(text)):
        if boxed := label_in(inner, question):
            return ExtractedAnswer(boxed, source=inner)
    label: str | None = None
    for match in _ANSWER.finditer(text):
        stated = to_sentence_end(text, match.end())
        if options_in(stated):
            continue  # "Answer: A) Yes B) No"
        found = BOTH if says_both(stated, question) else label_in(stated, question)
        if found and (label is None or _FINAL.search(text[max(0, match.start() - 40) : match.end()])):
            label = found
        elif {label, found} == {"yes", "no"}:
            label = BOTH
    return ExtractedAnswer(label, source="an explicit answer") if label else None


def explicit_number(text: str, own: set[Fraction], question: str) -> ExtractedAnswer | None:
    r"""``#### 18`` (first), ``\boxed{18}`` (last), "the answer is 18" (first; a later one after "so", "final")."""
    for match in _HASHES.finditer(text):
        line = text[match.end() : match.end() + 200].partition("\n")[0]
        if number := stated_number(line, own):
            return reading_of(number, line, question)
    for inner in reversed(_BOXED.findall(text)):
        if number := stated_number(inner, own):
            return reading_of(number, inner, question)
    found = None
    for match in _ANSWER.finditer(text):
        stated = to_sentence_end(text, match.end())
        number = None if options_in(stated) else stated_number(stated, own)
        line_start = text.rfind("\n", 0, match.start()) + 1
        if number and (found is None or _FINAL.search(text[max(line_start, match.start() - 40) : match.end()])):
            found = reading_of(number, stated, question)
    return found


def reading_of(number: NumberSpan, source: str, question: str) -> ExtractedAnswer:
    """Return the reading of *number*, which stands in *source*, in the unit that the *question* asks for."""
    after = source[number.end : number.end + 30]
    value = convert_unit(number.value, after, asked_unit(question), number.text)
    plain = number.text if "/" in number.text and value == number.value else render_number(value)
    return ExtractedAnswer(plain.strip(), value, source, after.lstrip(" \\").startswith("%"), number.value)


def to_sentence_end(text: str, start: int) -> str:
    """Return *text* from *start* to the end of its sentence or line."""
    line = text[start : start + 400].lstrip().partition("\n")[0]
    return re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0]
