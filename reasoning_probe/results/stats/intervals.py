"""Intervals: of an accuracy, of a paired change, of a median, and of a share of a finite population."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results.stats.levels import ALPHA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Z95 = 1.959963984540054
_RESAMPLES = 2000


def wilson(correct: float, items: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy (Wilson 1927); all of [0, 1] where there are no items.

    scipy's ``binomtest(...).proportion_ci`` gives the same limits but takes 0.8 ms, several hundred times as long.
    """
    if items == 0:
        return 0.0, 1.0
    share, spread = correct / items, Z95**2 / items
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / items + spread / (4 * items)) / (1 + spread)
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == items else min(1.0, centre + half)
    return low, high


def paired_interval(flips_to_wrong: int, flips_to_right: int, items: int, z: float = Z95) -> tuple[float, float]:
    """Return the interval of an accuracy change over paired items (Bonett and Price 2012, adjusted Wald).

    *z* is the normal quantile of its level: 95 % by default, :func:`simultaneous_z` for many targets at once.
    """
    if items == 0:
        return -1.0, 1.0
    wrong, right = (flips_to_wrong + 1) / (items + 2), (flips_to_right + 1) / (items + 2)
    half = z * math.sqrt((wrong + right - (right - wrong) ** 2) / (items + 2))
    return max(-1.0, right - wrong - half), min(1.0, right - wrong + half)


def mean_interval(values: Sequence[float] | Floats, z: float = Z95) -> tuple[float, float]:
    """Return Student's t interval of the mean of *values*; *z* is the normal quantile of its level.

    Fewer than two values allow none but all of [-1, 1].
    """
    import numpy as np
    from scipy import stats

    if len(values) < 2:
        return -1.0, 1.0
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.isf(stats.norm.sf(z), len(values) - 1)) * spread / math.sqrt(len(values))
    return mean - half, mean + half


def simultaneous_z(targets: int) -> float:
    """Return the quantile with which the intervals of all *targets* hold together at 95 % (Bonferroni).

    >>> [round(simultaneous_z(targets), 2) for targets in (1, 16, 144)]
    [1.96, 2.96, 3.58]
    """
    from scipy import special

    return float(-special.ndtri(ALPHA / 2 / max(1, targets)))


def median_interval(values: Floats) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of *values*, (items,), or ``None`` where fewer than six allow none.

    It holds the medians that the exact sign test does not reject (Thompson 1936), so it covers the median at least as
    often as it says, whatever the distribution.
    """
    import numpy as np
    from scipy import stats

    beyond = int(stats.binom.ppf(ALPHA / 2, len(values), 0.5)) if len(values) else 0
    if beyond and stats.binom.cdf(beyond, len(values), 0.5) > ALPHA / 2:
        beyond -= 1
    if len(values) == 0 or stats.binom.cdf(beyond, len(values), 0.5) > ALPHA / 2:
        return None
    ordered = np.sort(values)
    return float(ordered[beyond]), float(ordered[-1 - beyond])


def finite_interval(hits: int, sampled: int, population: int) -> tuple[float, float]:
    """Return the exact 95 % interval of the share of *population* of which *hits* of *sampled* are an example.

    Drawn without replacement, so the limits are the shares under which so few, or so many, would have a chance of
    2.5 % or less by the hypergeometric distribution (Clopper and Pearson 1934, for a finite population): a sample of
    all leaves no doubt.

    >>> finite_interval(1, 4, 4)
    (0.25, 0.25)
    """
    import numpy as np
    from scipy import stats

    if population == 0:
        return 0.0, 0.0
    possible = np.arange(hits, population - sampled + hits + 1)  # how many there can be in all
    at_least = stats.hypergeom.sf(hits - 1, population, possible, sampled)
    at_most = stats.hypergeom.cdf(hits, population, possible, sampled)
    plausible = possible[(at_least > ALPHA / 2) & (at_most > ALPHA / 2)]
    return float(plausible.min() / population), float(plausible.max() / population)


def bootstrap(change: Floats, known: NDArray[np.bool_], seed: int) -> tuple[Floats, Floats]:
    """Return the (targets,) 95 % percentile bootstrap limits of each mean of *change* (Efron 1979).

    Both arguments are (targets, items). The limits are too narrow where few items carry the mean: see
    ``benchmarks.accuracy.coverage``. Resampling items is one matrix product for all targets.
    """
    import numpy as np

    items = change.shape[1]
    if items == 0:
        return np.full(len(change), np.nan), np.full(len(change), np.nan)
    counts = np.random.default_rng(seed).multinomial(items, [1 / items] * items, size=_RESAMPLES).astype(np.float64)
    drawn = counts @ known.T.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold numbers that add up to no number
        sums = counts @ np.where(known, change, 0.0).T  # (resamples, targets)
        # A resample can miss all of the few items that a target has; it then says nothing and its centre stands in.
        centre = np.where(known, change, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1))
        means = np.where(drawn > 0, sums / np.maximum(1.0, drawn), centre)
        low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high
