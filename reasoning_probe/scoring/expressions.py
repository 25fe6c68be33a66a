"""Equality of mathematical expressions: by normal form here, beyond that by Math-Verify.

Math-Verify (Kydlíček 2025, the extra ``math``) parses LaTeX and asks SymPy whether two expressions are equal. It is
called without its own time limits, which are signals: they fail outside the main thread and end those of
pytest-timeout. A deadline of ours, the length of the expressions and a check for enormous powers take their place.
Only its reader of LaTeX is used, since the other one runs what it reads.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

from reasoning_probe.scoring.extraction.free_text import same_words
from reasoning_probe.scoring.extraction.markup import plain_text
from reasoning_probe.utils.numbers import parse_number

LONGEST = 400
"""Longer expressions are compared by their normal form alone."""

SECONDS = 5.0
"""A comparison may take so much of its thread's time; one that takes more finds no equality, on any busy machine."""

_WORDS = re.compile(r"\\(?:text|textbf|mathrm)\{[^{}]*\}|[A-Za-z]{4,}(?: [A-Za-z]+)*")
_ENORMOUS = re.compile(
    r"[0-9]{40}|\^\s*\{?\s*-?[0-9]{4}|[0-9)}]\s*\^\s*\{?\s*\(?[0-9]+\s*\)?\s*\}?\s*\^|[0-9]{4}\s*\\?!|!\s*!"
    r"|binom\s*\{[0-9]{5}"
)
"""What SymPy would calculate digit by digit, in one step that no deadline ends: ``9^{9^9}``, ``99999!``."""

_NORMAL: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\(?:left|right|displaystyle|bigl?|bigr|Bigl?|Bigr)(?![A-Za-z])|\\[!,;: ]|\\q?quad\b|~"), ""),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:leq|le)\b"), r"\\le"),
    (re.compile(r"\\(?:geq|ge)\b"), r"\\ge"),
    (re.compile(r"\{,\}|(?<=[0-9]),(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"\^\{?\\circ\}?|\\degree\b|\u00b0|\\?[$%]"), ""),
    (re.compile(r"[\u2212\u2013]"), "-"),
    (re.compile(r"\\frac([0-9])([0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\s+|\.\s*$"), ""),
)
"""What two ways to write one expression differ in, and what it becomes."""


class _OutOfTimeError(BaseException):
    """The deadline passed; no ``Exception``, since Math-Verify and SymPy catch those."""


def same_expression(answer: str, expected: str) -> bool:
    r"""Whether *answer* and *expected*, in LaTeX or plain text, are the same expression.

    Words are compared as words. Raises ``ImportError`` where Math-Verify is needed and missing.

    >>> same_expression(r"$\dfrac12$", r"\frac{1}{2}"), same_expression("p + q", "p-q")
    (True, False)
    """
    if normal_form(answer) == normal_form(expected):
        return True
    numbers = parse_number(plain_text(answer)), parse_number(plain_text(expected))
    if numbers[0] is not None and numbers[0] == numbers[1]:
        return True
    if _WORDS.fullmatch(expected.strip()) and re.search("[a-z]{2}", normal_form(expected), re.IGNORECASE):
        return same_words(plain_text(answer), expected)
    if max(len(answer), len(expected)) > LONGEST or any(_ENORMOUS.search(text) for text in (answer, expected)):
        return False
    return _verified(answer.strip().strip("$"), expected.strip().strip("$"))


def normal_form(expression: str) -> str:
    r"""Return *expression* without what makes no difference: blanks, sizes of brackets, degrees, signs of money.

    >>> normal_form(r"\left( 1,\, \dfrac{1}{2} \right).")
    '(1,\\frac{1}{2})'
    """
    for pattern, normal in _NORMAL:
        expression = pattern.sub(normal, expression)
    return expression


@lru_cache(maxsize=4096)
def _verified(answer: str, expected: str) -> bool:
    """Whether Math-Verify finds the two equal, within :data:`SECONDS`."""
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns of missing time limits
    latex = [LatexExtractionConfig(boxed_match_priority=0)]
    try:
        with _deadline(SECONDS):
            gold, other = (
                parse(rf"\boxed{{{text}}}", extraction_config=latex, fallback_mode="no_fallback", parsing_timeout=None)
                for text in (expected, answer)
            )
            return bool(gold and other and verify(gold, other, timeout_seconds=None))
    except (Exception, _OutOfTimeError):  # SymPy raises whatever it likes for what it cannot read
        return False


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise :class:`_OutOfTimeError` at the first call of a Python function after *seconds* of this thread's work.

    What other programs take of the machine's time does not count: a judgement must not depend on it.
    """
    before, end = sys.gettrace(), time.thread_time() + seconds

    def check(frame: FrameType, event: str, argument: Any) -> None:
        if time.thread_time() > end:
            raise _OutOfTimeError

    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
