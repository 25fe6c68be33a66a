"""Means of log-probabilities, which files of other tools may hold as large as a float can be."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Return the mean of *values*, which are finite and at least one; it is finite, too, where their sum is not.

    >>> mean([1.0, 2.0]), mean([1e308, 1e308])
    (1.5, 1e+308)
    """
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the mean of *values* by positive *weights*; it is finite where they are."""
    total = math.fsum(weights)
    try:
        weighted = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
    except OverflowError:
        weighted = math.inf
    if math.isfinite(weighted):
        return weighted
    return math.fsum(value * (weight / total) for value, weight in zip(values, weights, strict=True))
