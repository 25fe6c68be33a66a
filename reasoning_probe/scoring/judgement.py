"""A judgement: what a response answered, whether it is correct, and how it is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """What a response answered, whether that is right, and if not, how it is wrong and why that was said.

    ``answer`` is ``None`` where there is no definite one; a number is in digits, a label is yes / no / unknown.
    ``category``, ``kind`` and ``reason`` are ``None`` for a right answer.
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
