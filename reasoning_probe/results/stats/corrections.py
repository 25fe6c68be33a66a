"""Corrections for testing many targets at once: Holm's, Holm's for discrete tests, Benjamini and Hochberg's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TIE = 1 + 1e-9
"""P-values that differ by less than this factor are equal: the same probability, summed in another order."""


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return Holm's step-down adjusted p-values (Holm 1979), which hold the family-wise error rate."""
    import numpy as np

    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def discrete_holm(p_values: Sequence[float] | Floats, discordant: Any, unmeasured: int = 0) -> Floats:
    """Return Holm's adjusted p-values for exact sign tests, each with so many *discordant* pairs.

    Holm's method counts every target that is not rejected yet with the same chance of a p-value this small. But a test
    of few discordant pairs cannot reach it: with three flips the smallest p-value is 0.25. So each of these targets
    counts with its own chance of a p-value of at most p under the null hypothesis, which is the largest p-value up to
    p that its number of discordant pairs allows (Tarone 1990; Gilbert 2005). *unmeasured* targets count with a chance
    of p, as Holm has it.

    One of 16 heads loses 7 items, and nothing else flips: no other head could have had that p-value.

    >>> [round(float(p), 4) for p in discrete_holm([2 * 0.5**7, *[1.0] * 15], [7, *[0] * 15])[:2]]
    [0.0156, 1.0]
    """
    import numpy as np

    p, counts = np.asarray(p_values, dtype=np.float64), np.asarray(discordant, dtype=np.int64)
    if not len(p):
        return p
    steps, step_of = np.unique(p, return_inverse=True)
    kinds, kind_of = np.unique(counts, return_inverse=True)
    left = np.zeros((len(kinds), len(steps)))  # targets of a kind whose p-value is a step's, then that or more
    np.add.at(left, (kind_of, step_of), 1)
    left = left[:, ::-1].cumsum(axis=1)[:, ::-1]
    chances = np.array([chance_of_p(steps, int(kind)) for kind in kinds])  # (kinds, steps)
    sums = (left * chances).sum(axis=0) + unmeasured * steps
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.maximum(sums, steps)))
    return np.asarray(adjusted[step_of], dtype=np.float64)


def chance_of_p(p: Floats, discordant: int) -> Floats:
    """Return the chance that an exact two-sided sign test of *discordant* pairs has a p-value of at most each *p*."""
    import numpy as np

    attainable = attainable_p(discordant)
    rank = np.searchsorted(attainable, np.asarray(p) * _TIE, side="right")
    return np.where(rank > 0, attainable[np.maximum(rank, 1) - 1], 0.0)


@lru_cache(maxsize=2048)
def attainable_p(discordant: int) -> Floats:
    """Return the p-values that an exact two-sided sign test of *discordant* pairs can have, the smallest first.

    Those that lie more than 20 standard deviations out are left out: they are below 1e-80.
    """
    import numpy as np
    from scipy import stats

    fewer = np.arange(max(0, int(discordant / 2 - 10 * discordant**0.5)), discordant // 2 + 1)
    p = np.minimum(1.0, 2 * stats.binom.cdf(fewer, discordant, 0.5))
    p.flags.writeable = False
    return np.asarray(p, dtype=np.float64)


def benjamini_hochberg(p_values: Sequence[float] | Floats) -> Floats:
    """Return q-values (Benjamini and Hochberg 1995), which hold the false discovery rate."""
    import numpy as np
    from scipy import stats

    p = np.asarray(p_values, dtype=np.float64)
    return np.asarray(stats.false_discovery_control(p, method="bh"), dtype=np.float64) if len(p) else p
