r"""Parsing and rendering of numbers in the forms in which people and models write them.

Digits (``$1,000.00``, ``-3``, ``8.``, ``1 1/2``, ``50%``, ``2.5 million``, ``1,50,000``, ``1.2 x 10^5``,
``2\frac{1}{2}``) and English number words
(``eight``, ``twenty-one``, ``two thirds``, ``7 dozen``). Values are :class:`fractions.Fraction`, so rounding never
decides whether an answer is right. Dates, version numbers and clock times other than full hours are no numbers here,
and neither are parts of an expression that is not worked out: the 4 of ``4\pi`` and ``4 sqrt(2)``, the 3 of ``3²``.
All functions are linear in the length of the text: each pattern has bounded parts, and runs of more than
:data:`MAX_DIGITS` digits are no numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from reasoning_probe.utils.number_words import SCALES, VULGAR_FRACTIONS, NumberSpan, may_have_words, word_numbers

MAX_DIGITS = 200
"""Longer runs of digits are degenerate output, not numbers, and their conversion to integers is not linear."""


_MINUS = "-\N{MINUS SIGN}\N{EN DASH}"
_CURRENCY = "$€£¥₹₩₽₺₦"
_MONTH = "(?:Jan|Febr?|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)(?:uary|ch|il|ust|ember|tember|ober)?"

_TWO_SIGNS = {f"{sign} " for sign in _CURRENCY} | {"\\$"}
_BEFORE_SIGN = {" ", *_MINUS, *_CURRENCY}
_BEFORE_SPACE = {*"eEsS", *_MINUS, *_CURRENCY}  # "negative ", "minus ", "= - "
_SHORT_SCALES = {"lac": 10**5, "cr": 10**7, "mio": 10**6, "mln": 10**6}
_LETTER_SCALES = {"k": 1000, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
_EXPONENTS = {character: str(exponent) for exponent, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {
    "⁻": "-",
    "\N{MINUS SIGN}": "-",
}

_INTEGER = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])"
    r"|[0-9]{1,3}(?:'[0-9]{3})+(?![0-9])"  # 17'815, in Switzerland
    r"|(?<![0-9,])[0-9]{1,2}(?:,[0-9]{2}){1,4},[0-9]{3}(?![0-9])(?!,[0-9])"  # 1,50,000, in India
    r"|[0-9]{1,3}(?:[ ]000|[\u00a0\u202f][0-9]{3})+(?![0-9])"  # 400 000, and any groups with a space that is no space
    r"|(?<=[$€£¥])[0-9]{1,3}(?:[ ][0-9]{3})+(?![0-9])"
    r"|(?<![0-9][ ])[0-9]{2,3}(?:[ ][0-9]{3})+(?![0-9]|[ ][0-9])"  # 17 815 that stands alone
    r"|(?<![0-9][ ])[1-9](?:[ ][0-9]{3}){2,9}(?![0-9]|[ ][0-9])"  # 2 500 000
    r"|(?<![0-9][ ])[1-9](?:[ ][0-9]{3})+(?=[ ][a-z]{3})|[0-9]+)"  # 7 500 dollars
)
_LATEX = r"[-\u2212]?[ ]?[0-9]{1,9}(?:,[0-9]{3}){0,4}(?:\.[0-9]{1,9})?"
_GROUP = r"(?:\{(?:[^{}]|\{[^{}]{0,40}\}){0,40}\}|[0-9])"
_DIGITS = re.compile(
    rf"""
    (?P<other> \b{_MONTH}\.?[ ][0-9]{{1,2}}(?:st|nd|rd|th)?(?:,?[ ][0-9]{{4}})?\b  # May 5, 2021
      | (?<![0-9])[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}(?![0-9])                    # 2021-05-05
      | (?<![0-9])[0-9]{{1,4}}/[0-9]{{1,2}}/[0-9]{{1,4}}(?![0-9])                  # 5/5/2021
      | (?<![0-9:])[0-9]{{1,2}}:(?!00(?![0-9:]))[0-9]{{2}}(?![0-9])                # 10:30
      | (?<![0-9.])[0-9]{{1,4}}(?:\.[0-9]{{1,4}}){{2,9}}(?![0-9])                  # 1.2.3
    )
    | (?:(?<![0-9.,])(?P<latex_whole>[0-9]{{1,9}})[ ]?)?
      \\[cdt]?frac[ ]?(?:\{{[ ]?(?P<latex_top>{_LATEX})[ ]?\}}|(?P<top_digit>[0-9]))
      [ ]?(?:\{{[ ]?(?P<latex_bottom>{_LATEX})[ ]?\}}|(?P<bottom_digit>[0-9]))
    | (?P<symbolic>(?:(?<![0-9.,])[0-9]{{1,9}}[ ]?)?\\[cdt]?frac[ ]?{_GROUP}[ ]?{_GROUP})       # \frac{{\pi}}{{4}}
    | (?<![0-9.,])(?P<euro>[0-9]{{1,3}}(?:\.[0-9]{{3}}){{0,4}},[0-9]{{2}})(?=[ ]?(?:€|EUR\b|[Ee]uros?\b))  # 1.240,00 €
    | (?<![0-9:])(?P<hour>[0-9]{{1,2}}):00(?![0-9:])                                # 3:00 is 3
    | (?<![0-9]) (?<![0-9]\.) (?<!(?<!\#)\#)                                        # not the 0 of L1.0, nor #1
      (?: (?<![^\W\d_]) | (?<=[0-9][xX]) )                                         # not L3, but 6x2
      (?: (?P<whole>{_INTEGER})[ ](?P<mixed_top>[0-9]{{1,9}})/(?P<mixed_bottom>[0-9]{{1,9}})(?![0-9/])
        | (?P<top>{_INTEGER})/(?P<bottom>[0-9]{{1,9}})(?![0-9/]|\.[0-9])
        | (?P<vulgar_whole>[0-9]{{1,9}}[ ]?)?(?P<vulgar>[{VULGAR_FRACTIONS}])
        | (?<![+*/^\u00d7\u00b7][ ])(?<![-+*/^\u00d7\u00b7\u2212])10                          # 10^5
          (?:(?:\^|\*\*)\{{?(?P<ten_power>[-+\u2212]?[0-9]{{1,3}})\}}?|(?P<ten_raised>\u207b?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))
          (?![0-9.]|[ ]?[-+*/^=\u00d7\u00b7\u2248][ ]?[$(]?[0-9])
        | (?P<mantissa>{_INTEGER}(?:\.[0-9]+)?|\.[0-9]+)
          (?:[eE](?P<exponent>[+-]?[0-9]+)\b
            |[ ]?(?:[\u00d7x*\u00b7]|\\times|\\cdot)[ ]?10
             (?:(?:\^|\*\*)\{{?(?P<power>[-+\u2212]?[0-9]{{1,3}})\}}?|(?P<raised>\u207b?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))
             (?![0-9]|[ ]?[-+*/^=\u00d7\u2248][ ]?[$(]?[0-9])                            # not 3 * 10^2 = 300
          )?
          (?:[ ]?(?P<scale>hundred|thousand|million|billion|trillion|dozen|lakh|lac|crore|[Cc]r|[Mm]io|[Mm]ln)s?\b
            |(?P<letter>[kKM]|[ ]?[mb]n|B)\b)?
      )
    """,
    re.VERBOSE,
)
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|phi|psi|rho|sigma|tau|omega"
_SYMBOL = (
    r"(?:[π√∛∞∠α-λν-ω]|\\(?:pi|[cd]?frac(?=\{\\)|sqrt|ln|log|sin|cos|tan|infty|" + _GREEK + r")(?![a-z])"
    r"|(?:pi|sqrt)\b)"
)
_SIGNS = re.compile(r"[π√∛∞∠α-λν-ω²³⁴⁵⁶⁷⁸⁹ⁿ₀-₉±!\\^_]")
_FUNCTIONS = ("pi", "sqrt", "ln ", "ln(", "log", "sin(", "sin ", "cos(", "cos ", "tan(", "tan ", " choose ")
_COEFFICIENT = re.compile(r"[0-9][abeijnxyz]\b|[0-9][CP][0-9]|[0-9][ ]?/[ ]?[nxyz]\b|[0-9]\([0-9]*[a-z]|[-+][ ]?[ij]\b")

_SYMBOL_AFTER = re.compile(
    rf"[ ]?(?:[-+*/\u00b7\u00d7]|\\cdot\b|\\times\b)?[ ]?{_SYMBOL}|[²³⁴⁵⁶⁷⁸⁹ⁿ₀-₉]|[abijynz]\b(?!')|e\b(?![-'])"
    r"|x\b(?![ ][a-z])"
    r"|_\{?[0-9]|[ ]?(?:±|\\pm\b)|[ ]?[-+\u2212][ ]?[0-9.]*[ij]\b(?![ ][a-z]|')|[ ]?/[ ]?[nxyz]\b"
    r"|[CP][0-9]|[ ]choose[ ][0-9]"
    r"|\([0-9]{0,4}[a-z][ ]?[-+*/^]|!(?=[$}]|\.(?!\.)|[ ]?[-+*/^=\u00d7\u00b7][ ]?[0-9(\\])"
    r"|\^[ ]?[({]?-?[a-z]|[ ]?(?:ln|log|sin|cos|tan)(?:[ ]?\(|_|[ ][0-9x]\b)",
)
_SYMBOL_BEFORE = re.compile(
    rf"(?:{_SYMBOL}[ ]?[\{{(\[]?|(?:±|\\pm)[ ]?"
    r"|(?:π|\\pi|\bpi|sqrt(?:\([^()]{0,20}\)|\{[^{}]{0,20}\})|√[0-9]{1,9})[ ]?[-+*/][ ]?"
    r"|[^\W\d_]\^[\{(]?-?|[^\W\d_]_\{?)\Z"
)
_START = (
    rf"[0-9.\\{VULGAR_FRACTIONS}](?<!\.(?![0-9]))(?:(?<=[ (=+*$\n][0-9])(?P<more>[0-9]{{0,8}})"
    r"(?=[ )](?:[=+)]|[-/][ ]|[aefgijknopqrsuvwyz])|%[ ]|[.,](?:[ \n]|\Z)|\n|\Z))?"
)
_DIGIT_START = re.compile(_START)
"""Where a match of ``_DIGITS`` can begin; with ``more``, a whole number that nothing beside it makes another one."""

_DIGIT_OR_DATE_START = re.compile(rf"\b(?={_MONTH}\.?[ ][0-9])|{_START}")
_MAY_HAVE_DATE = re.compile(r"[JFMASOND][a-z]{2,8}\.?[ ][0-9]")
_MAY_HAVE_DIGITS = re.compile(rf"[\d{VULGAR_FRACTIONS}]")
_BELOW_ZERO = re.compile(r"[ ]?(?:\u00b0[CF]?|degrees?)?(?:[ ](?:Celsius|Fahrenheit))?[ ]below[ ](?:zero|0)\b", re.I)

_MINUS_WORD = re.compile(r"(?:^|\b(?:is|are|equals|be|to|gives?)|[=:(.\n])\s*minus $", re.I)

_LATEX_SPACE = re.compile(r"\\[,!;]|\^?\\circ\b|\^\{\\circ\}")


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of *text* if it is one number, else ``None``.

    Currency signs, a percent sign (a unit: ``50%`` is 50) and a final full stop are ignored.

    >>> [str(parse_number(text)) for text in ("$1,000.00", "-3", "8.", "1/2", "eight", "50%", "8 apples")]
    ['1000', '-3', '8', '1/2', '8', '50', 'None']
    """
    if len(text) > 4 * MAX_DIGITS:
        return None
    text = _LATEX_SPACE.sub("", text.replace("{,}", ",")).strip()
    numbers = find_numbers(text)
    if len(numbers) != 1:
        return None
    before, after = text[: numbers[0].start], text[numbers[0].end :]
    whole = before.strip(" +\\(" + _CURRENCY) == "" and after.strip(" .!%\\)" + _CURRENCY) == ""
    return numbers[0].value if whole else None


def find_numbers(text: str) -> list[NumberSpan]:
    """Return the numbers in *text*, in order.

    A minus is a sign only where nothing before it can be subtracted from: ``10-4`` has 10 and 4, ``= -3`` has -3.

    >>> [str(number.value) for number in find_numbers("Eight of 1,000 at -3.5: L3H7, 10-4, on 5/5/2021")]
    ['8', '1000', '-7/2', '10', '4']
    """
    return list(_numbers_of(text))


@lru_cache(maxsize=1024)
def _numbers_of(text: str) -> tuple[NumberSpan, ...]:
    """Return the numbers in *text*; the sentences of a response are searched by many rules, and only once."""
    in_words = list(word_numbers(text)) if may_have_words(text) else []
    if not _MAY_HAVE_DIGITS.search(text):
        return tuple(in_words)
    numbers = list(_digit_numbers(_ascii_digits(text)))
    if not in_words:
        return tuple(numbers)
    numbers = sorted([*numbers, *in_words], key=lambda number: number.start)
    return tuple(
        number
        for previous, number in zip([None, *numbers], numbers, strict=False)
        if previous is None or number.start >= previous.end
    )


def render_number(value: Fraction) -> str:
    """Return *value* in digits: ``6``, ``-3``, ``7.5``, and ``1/3`` where the decimals do not end.

    >>> render_number(Fraction(-15, 2)), render_number(Fraction(1, 3)), render_number(Fraction(1000))
    ('-7.5', '1/3', '1000')
    """
    places = next((places for places in range(25) if 10**places % value.denominator == 0), None)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(int(abs(value) * 10**places)).rjust(places + 1, "0")
    point = f".{digits[-places:]}" if places else ""
    return f"{'-' if value < 0 else ''}{digits[: len(digits) - places]}{point}"


def _ascii_digits(text: str) -> str:
    """Replace other scripts' decimal digits by ASCII ones, and the fraction slash, character for character."""
    if text.isascii():
        return text
    text = text.replace("\N{FRACTION SLASH}", "/")
    return text.translate({ord(c): str(unicodedata.decimal(c)) for c in set(text) if not c.isascii() and c.isdecimal()})


def _digit_numbers(text: str) -> Iterator[NumberSpan]:
    lower = text.lower()
    symbolic = any(name in lower for name in _FUNCTIONS) or bool(_SIGNS.search(text) or _COEFFICIENT.search(text))
    below_zero = "below" in lower
    for value, digits_start, digits_end in _digit_values(text):
        if symbolic and _in_symbols(text, digits_start, digits_end):
            continue
        start, negative = _start_and_sign(text, digits_start)
        below = _BELOW_ZERO.match(text, digits_end) if below_zero else None
        end = below.end() if below else digits_end
        yield NumberSpan(-value if negative or below else value, start, end, text[start:end])


def _digit_values(text: str) -> Iterator[tuple[Fraction, int, int]]:
    """Yield the unsigned value of each number in digits, and where its digits start and end.

    ``_DIGITS`` is tried only where one of its matches can begin, and not for a whole number among plain words.
    """
    end = 0
    for begin in (_DIGIT_OR_DATE_START if _MAY_HAVE_DATE.search(text) else _DIGIT_START).finditer(text):
        start = begin.start()
        if start < end:
            continue
        if begin["more"] is not None:
            end = begin.end()
            yield _decimal(begin[0]), start, end
        elif match := _DIGITS.match(text, start):
            end = match.end()
            if not (match["other"] or match["symbolic"]) and (value := _digit_value(match)) is not None:
                yield value, start, end


def _exponent(digits: str) -> int:
    return int("".join(_EXPONENTS.get(character, character) for character in digits))


@lru_cache(maxsize=1024)
def _decimal(digits: str) -> Fraction:
    """Return the value of *digits*, with a point or without one; few of the numbers of a text are new."""
    return Fraction(int(digits)) if digits.isdecimal() else Fraction(digits)


def _digit_value(match: re.Match[str]) -> Fraction | None:
    """Return the unsigned value of a match of ``_DIGITS``; ``None`` for a zero denominator or too great a length."""
    if match.end() - match.start() > MAX_DIGITS:
        return None
    if match.lastgroup == "mantissa":
        return _decimal(_without_separators(match["mantissa"]))
    if power := match["ten_power"] or match["ten_raised"]:
        return Fraction(10) ** _exponent(power)
    if match["vulgar"]:
        return int(match["vulgar_whole"] or 0) + Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
    if match["euro"]:
        return Fraction(match["euro"].replace(".", "").replace(",", "."))
    if match["hour"]:
        return Fraction(match["hour"])
    if match["mantissa"] is None:
        top = match["latex_top"] or match["top_digit"] or match["mixed_top"] or match["top"]
        bottom = match["latex_bottom"] or match["bottom_digit"] or match["mixed_bottom"] or match["bottom"]
        whole = Fraction(_without_separators(match["latex_whole"] or match["whole"] or "0"))
        divisor = Fraction(_without_separators(bottom))
        return whole + Fraction(_without_separators(top)) / divisor if divisor else None
    value = _decimal(_without_separators(match["mantissa"]))
    exponent = _exponent(match["exponent"] or match["power"] or match["raised"] or "0")
    if abs(exponent) > MAX_DIGITS:
        return None
    before = match.string[max(0, match.start() - 2) : match.start()].rstrip()[-1:]
    if match["letter"] == "B" and before not in tuple(_CURRENCY):
        return value  # flat 7B
    scale = _LETTER_SCALES[match["letter"].strip().lower()] if match["letter"] else _scale(match["scale"])
    value = value * Fraction(10) ** exponent if exponent else value
    return value if scale == 1 else value * scale


def _scale(word: str | None) -> int:
    """Return what *word*, after a number, multiplies it by."""
    return SCALES.get(word) or _SHORT_SCALES[word.lower()] if word else 1


def _in_symbols(text: str, start: int, end: int) -> bool:
    r"""Whether the digits from *start* to *end* are part of an expression: "4\pi", "sqrt(2)", "x^2", "3²"."""
    return bool(
        _SYMBOL_AFTER.match(text, end) or _SYMBOL_BEFORE.search(text[max(0, start - 40) : start].rstrip("-\u2212"))
    )


def _without_separators(digits: str) -> str:
    """Return *digits* without their thousands separators."""
    if digits.isdecimal():
        return digits
    return re.sub(r"[,'\s]", "", digits).replace("\N{MINUS SIGN}", "-")


def _start_and_sign(text: str, start: int) -> tuple[int, bool]:
    """Return where the number with its digits at *start* begins (sign, currency), and whether it is negative."""
    before = text[start - 1 : start]
    if before not in _BEFORE_SIGN or (before == " " and text[max(0, start - 2) : start - 1] not in _BEFORE_SPACE):
        return start, False
    if text[max(0, start - 2) : start] in _TWO_SIGNS:
        start -= 2
    elif text[start - 1 : start] in tuple(_CURRENCY):
        start -= 1
    word = text[max(0, start - 9) : start].lower()
    if word == "negative ":
        return start - 9, True
    if word.endswith("minus ") and _MINUS_WORD.search(text[max(0, start - 20) : start]):
        return start - 6, True
    sign = start - 1
    if text[max(0, start - 4) : start] in {f"= {minus} " for minus in _MINUS}:
        sign -= 1
    if sign < 0 or text[sign] not in _MINUS:
        return start, False
    before = text[max(0, sign - 2) : sign]
    subtracts = before[-1:].isalnum() or before[-1:] in tuple(")]%-") or (before[-1:] == " " and _ends_operand(before))
    return (start, False) if subtracts else (sign, True)


def _ends_operand(before: str) -> bool:
    """Whether the last two characters before a minus end an operand to subtract from."""
    return before[0].isdecimal() or before[0] in ")%"
