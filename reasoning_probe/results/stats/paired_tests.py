"""Tests of paired changes: McNemar's and the sign test, which are exact, and the sign-flip test of symmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

NOISE = 1e-5
"""Nats an item: a log-probability in float32 moves by this with the shape of the batch in which it was computed."""

_EXACT_ITEMS = 13
"""Up to so many items every one of the 2**items sign vectors is tried."""

_FIRST_DRAWS = 10_000
_RARE = 100
"""A target whose sum fewer of the first sign vectors reach is tested with more."""
_DRAWS, _DRAWS_A_TARGET = 50_000, 250
"""So many in all, at least, and for each target: the smallest p-value must survive Holm's first step over all."""
_ONE_SIDED_95 = 1.644853626951473
"""The 95 % quantile of the normal distribution: the count of sign vectors is raised by so many standard errors."""


def mcnemar(flips_to_wrong: Any, flips_to_right: Any) -> Floats:
    """Return exact two-sided McNemar p-values; numbers or arrays of them. No flip at all gives 1.

    Of log-probabilities that fall and rise this is the exact sign test.
    """
    import numpy as np
    from scipy import stats

    wrong, right = np.asarray(flips_to_wrong), np.asarray(flips_to_right)
    one_sided = stats.binom.cdf(np.minimum(wrong, right), wrong + right, 0.5)
    return np.asarray(np.minimum(1.0, 2 * one_sided), dtype=np.float64)


def falls_and_rises(change: Floats) -> tuple[Counts, Counts]:
    """Return on how many items each row of *change*, (targets, items), falls and rises by more than :data:`NOISE`.

    Items that are ``nan`` count for neither; an infinite change has a direction, too.
    """
    import numpy as np

    with np.errstate(invalid="ignore"):
        return (change < -NOISE).sum(axis=1), (change > NOISE).sum(axis=1)


def sign_flip(change: Floats, known: NDArray[np.bool_], seed: int, family: int = 1) -> Floats:
    """Return (targets,) p-values, fine enough for *family* of them. An item that a target lacks counts as 0.

    It tests whether the changes are *symmetric* about 0 (Fisher 1935). Changes that are skewed have small p-values
    where their mean is 0, too, so nothing is named by it.

    With sampled signs p is ``(r + 1) / (draws + 1)`` where ``r`` vectors reach the observed sum, which holds its level
    on average over all draws (Phipson and Smyth 2010). But the targets share the vectors, so that the luck of one
    draw does not average out over them: ``r + 1`` is raised by its own standard error, :data:`_ONE_SIDED_95` times, and
    the level holds for nearly every draw. Two stages hold it, too, since a p-value of the first is kept only where it
    is large: what is small in the second is small in the larger test of which both are a part.
    """
    import numpy as np

    items = change.shape[1]
    filled = np.where(known, change, 0.0)
    largest = np.abs(filled).max(axis=1, initial=0.0)
    unit = np.where(largest > 1, largest, 1.0)  # a sum of numbers near 1e308 would be no number
    filled = filled / unit[:, None]
    # Ties, such as the observed signs themselves, must count, and what is noise of batching must not break them.
    slack = 1e-9 * np.abs(filled).sum(axis=1) + NOISE / unit * known.sum(axis=1)
    observed = np.abs(filled.sum(axis=1)) - slack
    if items <= _EXACT_ITEMS:
        bits = (np.arange(2**items)[:, None] >> np.arange(items)) & 1
        return np.asarray((np.abs((2.0 * bits - 1) @ filled.T) >= observed).sum(axis=0) / 2**items)
    rng = np.random.default_rng(seed)
    reached = _reached(filled, observed, _FIRST_DRAWS, rng)
    p = _sampled_p(reached, _FIRST_DRAWS)
    rare = reached < _RARE
    draws = max(_DRAWS, _DRAWS_A_TARGET * family)
    reached[rare] += _reached(filled[rare], observed[rare], draws - _FIRST_DRAWS, rng)
    return np.where(rare, _sampled_p(reached, draws), p)


def _reached(filled: Floats, observed: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return for each target how many of *draws* random sign vectors give a sum as large as the observed one."""
    import numpy as np

    reached, chunk = np.zeros(len(filled)), 1000
    if not len(filled):
        return reached
    for start in range(0, draws, chunk):
        size = (min(chunk, draws - start), filled.shape[1])
        signs = 2.0 * rng.integers(0, 2, size=size, dtype=np.int8) - 1
        reached += (np.abs(signs @ filled.T) >= observed).sum(axis=0)
    return reached


def _sampled_p(reached: Floats, draws: int) -> Floats:
    import numpy as np

    count = reached + 1
    return np.asarray(np.minimum(1.0, (count + _ONE_SIDED_95 * np.sqrt(count)) / (draws + 1)))
