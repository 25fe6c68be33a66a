"""Units: an answer in another unit than was asked for is converted, "250 cents" to 2.5 dollars."""

from __future__ import annotations

import re
from fractions import Fraction

_FAMILIES: tuple[dict[str, int], ...] = (
    {"cent": 1, "dollar": 100},
    {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800},
    {"inch": 1, "inche": 1, "foot": 12, "feet": 12, "yard": 36},
    {"gram": 1, "kilogram": 1000},
    {"millimeter": 1, "centimeter": 10, "meter": 1000, "kilometer": 1_000_000},
)
_SIZES = {unit: (family, size) for family, units in enumerate(_FAMILIES) for unit, size in units.items()}
_UNIT = "|".join(sorted(_SIZES, key=len, reverse=True))
_SAID = re.compile(rf"[ -]?(?:(?P<cent>\u00a2)|(?P<unit>{_UNIT})s?\b)(?! (?:a|an|per|each)\b)", re.IGNORECASE)
_ASKED = re.compile(rf"\b(?:how many|in) (?:\w+ )?(?P<unit>{_UNIT})s?\b", re.IGNORECASE)
_HOW_MUCH = re.compile(r"\bhow much\b", re.IGNORECASE)
_MONEY = re.compile(r"\$|\bdollars?\b", re.IGNORECASE)


def asked_unit(question: str) -> str | None:
    """Return the unit in which a question wants its answer, as far as its last sentence or a dollar sign says it.

    >>> asked_unit("Ann earns $3. How much is left?"), asked_unit("How many minutes is that?"), asked_unit("How many?")
    ('dollar', 'minute', None)
    """
    last = re.split(r"[.!]\s", question[-2000:].strip())[-1]
    match = _ASKED.search(last)
    if match:
        return match["unit"].lower()
    money = _HOW_MUCH.search(last) and _MONEY.search(question) and "cent" not in last
    return "dollar" if money else None


def converted(value: Fraction, after: str, wanted: str | None) -> Fraction:
    """Return *value*, before the text *after*, in the unit *wanted*; itself where they are not of one family.

    >>> [str(converted(Fraction(250), after, "dollar")) for after in (" cents", " dollars", " miles", " cents each")]
    ['5/2', '250', '250', '250']
    """
    match = _SAID.match(after)
    if match is None or wanted is None:
        return value
    family, size = _SIZES["cent" if match["cent"] else match["unit"].lower()]
    wanted_family, wanted_size = _SIZES[wanted]
    return value * size / wanted_size if family == wanted_family else value
