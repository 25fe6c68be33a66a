"""Reading of LaTeX: the content of its last box."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)[ ]?(?:\{|(?=[0-9A-Za-z]))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

MAX_CONTENT = 2000
"""A box holds at most so many characters."""


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last box of *text* that is closed and not empty, ``None`` if there is none.

    Braces are matched, those that are escaped are text; a box without braces (``\boxed 7``) holds one character.

    >>> last_boxed(r"\boxed{7}, no, \boxed{\frac{1}{2}}"), last_boxed(r"\boxed{7} or \boxed{8"), last_boxed("7")
    ('\\frac{1}{2}', '7', None)
    """
    for box in reversed(list(_BOX.finditer(text))):
        if not box[0].endswith("{"):
            return text[box.end()]
        content = _to_closing_brace(text, box.end())
        if content is not None and content.strip():
            return content.strip()
    return None


def _to_closing_brace(text: str, start: int) -> str | None:
    """Return *text* from *start* up to the brace that closes the one before it."""
    depth = 1
    for brace in _BRACE.finditer(text, start, start + MAX_CONTENT):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return text[start : brace.start()]
    return None
