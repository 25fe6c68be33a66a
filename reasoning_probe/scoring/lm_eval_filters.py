"""The GSM8K filters of lm-evaluation-harness, which are reported beside the judge's own answers."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from reasoning_probe.scoring.extract import MAX_SCANNED
from reasoning_probe.utils.numbers import MAX_DIGITS, parse_number

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")

_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def strict_match(response: str) -> str | None:
    r"""Return what lm-eval's ``strict-match`` filter takes from a GSM8K response: the first ``#### N``.

    >>> strict_match("So 9 * 2 = 18.\n#### 18"), strict_match("The answer is 18.")
    ('18', None)
    """
    match = _STRICT.search(response[:MAX_SCANNED])
    return match[1] if match else None


def flexible_match(response: str) -> str | None:
    """Return what lm-eval's ``flexible-extract`` filter takes from a response: its last number, known traps included.

    >>> flexible_match("She makes $18 a day"), flexible_match("72 in total...")
    ('$18', '...')
    """
    matches = _FLEXIBLE.findall(response[-MAX_SCANNED:])
    return next(part for part in matches[-1] if part) if matches else None


def same_number(extracted: str | None, expected: str) -> bool:
    """Whether two numerals are the same exact decimal, so that ``$1,000.00`` is ``1000``.

    >>> same_number("$1,000.00", "1000"), same_number("18.", "18"), same_number("8", "18"), same_number("...", "8")
    (True, True, False, False)
    """
    left, right = _decimal(extracted or ""), _decimal(expected)
    if left is None or right is None:
        left_value, right_value = parse_number(extracted or ""), parse_number(expected)
        return left_value is not None and left_value == right_value
    return left == right


def _decimal(text: str) -> Decimal | None:
    plain = text.strip().replace(",", "").replace("$", "").rstrip(".")
    try:
        value = Decimal(plain) if len(plain) <= MAX_DIGITS and "_" not in plain else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None
