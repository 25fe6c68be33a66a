"""Numbers as text: per cent, points, nats, p-values."""

from __future__ import annotations


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
