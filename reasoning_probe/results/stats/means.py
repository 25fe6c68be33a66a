"""Means of log-probabilities, which files of other tools may hold as large as a float can be."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence


def mean(values: Sequence[float]) -> float:
    """Return the mean of *values*, which are finite and at least one; it is finite, too, where their sum is not.

    >>> mean([1.0, 2.0]), mean([1e308, 1e308])
    (1.5, 1e+308)
    """
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return _sum(value / len(values) for value in values)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the mean of *values* by positive *weights*; it is finite where they are."""
    total = math.fsum(weights)
    try:
        weighted = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
    except OverflowError:
        weighted = math.inf
    if math.isfinite(weighted):
        return weighted
    return _sum(value * (weight / total) for value, weight in zip(values, weights, strict=True))


def _sum(shares: Iterable[float]) -> float:
    """Return the sum of *shares* of a mean, which is finite but may be rounded to more than a float can be.

    >>> _sum([sys.float_info.max / 3 * 1.0000000000000002] * 3) == sys.float_info.max
    True
    """
    half = math.fsum(share / 2 for share in shares)
    most = sys.float_info.max / 2
    return 2 * max(-most, min(most, half))
