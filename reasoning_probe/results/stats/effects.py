"""The paired effects of targets: changes with their intervals, the two exact tests, and the corrections.

Arrays are (targets, items) or (items,), ``nan`` where a case was not run; scipy and numpy are imported when needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from reasoning_probe.results.stats.corrections import benjamini_hochberg, discrete_holm, holm
from reasoning_probe.results.stats.intervals import (
    Z95,
    bootstrap,
    mean_interval,
    median_interval,
    paired_interval,
    simultaneous_z,
)
from reasoning_probe.results.stats.paired_tests import falls_and_rises, mcnemar, sign_flip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Effect:
    """What a target does to one dataset, over the items with both a baseline and an ablated outcome.

    ``delta`` is the change of accuracy as a fraction, ``delta_ci_simultaneous`` its interval that holds for all targets
    together; ``delta_logprob`` is the mean change of the expected answer's log-probability in nats, and
    ``median_logprob`` its median, ``None`` where no pair has one. ``logprob_falls`` and ``logprob_rises`` are items.

    The two tests that targets are judged by are exact: ``p_value``, McNemar's, and ``logprob_sign_p_value``, the sign
    test of falls against rises. ``p_discrete`` and ``logprob_p_discrete`` are these after discrete Holm over all
    targets given together. For comparison, ``p_adjusted`` is McNemar's after plain Holm, ``q_value`` after Benjamini
    and Hochberg; ``logprob_p_value`` is the paired sign-flip test, which asks for symmetric changes, and
    ``logprob_p_adjusted`` this after plain Holm.
    """

    items: int
    correct: int
    delta: float
    delta_ci95: tuple[float, float]
    delta_ci_simultaneous: tuple[float, float]
    flips_to_wrong: int
    flips_to_right: int
    p_value: float
    p_discrete: float
    p_adjusted: float
    q_value: float
    delta_logprob: float | None
    delta_logprob_ci95: tuple[float, float] | None
    median_logprob: float | None
    median_logprob_ci95: tuple[float, float] | None
    logprob_falls: int
    logprob_rises: int
    logprob_sign_p_value: float | None
    logprob_p_discrete: float | None
    logprob_p_value: float | None
    logprob_p_adjusted: float | None


@dataclass(frozen=True)
class PrimaryTests:
    """The two tests of each target, (targets,): the counts that they are made of, and discrete Holm over all."""

    flips_to_wrong: Counts
    flips_to_right: Counts
    p: Floats
    p_discrete: Floats
    falls: Counts
    rises: Counts
    logprob_p: Floats
    logprob_p_discrete: Floats


def primary_tests(
    baseline: Floats, ablated: Floats, baseline_logprob: Floats, logprob: Floats, unmeasured: int = 0
) -> PrimaryTests:
    """Return the tests that targets are judged by; the arguments are those of :func:`paired_effects`."""
    import numpy as np

    to_wrong, to_right = (ablated < baseline).sum(axis=1), (ablated > baseline).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # -inf on both sides is a change that nobody knows
        falls, rises = falls_and_rises(logprob - baseline_logprob)
    p, logprob_p = mcnemar(to_wrong, to_right), mcnemar(falls, rises)
    return PrimaryTests(
        to_wrong,
        to_right,
        p,
        discrete_holm(p, to_wrong + to_right, unmeasured),
        falls,
        rises,
        logprob_p,
        discrete_holm(logprob_p, falls + rises, unmeasured),
    )


def paired_effects(
    baseline: Floats,
    ablated: Floats,
    baseline_logprob: Floats,
    logprob: Floats,
    seed: int = 0,
    unmeasured: int = 0,
) -> list[Effect]:
    """Return the effect of each target; the arguments are (items,), (targets, items), (items,), (targets, items).

    Right is 1, wrong 0, and ``nan`` not run or, for log-probabilities, not known. Between 0 and 1 is the share of right
    samples of an item: flips are then items whose share falls or rises, and intervals are those of a mean over items.
    The corrections are over all rows and *unmeasured* targets more, from which the rows were chosen by the same items:
    discrete Holm counts them with any p-value, the others as if they had p = 1. The resamples and the sign vectors are
    drawn from *seed* and shared by the targets.
    """
    import numpy as np

    if len(ablated) == 0:
        return []
    tests = primary_tests(baseline, ablated, baseline_logprob, logprob, unmeasured)
    paired = ~np.isnan(ablated) & ~np.isnan(baseline)
    correct, items = (paired & (ablated == 1)).sum(axis=1), paired.sum(axis=1)
    all_p = [*tests.p, *np.ones(unmeasured)]
    p_adjusted, q = holm(all_p), benjamini_hochberg(all_p)
    with np.errstate(invalid="ignore"):
        change = logprob - baseline_logprob
    known = np.isfinite(change)
    low, high = bootstrap(change, known, seed)
    symmetry_p, symmetry_adjusted = _symmetry_tests(change, known, seed, unmeasured)
    z = simultaneous_z(len(ablated) + unmeasured)
    effects = []
    for row in range(len(ablated)):
        n, wrong, right = int(items[row]), int(tests.flips_to_wrong[row]), int(tests.flips_to_right[row])
        of_row = change[row, known[row]]
        pairs, directed = len(of_row), int(tests.falls[row] + tests.rises[row]) or len(of_row)
        effects.append(
            Effect(
                items=n,
                correct=int(correct[row]),
                **_change(baseline, ablated[row], (wrong, right, n), z),
                flips_to_wrong=wrong,
                flips_to_right=right,
                p_value=float(tests.p[row]),
                p_discrete=float(tests.p_discrete[row]),
                p_adjusted=float(p_adjusted[row]),
                q_value=float(q[row]),
                delta_logprob=_mean(of_row) if pairs else None,
                delta_logprob_ci95=(float(low[row]), float(high[row])) if pairs > 1 else None,
                median_logprob=_median(of_row) if pairs else None,
                median_logprob_ci95=median_interval(of_row),
                logprob_falls=int(tests.falls[row]),
                logprob_rises=int(tests.rises[row]),
                logprob_sign_p_value=float(tests.logprob_p[row]) if directed else None,
                logprob_p_discrete=float(tests.logprob_p_discrete[row]) if directed else None,
                logprob_p_value=float(symmetry_p[row]) if pairs else None,
                logprob_p_adjusted=float(symmetry_adjusted[row]) if pairs else None,
            )
        )
    return effects


class _Change(TypedDict):
    """The change of accuracy under one target: fields of :class:`Effect`."""

    delta: float
    delta_ci95: tuple[float, float]
    delta_ci_simultaneous: tuple[float, float]


def _change(baseline: Floats, ablated: Floats, counts: tuple[int, int, int], z: float) -> _Change:
    """Return the change from *baseline* to *ablated*, (items,) each; *counts* are falls, rises and items."""
    import numpy as np

    wrong, right, items = counts
    change = ablated - baseline
    change = change[~np.isnan(change)]
    if np.isin(change, (-1, 0, 1)).all():
        return {
            "delta": (right - wrong) / items if items else 0.0,
            "delta_ci95": paired_interval(wrong, right, items),
            "delta_ci_simultaneous": paired_interval(wrong, right, items, z),
        }
    intervals = [mean_interval(change, level) for level in (Z95, z)]
    limits = [(max(-1.0, low), min(1.0, high)) for low, high in intervals]
    return {"delta": _mean(change), "delta_ci95": limits[0], "delta_ci_simultaneous": limits[1]}


def _symmetry_tests(change: Floats, known: NDArray[np.bool_], seed: int, unmeasured: int) -> tuple[Floats, Floats]:
    """Return the p-value of each target's sign-flip test, and after plain Holm over all targets and *unmeasured* more.

    A target of which no change is *known* is not among those that Holm counts.
    """
    import numpy as np

    p = sign_flip(change, known, seed, len(change) + unmeasured)
    tested = known.any(axis=1)
    adjusted = np.ones(len(p))
    adjusted[tested] = holm([*p[tested], *np.ones(unmeasured)])[: tested.sum()]
    return p, adjusted


@dataclass(frozen=True)
class MeanChange:
    """A mean over items of paired changes, ``None`` where no item has one, with a sign test.

    ``falls`` and ``rises`` are items; ``p_value`` is the exact sign test of these, ``ci95`` a percentile bootstrap.
    """

    items: int
    mean: float | None
    ci95: tuple[float, float] | None
    falls: int
    rises: int
    p_value: float | None


def mean_changes(change: Floats, seed: int = 0) -> list[MeanChange]:
    """Return the mean of each row of *change*, (targets, items), ``nan`` where an item has none."""
    import numpy as np

    if not change.size:
        return [MeanChange(0, None, None, 0, 0, None) for _ in range(len(change))]
    known = np.isfinite(change)
    filled = np.where(known, change, np.nan)
    falls, rises = falls_and_rises(filled)
    p = mcnemar(falls, rises)
    low, high = bootstrap(change, known, seed)
    return [
        MeanChange(
            n,
            _mean(filled[row, known[row]]),
            (float(low[row]), float(high[row])) if n > 1 else None,
            int(falls[row]),
            int(rises[row]),
            float(p[row]),
        )
        if n
        else MeanChange(0, None, None, 0, 0, None)
        for row, n in enumerate(map(int, known.sum(axis=1)))
    ]


def _mean(values: Floats) -> float:
    """Return the mean; of a damaged file's numbers near 1e308, too."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
        return float(total / len(values) if np.isfinite(total) else (values / len(values)).sum())


def _median(values: Floats) -> float:
    import numpy as np

    middle = np.sort(values)[[(len(values) - 1) // 2, len(values) // 2]]
    return float((middle / 2).sum())
