"""Intervals, paired tests, corrections, and the smallest effect that can be significant.

Arrays are (targets, items) or (items,), ``nan`` where a case was not run; scipy and numpy are imported when needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALPHA = 0.05
"""The family-wise error rate that everything is judged at; intervals are at 95 %."""

_Z = 1.959963984540054
_RESAMPLES = 2000
_NOISE = 1e-5
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


@dataclass(frozen=True)
class Effect:
    """What a target does to one dataset, over the items with both a baseline and an ablated outcome.

    ``delta`` is the change of accuracy as a fraction, ``delta_logprob`` the mean change of the expected answer's
    log-probability in nats, ``None`` where no pair has one. ``p_value`` is exact McNemar, ``logprob_p_value`` a
    paired sign-flip test; the ``*_adjusted`` ones are Holm's over all targets given together, ``q_value``
    Benjamini and Hochberg's.
    """

    items: int
    correct: int
    delta: float
    delta_ci95: tuple[float, float]
    flips_to_wrong: int
    flips_to_right: int
    p_value: float
    p_adjusted: float
    q_value: float
    delta_logprob: float | None
    delta_logprob_ci95: tuple[float, float] | None
    logprob_p_value: float | None
    logprob_p_adjusted: float | None


def is_significant(p_adjusted: float | None) -> bool:
    """Tell whether an adjusted p-value is significant at :data:`ALPHA`; one that is not known is not."""
    return p_adjusted is not None and bool(p_adjusted <= ALPHA)


def wilson(correct: int, items: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy (Wilson 1927); all of [0, 1] where there are no items.

    scipy's ``binomtest(...).proportion_ci`` gives the same limits but takes 0.8 ms, several hundred times as long.
    """
    if items == 0:
        return 0.0, 1.0
    share, spread = correct / items, _Z**2 / items
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / items + spread / (4 * items)) / (1 + spread)
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == items else min(1.0, centre + half)
    return low, high


def paired_interval(flips_to_wrong: int, flips_to_right: int, items: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy change over paired items (Bonett and Price 2012, adjusted Wald)."""
    if items == 0:
        return -1.0, 1.0
    wrong, right = (flips_to_wrong + 1) / (items + 2), (flips_to_right + 1) / (items + 2)
    half = _Z * math.sqrt((wrong + right - (right - wrong) ** 2) / (items + 2))
    return max(-1.0, right - wrong - half), min(1.0, right - wrong + half)


def mcnemar(flips_to_wrong: Any, flips_to_right: Any) -> Floats:
    """Return exact two-sided McNemar p-values; numbers or arrays of them. No flip at all gives 1."""
    import numpy as np
    from scipy import stats

    wrong, right = np.asarray(flips_to_wrong), np.asarray(flips_to_right)
    one_sided = stats.binom.cdf(np.minimum(wrong, right), wrong + right, 0.5)
    return np.asarray(np.minimum(1.0, 2 * one_sided), dtype=np.float64)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return Holm's step-down adjusted p-values (Holm 1979), which hold the family-wise error rate."""
    import numpy as np

    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | Floats) -> Floats:
    """Return q-values (Benjamini and Hochberg 1995), which hold the false discovery rate."""
    import numpy as np
    from scipy import stats

    p = np.asarray(p_values, dtype=np.float64)
    return np.asarray(stats.false_discovery_control(p, method="bh"), dtype=np.float64) if len(p) else p


def flips_needed(targets: int, alpha: float = ALPHA) -> int:
    """Return how many items must flip, all one way, for the strongest of *targets* to be significant.

    Exact McNemar with k flips one way has p = 2 * 0.5**k, and Holm's first step asks for alpha / targets.

    >>> flips_needed(1), flips_needed(16), flips_needed(144), flips_needed(1024)
    (6, 10, 13, 16)
    """
    flips = 1
    while 2 * 0.5**flips > alpha / max(1, targets):
        flips += 1
    return flips


def items_to_try(flips: int) -> int:
    """Return a round number of items with which *flips* are a moderate effect (a twelfth of the items, or less)."""
    return max(200, math.ceil(flips * 12 / 100) * 100)


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
    plausible = possible[(at_least > 0.025) & (at_most > 0.025)]
    return float(plausible.min() / population), float(plausible.max() / population)


