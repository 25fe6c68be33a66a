"""Intervals, paired tests, corrections, and the smallest effect that could have been seen.

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
_SIGN_FLIPS = 10_000
_NOISE = 1e-5
"""Nats an item: a log-probability in float32 moves by this with the shape of the batch in which it was computed."""

_EXACT_ITEMS = 13
"""Up to so many items every one of the 2**items sign vectors is tried."""


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


def wilson(correct: int, items: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy (Wilson 1927); all of [0, 1] where there are no items."""
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


def paired_effects(
    baseline: Floats, ablated: Floats, baseline_logprob: Floats, logprob: Floats, seed: int = 0
) -> list[Effect]:
    """Return the effect of each target; the arguments are (items,), (targets, items), (items,), (targets, items).

    Right is 1, wrong 0, and ``nan`` not run or, for log-probabilities, not known. The corrections are over all rows.
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
    p_adjusted, q = holm(p), benjamini_hochberg(p)
    with np.errstate(invalid="ignore"):  # -inf on both sides is a change that nobody knows
        change = logprob - baseline_logprob
    known = np.isfinite(change)
    low, high = _bootstrap(change, known, seed)
    logprob_p = _sign_flip(change, known, seed)
    tested = known.any(axis=1)
    logprob_adjusted = np.ones(len(logprob_p))
    logprob_adjusted[tested] = holm(logprob_p[tested])
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


def sign_flip(changes: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value of a paired sign-flip test of mean 0: exact for a few items, else sampled."""
    import numpy as np

    change = np.asarray([changes], dtype=np.float64)
    return float(_sign_flip(change, np.isfinite(change), seed)[0])


def bootstrap_mean(changes: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron 1979)."""
    import numpy as np

    change = np.asarray([changes], dtype=np.float64)
    low, high = _bootstrap(change, np.isfinite(change), seed)
    return float(low[0]), float(high[0])


def _bootstrap(change: Floats, known: NDArray[np.bool_], seed: int) -> tuple[Floats, Floats]:
    """Return the (targets,) limits of each mean; resampling items is one matrix product for all targets."""
    import numpy as np

    items = change.shape[1]
    if items == 0:
        return np.full(len(change), np.nan), np.full(len(change), np.nan)
    counts = np.random.default_rng(seed).multinomial(items, [1 / items] * items, size=_RESAMPLES).astype(np.float64)
    sums = counts @ np.where(known, change, 0.0).T  # (resamples, targets)
    drawn = counts @ known.T.astype(np.float64)
    # A resample can miss all of the few items that a target has; it then says nothing and its centre stands in.
    centre = np.where(known, change, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1))
    means = np.where(drawn > 0, sums / np.maximum(1.0, drawn), centre)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def _sign_flip(change: Floats, known: NDArray[np.bool_], seed: int) -> Floats:
    """Return (targets,) p-values. An item that a target lacks counts as 0, whose sign does not matter."""
    import numpy as np

    targets, items = change.shape
    filled = np.where(known, change, 0.0)
    observed = np.abs(filled.sum(axis=1))
    # Ties, such as the observed signs themselves, must count, and what is noise of batching must not break them.
    slack = 1e-9 * np.abs(filled).sum(axis=1) + _NOISE * known.sum(axis=1)
    reached = np.zeros(targets)
    if items <= _EXACT_ITEMS:
        bits = (np.arange(2**items)[:, None] >> np.arange(items)) & 1
        reached += (np.abs((2.0 * bits - 1) @ filled.T) >= observed - slack).sum(axis=0)
        return np.asarray(reached / 2**items)
    # Fine enough that the smallest p-value survives Holm's first step over all targets.
    draws, rng, chunk = max(_SIGN_FLIPS, 40 * targets), np.random.default_rng(seed), 1000
    for start in range(0, draws, chunk):
        signs = 2.0 * rng.integers(0, 2, size=(min(chunk, draws - start), items), dtype=np.int8) - 1
        reached += (np.abs(signs @ filled.T) >= observed - slack).sum(axis=0)
    return np.asarray((reached + 1) / (draws + 1))
