"""Regular expressions of strangers: whether matching one may take for ever."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_IN_A_ROW = 4
"""Repetitions without end in one alternative, which can divide a text in every way; patterns in use have 2."""

MOST_TIMES = 99
"""A repetition that may be longer counts as one without end."""

_ESCAPE = re.compile(r"\\(?:[pPxuogk]\{[^}]{0,60}\}|[gk]<[^>]{0,60}>|.)", re.DOTALL)
_GROUP = re.compile(
    r"\((?:\?(?:#[^)]{0,999}|[a-z^-]{0,9}:|<?[=!]|>|P?<\w{1,60}>|P=\w{1,60}|[a-z^-]{0,9}(?=\))))?", re.I
)
_QUANTIFIER = re.compile(r"([*+?]|\{(\d{0,9})(,?)(\d{0,9})\})[?+]?", re.ASCII)


@dataclass
class _Group:
    varies: bool = False  # whether it can match one text in several ways
    in_a_row: int = 0
    most: int = 0

    def alternative(self) -> None:
        self.varies, self.most, self.in_a_row = True, max(self.most, self.in_a_row), 0


def may_never_end(pattern: str) -> bool:
    r"""Tell whether matching *pattern*, of Python's kind or Oniguruma's, may take longer than any text is worth.

    It may if a group that is repeated can match one text in several ways, since it holds another repetition or an
    alternative, or if many repetitions follow one another. What cannot be read is taken to be so, too.

    >>> [may_never_end(pattern) for pattern in (r"(a+b?)+$", r"(?:a|aa)*", r"a*a*a*a*a*!", r"(a{1,})", "(a")]
    [True, True, True, False, True]
    >>> may_never_end(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|(ab)+")
    False
    """
    groups, place, atom = [_Group()], 0, _Group()
    while place < len(pattern):
        character = pattern[place]
        group = groups[-1]
        if (quantifier := _QUANTIFIER.match(pattern, place)) and quantifier[0] != "{}":
            place = quantifier.end()
            repeated, unending = _times(quantifier)
            if (repeated and atom.varies) or (place < len(pattern) and pattern[place] in "*+{"):
                return True
            exact = quantifier[2] is not None and not quantifier[3]
            group.varies |= not exact
            group.in_a_row += unending
            continue
        atom = _Group()
        if character == "\\":
            escape = _ESCAPE.match(pattern, place)
            if escape is None:
                return True
            place = escape.end()
        elif character == "[":
            end = _end_of_class(pattern, place)
            if end is None:
                return True
            place = end
        elif character == "(":
            opening = _GROUP.match(pattern, place)
            assert opening is not None
            place = opening.end()
            groups.append(_Group())
        elif character == ")":
            if len(groups) == 1:
                return True
            atom = groups.pop()
            groups[-1].varies |= atom.varies
            groups[-1].in_a_row += max(atom.most, atom.in_a_row)
            place += 1
        else:
            if character == "|":
                group.alternative()
            place += 1
        if groups[-1].in_a_row > MOST_IN_A_ROW:
            return True
    return len(groups) > 1 or groups[0].in_a_row > MOST_IN_A_ROW


def _times(quantifier: re.Match[str]) -> tuple[bool, bool]:
    """Return whether *quantifier* allows more than one time, and whether it allows any number."""
    if quantifier[2] is None:
        return quantifier[1] != "?", quantifier[1] != "?"
    most = quantifier[4] or ("" if quantifier[3] else quantifier[2])
    return most == "" or int(most) > 1, most == "" or int(most) > MOST_TIMES


def _end_of_class(pattern: str, start: int) -> int | None:
    """Return where the class of characters ends that begins at *start*; Oniguruma's may hold others."""
    place, depth = start, 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif character == "[":
            depth += 1
            opening = re.compile(r"\^?\]").match(pattern, place + 1)
            place += 0 if opening is None else len(opening[0])
        elif character == "]":
            depth -= 1
            if depth == 0:
                return place + 1
        place += 1
    return None
