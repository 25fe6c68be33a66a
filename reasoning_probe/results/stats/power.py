"""What a run could have shown: the flips that it takes, the smallest effect, and how far a named effect is inflated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from reasoning_probe.results.stats.corrections import attainable_p, chance_of_p
from reasoning_probe.results.stats.levels import ALPHA, PRIMARY_ALPHA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POWER = 0.8
"""An effect counts as one that a run can show if it is named in this share of runs."""

_STEPS = 14
"""Halvings of the range of effects: the smallest one is known to 0.01 points."""


@dataclass(frozen=True)
class Detectable:
    """What targets tested together can show, with the flips that this run's other targets have.

    ``p_critical`` is the largest p-value that names a target; ``flips_needed`` so many flips, all one way, reach it;
    ``background`` is the mean share of items that a target flips which is not named; ``smallest_effect`` is the loss of
    accuracy that is named in 80 % of such runs, ``None`` where none is.
    """

    p_critical: float
    flips_needed: int
    background: float
    smallest_effect: float | None


def detectable(
    to_wrong: Sequence[int],
    to_right: Sequence[int],
    named: Sequence[bool],
    items: int,
    accuracy: float,
    unmeasured: int = 0,
    alpha: float = PRIMARY_ALPHA,
) -> Detectable:
    """Return what the targets with these flips could have shown, over *items* of which a share *accuracy* is right.

    The targets that are *named* are out of the family, as the step-down correction has it; another one takes the place
    of the target with the fewest flips.
    """
    rest = [(wrong, right) for wrong, right, is_named in zip(to_wrong, to_right, named, strict=True) if not is_named]
    others = sorted(wrong + right for wrong, right in rest)[1:]
    p_critical = critical_p(others, unmeasured, alpha)
    scale = max(1, items * len(rest))
    lost = float(sum(wrong for wrong, _ in rest) / scale)
    won = float(sum(right for _, right in rest) / scale)
    return Detectable(
        p_critical,
        _flips(p_critical),
        lost + won,
        smallest_effect(items, accuracy, lost, won, p_critical),
    )


def critical_p(others: Sequence[int], unmeasured: int = 0, alpha: float = PRIMARY_ALPHA) -> float:
    """Return the largest p-value that is significant beside targets with *others* discordant pairs.

    >>> critical_p([]), critical_p([0] * 15), round(critical_p([], unmeasured=15), 6)
    (0.025, 0.025, 0.001563)
    """
    import numpy as np

    kinds, counts = np.unique(np.asarray(others, dtype=np.int64), return_counts=True)
    continuous = unmeasured + 1  # the target itself, and those that nobody measured, count with p
    least = alpha / (continuous + len(others))  # no target counts with more than p
    steps = np.concatenate([[least], *(attainable_p(int(kind)) for kind in kinds)])
    jumps = np.unique(steps[(steps >= least) & (steps <= alpha)])
    chances = sum(count * chance_of_p(jumps, int(kind)) for kind, count in zip(kinds, counts, strict=True))
    by_others = np.zeros(len(jumps)) + chances
    last = int(np.flatnonzero(by_others + continuous * jumps <= alpha * (1 + 1e-12)).max())
    most = (alpha - by_others[last]) / continuous
    return float(most if last + 1 == len(jumps) else min(most, jumps[last + 1] * (1 - 1e-8)))


def flips_needed(others: Sequence[int], unmeasured: int = 0, alpha: float = PRIMARY_ALPHA) -> int:
    """Return how many items must flip, all one way, for a target to be significant beside *others*.

    *others* are the numbers of items that the other targets flip; *unmeasured* targets count with any p-value.

    >>> flips_needed([]), flips_needed([0] * 143), flips_needed([8] * 143)
    (7, 7, 9)
    """
    return _flips(critical_p(others, unmeasured, alpha))


def flips_needed_by_holm(targets: int, alpha: float = ALPHA) -> int:
    """Return how many items must flip, all one way, for the strongest of *targets* to be significant by plain Holm.

    >>> [flips_needed_by_holm(targets) for targets in (1, 16, 144, 1024)]
    [6, 10, 13, 16]
    """
    return _flips(alpha / max(1, targets))


def _flips(p: float) -> int:
    flips = 1
    while 2 * 0.5**flips > p:
        flips += 1
    return flips


def items_to_try(flips: int) -> int:
    """Return a round number of items with which *flips* are a moderate effect (a twelfth of the items, or less)."""
    return max(200, math.ceil(flips * 12 / 100) * 100)


def smallest_effect(items: int, accuracy: float, lost: float, won: float, p_critical: float) -> float | None:
    """Return the loss of accuracy that is named in 80 % of runs; ``None`` where no loss is.

    A target without an effect makes a share *lost* of the items wrong and *won* right; the effect comes on top.
    """
    most = max(0.0, accuracy - lost)
    if not items or loss_power(items, most, lost, won, p_critical) < POWER:
        return None
    low, high = 0.0, most
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = loss_power(items, middle, lost, won, p_critical) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def loss_power(items: int, loss: float, lost: float, won: float, p_critical: float) -> float:
    """Return the chance that a target which costs *loss* more than a target without an effect is named for it.

    Exact: the flips are binomial, and of so many flips those to right are.
    """
    return conditional_power(0, 0, items, lost + loss, won, p_critical)


def conditional_power(
    flips_to_wrong: int, flips_to_right: int, left: int, lost: float, won: float, p_critical: float
) -> float:
    """Return the chance that a target with so many flips so far is named for its loss after *left* more items.

    Each of these becomes wrong with probability *lost* and right with *won*. Exact, as :func:`loss_power` is.
    """
    import numpy as np
    from scipy import special

    flips_so_far, share = flips_to_wrong + flips_to_right, min(1.0, lost + won)
    spread = 8 * math.sqrt(left * share * (1 - share)) + 1
    more = np.arange(max(0, int(left * share - spread)), min(left, int(left * share + spread)) + 1)
    table = _most_won(1 << (flips_so_far + left).bit_length(), p_critical)  # few sizes, so that it is cached
    most_won = table[flips_so_far + more] - flips_to_right
    of_flips = min(1.0, won / share) if share else 0.0
    # scipy.stats has the same distributions at thirty times the cost, and a race asks for thousands of them.
    named = np.where(most_won >= 0, special.bdtr(np.clip(most_won, 0, more), more, of_flips), 0.0)
    log_ways = special.gammaln(left + 1) - special.gammaln(more + 1) - special.gammaln(left - more + 1)
    chances = np.exp(log_ways + special.xlogy(more, share) + special.xlog1py(left - more, -share))
    return float((chances * named).sum())


@lru_cache(maxsize=16)
def _most_won(items: int, p_critical: float) -> NDArray[np.int64]:
    """Return for 0 to *items* flips how many may be to right for a loss to be significant; -1: none may."""
    import numpy as np
    from scipy import stats

    flips = np.arange(items + 1)
    most = stats.binom.ppf(p_critical / 2, flips, 0.5).astype(np.int64)
    return np.asarray(np.where(2 * stats.binom.cdf(most, flips, 0.5) <= p_critical, most, most - 1), dtype=np.int64)


def shrunken(flips_to_wrong: int, flips_to_right: int, items: int, p_critical: float) -> float:
    """Return a named target's change of accuracy, shrunken because large changes are named and small ones are not.

    The mean of the normalised likelihood that is conditional on being named (Ghosh, Zou and Wright 2008), with the
    normal approximation of the flips. An estimate, never a test.
    """
    import numpy as np
    from scipy import special

    flips, change = flips_to_wrong + flips_to_right, flips_to_right - flips_to_wrong
    if not flips or not items:
        return 0.0
    threshold = float(-special.ndtri(p_critical / 2))
    z = max(abs(change) / math.sqrt(flips), threshold)
    means = np.linspace(min(0.0, z - 8), z + 8, 1601)
    chance = special.ndtr(means - threshold) + special.ndtr(-means - threshold)
    likelihood = np.exp(-((z - means) ** 2) / 2) / chance
    mean = float((means * likelihood).sum() / likelihood.sum())
    return change / items * min(1.0, max(0.0, mean) / z)
