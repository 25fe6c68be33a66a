"""The judgement of a response: its answer, whether that is correct, and the mistake if it is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """The answer of a response, whether it is correct, and if not, the category, kind and reason of the mistake.

    ``answer`` is ``None`` where there is no definite one; a number is in digits, a label is yes / no / unknown.
    ``category``, ``kind`` and ``reason`` are ``None`` for a correct answer.
    """

    answer: str | None
    correct: bool
    category: str | None = None
    kind: str | None = None
    reason: str | None = None


def quoted(text: str) -> str:
    """Quote *text* on one line of at most 60 characters."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
