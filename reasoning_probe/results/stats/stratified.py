"""Tests within strata: of whether two groups of items that are equally hard fare differently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Bools = NDArray[np.bool_]

DECILES = 10


def deciles(values: Sequence[float | None]) -> Counts:
    """Return the decile of each value, from 0; equal values share one, and unknown ones have one of their own.

    >>> deciles([-0.1, -3.0, None, -0.1]).tolist()
    [3, 0, 10, 3]
    """
    import numpy as np

    numbers = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    known = np.sort(numbers[~np.isnan(numbers)])
    below = np.searchsorted(known, numbers)  # of equal values the first one's rank
    strata = below * DECILES // max(1, len(known))
    strata[np.isnan(numbers)] = DECILES
    return np.asarray(strata, dtype=np.int64)


@dataclass(frozen=True)
class Association:
    """How many members of a group have an event, how many chance gives them, and the two-sided p-value."""

    count: int
    expected: float
    p: float


def association(group: Any, event: Any, strata: Any) -> Association:
    """Test whether the members of *group* have the *event* more often or more rarely than the other items of a stratum.

    *group* and *event* are boolean and *strata* whole numbers, (items,) each. The statistic is that of Mantel and
    Haenszel (1959). Its null distribution is the exact one, given how many items of each stratum are in the group and
    have the event: the sum of independent hypergeometric counts (Mehta, Patel and Gray 1985), so that few items cost
    power and never validity. In one stratum this is Fisher's exact test. The p-value is twice that of the nearer tail.
    """
    import numpy as np

    group, event = np.asarray(group, bool), np.asarray(event, bool)
    _, strata = np.unique(strata, return_inverse=True)
    counts = np.stack([np.bincount(strata), np.bincount(strata, group), np.bincount(strata, event)]).astype(int)
    items, members, events = counts  # (strata,) each
    expected = float((members * events / items).sum())
    least = int(np.maximum(0, members + events - items).sum())
    chances = np.ones(1)
    for stratum in counts.T.tolist():
        chances = np.convolve(chances, _hypergeometric(*stratum))
    count = int((group & event).sum())
    place = count - least
    tail = min(float(chances[: place + 1].sum()), float(chances[place:].sum()))
    return Association(count, expected, min(1.0, 2 * tail))


@lru_cache(maxsize=4096)
def _hypergeometric(items: int, members: int, events: int) -> Floats:
    """Return the chances of each number of events among the members, from the least that is possible on."""
    import numpy as np
    from scipy.special import gammaln

    counts = np.arange(max(0, members + events - items), min(members, events) + 1)

    def log_choose(n: Any, k: Any) -> Any:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    logs = log_choose(members, counts) + log_choose(items - members, events - counts) - log_choose(items, events)
    chances = np.exp(logs)
    return np.asarray(chances / chances.sum(), dtype=np.float64)


def share_difference(
    events: Floats, totals: Floats, other_events: Floats, other_totals: Floats, strata: Counts
) -> tuple[float, float]:
    """Test whether a share differs from others' over the items of each stratum; return (excess, two-sided p-value).

    *events* of *totals* count an item's cases of one kind, those of *other_events* and *other_totals* the others',
    (items,) each. The excess is Mantel and Haenszel's: the events beyond those that the stratum's common share gives.
    The others' cases of an item count as one, and both groups' cases of an item depend on each other, so its variance
    is that of the sum over items (a score test with clusters; Rao and Scott 1992), referred to Student's distribution
    with the degrees of freedom that the variances of the items allow (Satterthwaite 1946).
    """
    import numpy as np
    from scipy import special

    weights = (other_totals > 0).astype(np.float64)
    shares = np.divide(other_events, other_totals, out=np.zeros(len(totals)), where=other_totals > 0)
    cases, others = np.bincount(strata, totals), np.bincount(strata, weights)  # (strata,) each
    sums = np.bincount(strata, events) + np.bincount(strata, shares)
    both = (cases > 0) & (others > 0)  # what only one side has is no comparison
    common = np.divide(sums, cases + others, out=np.zeros(len(cases)), where=both)[strata]
    part = np.divide(cases, cases + others, out=np.zeros(len(cases)), where=both)[strata]
    mine = np.where(both[strata], events - common * totals, 0.0)
    scores = np.where(both[strata], (1 - part) * mine - part * (shares - common * weights), 0.0)
    excess, variance, fourth = (float(each.sum()) for each in (mine, scores**2, scores**4))
    if variance <= 0:
        return excess, 1.0
    freedom = max(1.0, variance**2 / fourth - 1)
    return excess, float(min(1.0, 2 * special.stdtr(freedom, -abs(excess) / math.sqrt(variance))))
