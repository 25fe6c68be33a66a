r"""Explicit answers: the patterns by which a response marks its answer, and the answer as it is read from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from reasoning_probe.scoring.extraction.sentences import options_in

ANSWER_PHRASE = re.compile(
    r"\banswer\b(?:[^.\n:=]{0,80}?\b(?:is|was|equals|(?:would|will|should|must) be)\b(?! not \d)[ \t]*:?"
    r"|[^.\n:=]{0,80}[:=])\s*"
    r"|(?:^|\n)[ \t]*(?:A|a|Ans|ANS|(?:[Ff]inal )?[Rr]esult)[ \t]*[:=][ \t]*(?=[^\n]+\s*\Z)",
    re.IGNORECASE,
)
"""The words before an explicit answer, "A:" of the last line among them."""

HASH_MARK = re.compile(r"####[ \t]*")
BOXED = re.compile(r"\\(?:boxed|fbox)[ ]?\{((?:[^{}]|\{(?:[^{}]|\{[^{}]{0,40}\}){0,60}\}){1,100})\}")
FINAL = re.compile(
    r"\b(?:so|therefore|thus|hence|final(?:ly)?|correct(?:ed)?|overall)\b|(?:^|\n)[ \t]*(?:a|ans)[ \t]*[:=][ \t]*\Z",
    re.IGNORECASE,
)
"""The words with which a later "the answer is" replaces an earlier one."""


@dataclass(frozen=True)
class ExtractedAnswer:
    """An answer in normal form, with its ``value`` if it is a number, and the sentence it was read from.

    ``percent`` says that a percent sign follows it: "75%" is 75, and may also be meant as 0.75;
    ``written`` is the number as it is written, before its unit is converted.
    """

    answer: str
    value: Fraction | None = None
    source: str = ""
    percent: bool = False
    written: Fraction | None = None


def explicit_statement(text: str) -> str:
    r"""Return the last ``\boxed{}`` of a cleaned response, else what follows its first "the answer is", else "".

    >>> explicit_statement("The answer is 8. I think."), explicit_statement("It is 8.")
    ('8.', '')
    """
    boxed = BOXED.findall(text)
    match = ANSWER_PHRASE.search(text)
    return str(boxed[-1]) if boxed else to_sentence_end(text, match.end()) if match else ""


def with_choice(text: str) -> str:
    """Return the option that a response chooses by its letter as an explicit answer, else the response itself.

    >>> with_choice("A) 7 B) 8. The answer is B."), with_choice("The answer is B.")
    ('The answer is 8. The answer is B.', 'The answer is B.')
    """
    options = options_in(text)
    choice = re.fullmatch(r"\(?([A-Ea-e])\)?[.)]?", explicit_statement(text).strip()) if options else None
    return f"The answer is {options[choice[1].upper()]}" if choice and choice[1].upper() in options else text


def to_sentence_end(text: str, start: int) -> str:
    """Return *text* from *start* to the end of its sentence or line."""
    line = text[start : start + 400].lstrip().partition("\n")[0]
    return re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0]
