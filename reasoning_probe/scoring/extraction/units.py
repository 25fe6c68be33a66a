"""Conversion of an answer to the unit that the question asks for, and of a quantity in two units to one number.

"250 cents" are 2.5 dollars, and so are "2 dollars and 50 cents".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction
from itertools import combinations, pairwise

from reasoning_probe.scoring.extraction.equations import RESULT
from reasoning_probe.utils.number_words import SCALES, NumberSpan

_FAMILIES: tuple[dict[str, int], ...] = (
    {"cent": 1, "dollar": 100},
    {"second": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "h": 3600, "day": 86_400, "week": 604_800},
    {"month": 1, "year": 12, "decade": 120},
    {"inch": 1, "inche": 1, "foot": 12, "feet": 12, "yard": 36},
    {"gram": 1, "g": 1, "kilogram": 1000, "kg": 1000},
    {"milliliter": 1, "ml": 1, "liter": 1000, "litre": 1000, "l": 1000},
    {
        "millimeter": 1,
        "mm": 1,
        "centimeter": 10,
        "cm": 10,
        "meter": 1000,
        "m": 1000,
        "kilometer": 1_000_000,
        "km": 1_000_000,
    },
)
_SIZES = {unit: (family, size) for family, units in enumerate(_FAMILIES) for unit, size in units.items()}
_UNIT = "|".join(sorted(_SIZES, key=len, reverse=True))
_ABBREVIATIONS = {"min", "hr", "h", "g", "kg", "ml", "l", "mm", "cm", "m", "km"}
_PLURAL = "|".join(unit if unit in _ABBREVIATIONS | {"feet"} else f"{unit}s" for unit in _UNIT.split("|"))
_FOLLOWING = re.compile(rf"[ -]?(?:(?P<cent>\u00a2)|(?P<unit>{_UNIT})s?\b)(?! (?:a|an|per|each)\b)", re.IGNORECASE)
_NAMED = re.compile(rf"\b(?P<unit>{_UNIT})s?\b", re.IGNORECASE)
_AND = re.compile(rf"(?P<unit>[ -]?(?:{_UNIT})s?)?(?:,| and|, and)? \$?", re.IGNORECASE)
_EQUALS = re.compile(rf"[ -]?(?:\u00a2|(?:{_UNIT})s?)?[ ]?(?:=|{RESULT})[ ]?", re.IGNORECASE)
_COMPARED = re.compile(rf"[ -]?(?:{_UNIT})s? (?:more|less|fewer|longer|shorter|later|earlier)\b", re.IGNORECASE)
_OPEN_QUANTITY = re.compile(
    rf"[$\u20ac]?\b[0-9][0-9.,]*[ -]?(?P<unit>{_UNIT})s?(?:,? and|,)(?: (?:[0-9.,]+[ -]?)?(?P<rest>[a-z]*))?\s*\Z",
    re.IGNORECASE,
)
_MOST_BETWEEN = 30
"""The text between "3 kilometers and 500" is shorter."""

_ASKED = re.compile(
    rf"\bhow many (?:\w+ )?(?P<counted>{_UNIT})s?\b"
    rf"|\bin (?:(?:total|whole|full|us|u\.s\.) )?(?P<unit>{_PLURAL})\b",
    re.IGNORECASE,
)
"""The words that ask for a unit: "how many hours", "in dollars"; not "in a week", which is when something happens."""

_ASKED_SCALE = re.compile(r"\bhow many (?:\w+ )?(dozen|hundred|thousand|million|billion)s?\b", re.IGNORECASE)
_HOW_MUCH = re.compile(
    r"\bhow much\b|\b(?:price|costs?|pays?|paid|earns?|charges?|bill|change|fee|salary)\b", re.IGNORECASE
)
_MONEY = re.compile(r"\$|\bdollars?\b", re.IGNORECASE)


def asked_unit(question: str) -> str | None:
    """Return the unit in which *question* asks for its answer, if its last sentence or a dollar sign says so.

    >>> asked_unit("Ann earns $3. How much is left?"), asked_unit("How many minutes is that?"), asked_unit("How many?")
    ('dollar', 'minute', None)
    >>> asked_unit("How much milk does she drink in 2 weeks?"), asked_unit("How many dozens does she need?")
    (None, 'dozen')
    """
    last = re.split(r"[.!]\s", question[-2000:].strip())[-1]
    match = _ASKED.search(last)
    if match:
        unit = (match["counted"] or match["unit"]).lower()
        return unit if unit in _SIZES else unit.removesuffix("s")
    if scale := _ASKED_SCALE.search(last):
        return scale[1].lower()
    money = _HOW_MUCH.search(last) and _MONEY.search(question) and "cent" not in last
    return "dollar" if money else None


def convert_unit(value: Fraction, after: str, wanted: str | None, written: str = "") -> Fraction:
    """Return *value* in the unit *wanted*; its unit is read from *written*, its text, and *after*, the text behind it.

    It is unchanged where the two units measure different things.

    >>> [str(convert_unit(Fraction(250), after, "dollar")) for after in (" cents", " dollars", " miles", " cents each")]
    ['5/2', '250', '250', '250']
    >>> str(convert_unit(Fraction(41, 20), "", "cent", "$2.05"))
    '205'
    >>> str(convert_unit(Fraction(24), "", "dozen", "2 dozen"))
    '2'
    """
    if wanted in SCALES:
        return value / SCALES[wanted] if written.lower().rstrip("s").endswith(wanted) else value
    unit = unit_of(after, written)
    if unit is None or wanted is None:
        return value
    family, size = _SIZES[unit]
    wanted_family, wanted_size = _SIZES[wanted]
    return value * size / wanted_size if family == wanted_family else value


def is_unit(unit: str | None, wanted: str | None) -> bool:
    """Whether *unit* is the unit *wanted*, whichever of its names is used.

    >>> is_unit("kg", "kilogram"), is_unit("gram", "kilogram"), is_unit(None, None)
    (True, False, False)
    """
    return unit in _SIZES and _SIZES[unit] == _SIZES.get(wanted or "")


def unit_of(after: str, written: str = "") -> str | None:
    """Return the unit of a number, in the singular, from the text *after* it or from its own text *written*.

    >>> unit_of(" cents"), unit_of("\u00a2"), unit_of("", "$2.05"), unit_of(" miles")
    ('cent', 'cent', 'dollar', None)
    """
    if match := _FOLLOWING.match(after):
        return "cent" if match["cent"] else match["unit"].lower()
    return "dollar" if "$" in written else None


def merge_unit_pairs(
    text: str, numbers: Sequence[NumberSpan], question_numbers: AbstractSet[Fraction]
) -> list[NumberSpan]:
    """Return *numbers* of *text* with "3 dollars and 65 cents" as one number; two of the question's numbers stay two.

    >>> from reasoning_probe.utils.numbers import find_numbers
    >>> text = "It lasts 3 hours and 30 minutes, and 5 days."
    >>> [str(number.value) for number in merge_unit_pairs(text, find_numbers(text), set())]
    ['7/2', '5']
    """
    merged = list(numbers)
    for left, right in pairwise(numbers):
        near = right.start - left.end <= _MOST_BETWEEN
        between = _AND.fullmatch(text, left.end, right.start) if near else None
        after = _FOLLOWING.match(text, right.end) if between else None
        if between is None or after is None or after["unit"] is None or {left.value, right.value} <= question_numbers:
            continue
        larger = (between["unit"] or "").strip(" -").lower() or ("dollar" if "$" in left.text else "")
        family, size = _SIZES.get(larger, _SIZES.get(larger.removesuffix("s"), (-1, 1)))
        smaller_family, smaller_size = _SIZES[after["unit"].lower()]
        if family != smaller_family or smaller_size >= size or left not in merged:
            continue
        value = left.value + right.value * smaller_size / size
        merged[merged.index(left)] = NumberSpan(value, left.start, left.end, text[left.start : right.end])
        merged.remove(right)
    return merged


def is_conversion(text: str, left: NumberSpan, right: NumberSpan) -> bool:
    """Whether *text* says how much of one unit *left* of another is: "210 minutes is 3 hours".

    >>> from reasoning_probe.utils.numbers import find_numbers
    >>> texts = ("210 minutes is 3 hours", "20 minutes and 3 hours", "3 hours is 2 days less")
    >>> [is_conversion(text, *find_numbers(text)) for text in texts]
    [True, False, False]
    """
    unit = unit_of(text[left.end : left.end + 30], left.text)
    if unit is None or _EQUALS.fullmatch(text, left.end, right.start) is None or _COMPARED.match(text, right.end):
        return False
    other = unit_of(text[right.end : right.end + 30], right.text)
    if other is None:
        family, rest = _FAMILIES[_SIZES[unit][0]], text[right.end : right.end + 30].strip().lower()
        return any(name.startswith(rest) for name in family)  # "is 3 ho": the token limit cut the unit
    return _SIZES[unit][0] == _SIZES[other][0] and _SIZES[unit] != _SIZES[other]


def without_open_quantity(text: str) -> str:
    """Return *text*, which the token limit cut, without a quantity at its end that may go on in a smaller unit.

    >>> [without_open_quantity(text) for text in ("It is 3 hours and", "It is 3 hours and 30 min", "It is 3 hours")]
    ['It is', 'It is 3 hours and 30 min', 'It is 3 hours']
    """
    quantity = _OPEN_QUANTITY.search(text, max(0, len(text) - 100))
    if quantity is None:
        return text
    family, size = _SIZES[quantity["unit"].lower()]
    rest = (quantity["rest"] or "").lower()
    smaller = {unit for unit, (other, its) in _SIZES.items() if other == family and its < size}
    complete = rest in smaller or rest.removesuffix("s") in smaller
    may_go_on = any(f"{unit}s".startswith(rest) for unit in smaller)
    return text[: quantity.start()].rstrip() if may_go_on and not complete else text


def ratios(question: str) -> frozenset[Fraction]:
    """Return how many of one unit make another, for the units that *question* names.

    >>> sorted(int(ratio) for ratio in ratios("120 grams a day: how many kilograms in 2 weeks?"))
    [7, 1000]
    """
    named = {match["unit"].lower() for match in _NAMED.finditer(question)} | ({"dollar"} if "$" in question else set())
    sizes = {_SIZES[unit] for unit in named if len(unit) > 2}
    return frozenset(
        Fraction(max(left, right), min(left, right))
        for (family, left), (other, right) in combinations(sizes, 2)
        if family == other
    )
