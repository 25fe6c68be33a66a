"""Numbers that are written out in English: ``eight``, ``twenty-one``, ``two thirds``, ``half a million``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

VULGAR_FRACTIONS = "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"


class NumberSpan(NamedTuple):
    """A number in a text: its exact value and its place, so that ``text`` is that of the source from start to end."""

    value: Fraction
    start: int
    end: int
    text: str

    @property
    def is_word(self) -> bool:
        """Whether the number is written out ("eight")."""
        return not any(character.isdecimal() or character in VULGAR_FRACTIONS for character in self.text)


_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
}  # fmt: skip
"""The words that multiply the number before them."""

_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
NUMBER_WORDS = _ONES | _TENS | SCALES
_WORD = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_WORDS = re.compile(
    rf"(?<![\w-])(?P<article>(?:half[ ])?an?[ ](?=hundred|thousand|million|billion|dozen))?(?:{_WORD})\b"
    rf"(?:(?:-|[ ](?:and[ ])?)(?:{_WORD})\b){{0,12}}"
    rf"(?:[ ]and[ ]a[ ](?P<extra>half|quarter|third)\b"
    rf"(?:[ ](?P<extra_scale>hundred|thousand|million|billion)\b)?|[ -](?P<part>{'|'.join(_PARTS)})(?P<plural>s?)\b)?",
    re.IGNORECASE,
)
_LETTERS = re.compile("[a-z]{3,}")
_WORD_TOKEN = re.compile(rf"\b(?:{_WORD})\b", re.IGNORECASE)

# "one" is a pronoun more often than a number: "no one", "each one", "one of them", "one can see".
_PRONOUN_BEFORE = re.compile(
    r"\b(?:no|any|every|each|some|the|this|that|which|another|other|first|next|last)[ ]$", re.I
)
_PRONOUN_AFTER = re.compile(r"[ ](?:of|another|who|can|could|should|must|would|may|might|by|at)\b", re.I)


def may_have_words(text: str) -> bool:
    """Whether *text* may have a number in words; the pattern of all of them takes longer to try."""
    return not text.isascii() or not NUMBER_WORDS.keys().isdisjoint(_LETTERS.findall(text.lower()))


def word_numbers(text: str) -> Iterator[NumberSpan]:
    """Yield the numbers of *text* that are written out, in order."""
    for match in _WORDS.finditer(text):
        before, after = text[max(0, match.start() - 9) : match.start()], text[match.end() : match.end() + 9]
        if match[0].lower() == "one" and (_PRONOUN_BEFORE.search(before) or _PRONOUN_AFTER.match(after)):
            continue
        numerals = _split_words(text, match)
        if before.lower().endswith(("negative ", "minus ")) and not before[:-6].rstrip()[-1:].isdecimal():
            first = numerals[0]
            start = match.start() - (9 if before.lower().endswith("negative ") else 6)
            numerals[0] = NumberSpan(-first.value, start, first.end, text[start : first.end])
        yield from numerals


def _split_words(text: str, match: re.Match[str]) -> list[NumberSpan]:
    """Return the numbers in a run of number words: "twenty one" is one number, "five six" are two."""
    groups: list[list[re.Match[str]]] = []
    end = match.start("extra") if match["extra"] else match.end()
    for token in _WORD_TOKEN.finditer(text, match.start(), end):
        if groups and _continues([word[0].lower() for word in groups[-1]], token[0].lower()):
            groups[-1].append(token)
        else:
            groups.append([token])
    numerals = []
    for index, group in enumerate(groups):
        first, last = index == 0, index == len(groups) - 1
        value = Fraction(_words_value([word[0].lower() for word in group]))
        start, end = group[0].start(), group[-1].end()
        if first and match["article"]:
            start = match.start()
            value /= 2 if match["article"].lower().startswith("half") else 1
        if last and match["extra"]:
            value, end = value + Fraction(1, _PARTS[match["extra"].lower()]), match.end()
            value *= SCALES[match["extra_scale"].lower()] if match["extra_scale"] else 1
        elif last and match["part"] and (value == 1 or (match["plural"] and value < 10)):
            value, end = value / _PARTS[match["part"].lower()], match.end()
        numerals.append(NumberSpan(value, start, end, text[start:end]))
    return numerals


def _continues(words: list[str], word: str) -> bool:
    """Whether *word* continues the number that *words* spell."""
    last = words[-1]
    if word in SCALES:
        return last not in SCALES or SCALES[last] < SCALES[word]
    if last in _TENS:
        return 1 <= _ONES.get(word, 0) <= 9
    return last in SCALES and last != "dozen" and word != "zero"


def _words_value(words: list[str]) -> int:
    total = current = 0
    for word in words:
        if word in ("hundred", "dozen"):
            current = (current or 1) * SCALES[word]
        elif word in SCALES:
            total, current = total + (current or 1) * SCALES[word], 0
        else:
            current += NUMBER_WORDS[word]
    return total + current
