"""Numbers and other people's text, made fit to be shown."""

from __future__ import annotations

import html
import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return *text* with control characters, direction overrides and lone surrogates written as escapes.

    What a model wrote may hold them; a terminal would obey them and UTF-8 has no bytes for some.

    >>> print(visible("red \x1b[31m"))
    red \x1b[31m
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def escape(text: object) -> str:
    """Return *text* safe to stand in HTML, in an element or in a quoted attribute."""
    return html.escape(visible(str(text)))


def one_line(text: str, width: int) -> str:
    """Return *text* safe and on one line, cut to *width* characters with ``...``."""
    line = visible(" ".join(text[: 4 * width].split()))
    return line if len(line) <= width and len(text) <= 4 * width else line[: max(0, width - 3)] + "..."


def percent(share: float | None) -> str:
    """Return a fraction in per cent; one decimal where rounding would make it look like all or nothing.

    >>> percent(0.625), percent(0.998), percent(1.0), percent(None)
    ('62 %', '99.8 %', '100 %', '-')
    """
    if share is None:
        return "-"
    whole = f"{100 * share:.0f}"
    exact = share in (0.0, 1.0) or whole not in ("0", "100")
    return f"{whole} %" if exact else f"{100 * share:.1f} %"


def points(change: float) -> str:
    """Return a change of accuracy in percentage points, signed.

    >>> points(-0.625), points(0.025), points(0.0)
    ('-62', '+2.5', '0')
    """
    value = 100 * change
    text = f"{value:+.0f}" if abs(value) >= 10 else f"{value:+.1f}".removesuffix(".0")
    return "0" if float(text) == 0 else text


def nats(change: float | None) -> str:
    """Return a change of log-probability, signed; ``-`` where it is not known."""
    if change is None:
        return "-"
    text = f"{change:+.2f}"
    return "0" if float(text) == 0 else text


def p_value(p: float | None) -> str:
    """Return a p-value, down to 0.001.

    >>> p_value(0.0004), p_value(0.0321), p_value(1.0)
    ('< 0.001', '0.032', '1')
    """
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}".rstrip("0").rstrip(".")


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "item"), count(3168, "case")
    ('1 item', '3,168 cases')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: list[str], most: int = 6) -> str:
    """Return *names* as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
