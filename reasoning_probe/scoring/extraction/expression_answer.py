"""The expression that a response gives as its answer: in its last box, after ``####`` or "the answer is", or alone."""

from __future__ import annotations

import re

from reasoning_probe.scoring.extraction.explicit import ANSWER_PHRASE, HASH_MARK, ExtractedAnswer
from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.scoring.extraction.sentences import is_refusal
from reasoning_probe.utils.latex import last_boxed
from reasoning_probe.utils.numbers import parse_number

LONGEST_ALONE = 60
"""A response of one line that is longer than this is no bare expression."""

_MATH = re.compile(r"\$\$(.{1,400}?)\$\$|\$([^$\n]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
_ENDS = re.compile(r"(?<=[\w)}\]$%])[.!?](?=\s)")
_EMPHASIS = re.compile(r"\*\*|__|`")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?: [A-Za-z]{2,}){3,}")


def read_expression(text: str, truncated: bool) -> ExtractedAnswer | None:
    r"""Return the expression that *text*, a response with its LaTeX, gives as its answer.

    It is the content of the last closed box, else what the last "the answer is" or ``####`` marks, else the last
    formula, else a response that is nothing but a short expression. Where the limit cut the response, what touches its
    end is not read.

    >>> texts = (r"So \boxed{\frac{x}{2}}.", "The answer is $x + 1$.", r"Thus \(x = 3\).", "x+1", "It is hard to say")
    >>> [answer.answer if (answer := read_expression(text, False)) else None for text in texts]
    ['\\frac{x}{2}', 'x + 1', 'x = 3', 'x+1', None]
    """
    boxed = last_boxed(text)
    answer = boxed or _marked(text, truncated) or _last_formula(text) or _alone(text, truncated)
    return ExtractedAnswer(answer, parse_number(plain_text(answer)), text[-400:]) if answer else None


def _marked(text: str, truncated: bool) -> str | None:
    """Return what the last mark of an answer is followed by, up to the end of its sentence."""
    for pattern in (HASH_MARK, ANSWER_PHRASE):
        for mark in reversed(list(pattern.finditer(text))):
            line = text[mark.end() : mark.end() + 400].strip()
            if truncated and "\n" not in line and not line.endswith((".", "$", "\\)", "\\]")):
                continue
            if formula := _MATH.match(line):
                return _plain(next(group for group in formula.groups() if group))
            line = line.partition("\n")[0]
            if statement := _plain(_ENDS.split(line, maxsplit=1)[0]):
                return statement
    return None


def _last_formula(text: str) -> str | None:
    """Return the last formula between dollar signs or LaTeX's brackets."""
    formulas = [group for match in _MATH.finditer(text) for group in match.groups() if group]
    return _plain(formulas[-1]) if formulas else None


def _alone(text: str, truncated: bool) -> str | None:
    """Return the first line of *text* if it is short and no sentence; the last line of a cut response is not read."""
    line, newline, _ = text.strip().partition("\n")
    if (truncated and not newline) or len(line) > LONGEST_ALONE or _PROSE.search(line) or is_refusal(line):
        return None
    return _plain(line) or None


def _plain(expression: str) -> str:
    r"""Return *expression* without emphasis, without the signs around a formula, and without a final point."""
    expression = _EMPHASIS.sub("", expression).strip().rstrip(".").strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if expression.startswith(opening) and expression.endswith(closing) and len(expression) > 2 * len(opening):
            expression = expression[len(opening) : -len(closing)].strip()
    return expression