def paired_effects(
    baseline: Floats,
    ablated: Floats,
    baseline_logprob: Floats,
    logprob: Floats,
    seed: int = 0,
    unmeasured: int = 0,
) -> list[Effect]:
    """Return the effect of each target; the arguments are (items,), (targets, items), (items,), (targets, items).

    Right is 1, wrong 0, and ``nan`` not run or, for log-probabilities, not known. The corrections are over all rows
    and *unmeasured* targets more, from which the rows were chosen by the same items: they count as if they had p = 1.
    The resamples and the sign vectors are drawn from *seed* and shared by the targets.
    """
    import numpy as np

    if len(ablated) == 0:
        return []
    paired = ~np.isnan(ablated) & ~np.isnan(baseline)
    to_wrong = (paired & (baseline == 1) & (ablated == 0)).sum(axis=1)
    to_right = (paired & (baseline == 0) & (ablated == 1)).sum(axis=1)
    correct = (paired & (ablated == 1)).sum(axis=1)
    items = paired.sum(axis=1)
    p = mcnemar(to_wrong, to_right)
    rest = np.ones(unmeasured)
    p_adjusted, q = holm([*p, *rest]), benjamini_hochberg([*p, *rest])
    with np.errstate(invalid="ignore"):  # -inf on both sides is a change that nobody knows
        change = logprob - baseline_logprob
    known = np.isfinite(change)
    low, high = _bootstrap(change, known, seed)
    logprob_p = _sign_flip(change, known, seed, len(change) + unmeasured)
    tested = known.any(axis=1)
    logprob_adjusted = np.ones(len(logprob_p))
    logprob_adjusted[tested] = holm([*logprob_p[tested], *rest])[: tested.sum()]
    effects = []
    for row in range(len(ablated)):
        n, wrong, right, pairs = int(items[row]), int(to_wrong[row]), int(to_right[row]), int(known[row].sum())
        effects.append(
            Effect(
                items=n,
                correct=int(correct[row]),
                delta=(right - wrong) / n if n else 0.0,
                delta_ci95=paired_interval(wrong, right, n),
                flips_to_wrong=wrong,
                flips_to_right=right,
                p_value=float(p[row]),
                p_adjusted=float(p_adjusted[row]),
                q_value=float(q[row]),
                delta_logprob=float(change[row, known[row]].mean()) if pairs else None,
                delta_logprob_ci95=(float(low[row]), float(high[row])) if pairs > 1 else None,
                logprob_p_value=float(logprob_p[row]) if pairs else None,
                logprob_p_adjusted=float(logprob_adjusted[row]) if pairs else None,
            )
        )
    return effects


def _bootstrap(change: Floats, known: NDArray[np.bool_], seed: int) -> tuple[Floats, Floats]:
    """Return the (targets,) 95 % percentile bootstrap limits of each mean (Efron 1979).

    Resampling items is one matrix product for all targets.
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


def _sign_flip(change: Floats, known: NDArray[np.bool_], seed: int, family: int = 1) -> Floats:
    """Return (targets,) p-values, fine enough for *family* of them. An item that a target lacks counts as 0.

    With sampled signs p is ``(r + 1) / (draws + 1)`` where ``r`` vectors reach the observed sum, which holds its level
    on average over all draws (Phipson and Smyth 2010). But the targets share the vectors, so that the luck of one
    draw does not average out over them: ``r + 1`` is raised by its own standard error, :data:`_ONE_SIDED_95` times, and
    the level holds for nearly every draw. Two stages hold it, too, since a p-value of the first is kept only where it
    is large: what is small in the second is small in the larger test of which both are a part.
    """
    import numpy as np

    items = change.shape[1]
    filled = np.where(known, change, 0.0)
    # Ties, such as the observed signs themselves, must count, and what is noise of batching must not break them.
    slack = 1e-9 * np.abs(filled).sum(axis=1) + _NOISE * known.sum(axis=1)
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


@dataclass(frozen=True)
class MeanChange:
    """A mean over items of paired changes, ``None`` where no item has one, with interval and test.

    ``p_adjusted`` is Holm's over all that were given together.
    """

    items: int
    mean: float | None
    ci95: tuple[float, float] | None
    p_value: float | None
    p_adjusted: float | None


def mean_changes(change: Floats, seed: int = 0) -> list[MeanChange]:
    """Return the mean of each row of *change*, (targets, items), ``nan`` where an item has none.

    The interval is a percentile bootstrap, the test a paired sign flip. It is exact for changes of whole numbers up to
    2, which are what two verdicts on an item can differ by; see ``_sign_flip`` for others.
    """
    import numpy as np

    if not change.size:
        return [MeanChange(0, None, None, None, None) for _ in range(len(change))]
    known = np.isfinite(change)
    filled = np.where(known, change, 0.0)
    whole = bool(np.isin(filled, (-2, -1, 0, 1, 2)).all())
    p = np.array([_whole_sign_flip(row) for row in filled]) if whole else _sign_flip(change, known, seed, len(change))
    low, high = _bootstrap(change, known, seed)
    items = known.sum(axis=1)
    adjusted = np.ones(len(p))
    adjusted[items > 0] = holm(p[items > 0])
    return [
        MeanChange(
            n,
            float(filled[row].sum() / n),
            (float(low[row]), float(high[row])) if n > 1 else None,
            float(p[row]),
            float(adjusted[row]),
        )
        if n
        else MeanChange(0, None, None, None, None)
        for row, n in enumerate(map(int, items))
    ]


def _whole_sign_flip(change: Floats) -> float:
    """Return the exact two-sided p-value that the signs of *change*, each from -2 to 2, are chance.

    The sum of m ones and n twos under random signs is that of two binomials. Without twos this is McNemar's test.
    """
    import numpy as np
    from scipy import stats

    ones, twos = int((np.abs(change) == 1).sum()), int((np.abs(change) == 2).sum())
    sums = np.arange(-ones - 2 * twos, ones + 2 * twos + 1)
    of_ones, of_twos = np.zeros(2 * ones + 1), np.zeros(4 * twos + 1)
    of_ones[::2] = stats.binom.pmf(np.arange(ones + 1), ones, 0.5)
    of_twos[::4] = stats.binom.pmf(np.arange(twos + 1), twos, 0.5)
    chance = np.convolve(of_ones, of_twos)
    return float(min(1.0, chance[np.abs(sums) >= abs(int(change.sum()))].sum()))
