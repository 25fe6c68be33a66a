"""Where two answers part: what is marked where they stand side by side."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_ALIKE = 300
"""Characters kept of what comes before the difference where an excerpt must be cut."""

FEWEST_BREAKS, FEWEST_BLANKS = 6, 48
"""Line breaks in a row, and characters of any blanks, from which on they are folded."""

_BLANKS = re.compile(rf"\s{{{FEWEST_BLANKS},}}|(?:\r?\n){{{FEWEST_BREAKS},}}")
_TOKEN = re.compile(r"(?<!\s)\s*(?:\w+|[^\w\s])")  # a run of blanks is entered at its beginning only: linear


class Excerpt(NamedTuple):
    """A text in three parts: what both answers share, the first token that differs, the rest."""

    before: str
    differs: str
    after: str


def fold_blanks(text: str) -> str:
    r"""Return *text* with each long run of blanks or line breaks folded to a note of its length.

    A model that ends in a thousand line breaks would fill screens with nothing.

    >>> fold_blanks("8" + 30 * chr(10) + "so")
    '8\n[30 line breaks]\nso'
    """
    return _BLANKS.sub(_note, text)


def _note(blanks: re.Match[str]) -> str:
    breaks = blanks[0].count("\n")
    return f"\n[{breaks:,} line breaks]\n" if breaks >= FEWEST_BREAKS else f" [{len(blanks[0]):,} blanks] "


def split_at_difference(text: str, other: str, most: int) -> Excerpt:
    """Return *text*, at most about *most* characters of it, parted at its first token that differs from *other*.

    A token here is a word, a number or a sign with the blanks before it, as most tokenizers cut: a run's files do not
    hold the model's own.

    >>> split_at_difference(" 5 + 3 = 9 so", " 5 + 3 = 8 so", 600)
    Excerpt(before=' 5 + 3 = ', differs='9', after=' so')
    >>> split_at_difference(" 8", " 8", 600)
    Excerpt(before=' 8', differs='', after='')
    """
    start, end = _first_difference(text, other)
    first = max(0, start - MOST_ALIKE) if len(text) > most else 0
    last = max(first + most, end)
    before = ("[...] " if first else "") + text[first:start]
    return Excerpt(before, text[start:end], text[end:last] + (" [...]" if last < len(text) else ""))


def _first_difference(text: str, other: str) -> tuple[int, int]:
    beside = _TOKEN.finditer(other)
    end = 0
    for token in _TOKEN.finditer(text):
        its = next(beside, None)
        if its is None or its[0] != token[0]:
            return token.start() + len(token[0]) - len(token[0].lstrip()), token.end()
        end = token.end()
    return end, end
