"""How much of what a model's heads do a set of them does: faithfulness, completeness, areas under curves, intervals.

The measure is a mean over items, of log-probabilities in nats or of right answers. With all heads it is m(M), with
none m(0). The *faithfulness* of a set C that alone is left on is (m(C) - m(0)) / (m(M) - m(0)); its *completeness* is
1 less the same of all other heads (Wang et al. 2022, with the whole set taken out). Arrays are (items,), or (sizes,
items).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results.record import AreaRecord, ShareRecord
from reasoning_probe.results.stats import ALPHA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_RESAMPLES = 2000


def recovered(measure: Floats, empty: Floats, full: Floats) -> float | None:
    """Return the share (m - m(0)) / (m(M) - m(0)) of the means; ``None`` where the heads do not raise the measure.

    >>> import numpy as np
    >>> recovered(np.array([-1.0, -3.0]), np.array([-6.0, -6.0]), np.array([0.0, -2.0]))
    0.8
    """
    if not len(full) or full.mean() <= empty.mean():
        return None
    return float((measure.mean() - empty.mean()) / (full.mean() - empty.mean()))


def share(measure: Floats, empty: Floats, full: Floats, *, of_rest: bool = False, seed: int = 0) -> ShareRecord | None:
    """Return the share that *measure* recovers with its 95 % interval; *of_rest* gives 1 less that, completeness.

    The interval is the percentile bootstrap over items (Efron 1979). ``None`` where the heads do not raise the measure,
    or do not in one in forty samples of the items.
    """
    value = recovered(measure, empty, full)
    interval = _interval(len(full), lambda n: recovered(measure[n], empty[n], full[n]), seed)
    if value is None or interval is None:
        return None
    low, high = interval
    return {"share": 1 - value, "ci95": [1 - high, 1 - low]} if of_rest else {"share": value, "ci95": [low, high]}


def areas(sizes: Sequence[int], measures: Floats, seed: int = 0) -> AreaRecord | None:
    """Return CPR and CMD of a curve of kept heads: the area under its faithfulness, and that between it and 1.

    *sizes* run from 0 to all heads, of which *measures*, (sizes, items), are the log-probabilities. The line between
    two sizes is straight and the axis is the share of all heads (Mueller et al. 2025, "MIB: A mechanistic
    interpretability benchmark").
    """
    import numpy as np

    shares = np.array(sizes) / sizes[-1]

    def both(items: NDArray[np.int64]) -> tuple[float, float] | None:
        means = measures[:, items].mean(axis=1)
        if means[-1] <= means[0]:
            return None
        faithfulness = (means - means[0]) / (means[-1] - means[0])
        under = float(((faithfulness[1:] + faithfulness[:-1]) / 2 * np.diff(shares)).sum())
        return under, _area_from_one(faithfulness, shares)

    value = both(np.arange(measures.shape[1])) if measures.shape[1] else None
    if value is None:
        return None
    cpr = _interval(measures.shape[1], lambda items: None if (one := both(items)) is None else one[0], seed)
    cmd = _interval(measures.shape[1], lambda items: None if (one := both(items)) is None else one[1], seed)
    if cpr is None or cmd is None:
        return None
    return {"cpr": value[0], "cpr_ci95": list(cpr), "cmd": value[1], "cmd_ci95": list(cmd)}


def _area_from_one(faithfulness: Floats, shares: Floats) -> float:
    """Return the area between a broken line and 1, exact where the line crosses it."""
    import numpy as np

    area = 0.0
    for (f, g), width in zip(zip(faithfulness - 1, faithfulness[1:] - 1, strict=False), np.diff(shares), strict=True):
        if f * g < 0:  # two triangles
            area += width * (f * f + g * g) / (2 * (abs(f) + abs(g)))
        else:
            area += width * (abs(f) + abs(g)) / 2
    return float(area)


def _interval(items: int, value: Callable[[NDArray[np.int64]], float | None], seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of *value* over samples of the items, ``None`` where it often has none."""
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = [value(rng.integers(0, items, items)) for _ in range(_RESAMPLES)] if items else []
    known = [one for one in drawn if one is not None]
    if len(known) < (1 - 1 / 40) * _RESAMPLES:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def lasso_set(masks: Floats, changes: Floats, seed: int = 0, folds: int = 5) -> list[int]:
    """Return which columns of *masks* lower *changes*, by a Lasso (Tibshirani 1996): those with negative weights.

    *masks*, (masks, heads), is 1 where a head is off; *changes*, (masks,), the log-probabilities in nats. The penalty
    is the largest within a standard error of the least cross-validated error. Of the heads that it leaves, those stay
    whose weight is clearly negative.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(changes))
    fold_of = np.empty(len(changes), dtype=np.int64)
    fold_of[order] = np.arange(len(changes)) % folds
    x, y = masks - masks.mean(axis=0), changes - changes.mean()
    largest = float(np.abs(x.T @ y).max() / len(y))
    if largest == 0:
        return []
    penalties = largest * np.logspace(0, -3, 30)
    errors = np.zeros((folds, len(penalties)))
    for fold in range(folds):
        held = fold_of == fold
        centre, level = masks[~held].mean(axis=0), changes[~held].mean()
        weights = np.zeros(masks.shape[1])
        for number, penalty in enumerate(penalties):
            weights = _lasso(masks[~held] - centre, changes[~held] - level, penalty, weights)
            errors[fold, number] = np.mean((changes[held] - level - (masks[held] - centre) @ weights) ** 2)
    means = errors.mean(axis=0)
    best = int(means.argmin())
    within = means <= means[best] + errors[:, best].std(ddof=1) / folds**0.5
    weights = np.zeros(masks.shape[1])
    for penalty in penalties[: int(within.argmax()) + 1]:
        weights = _lasso(x, y, penalty, weights)
    return _clearly_negative(x, y, [column for column, weight in enumerate(weights) if weight < 0])


def _clearly_negative(x: Floats, y: Floats, columns: list[int]) -> list[int]:
    """Return *columns* without those, the weakest first, whose weight in least squares is not clearly below 0.

    That is by a one-sided t-test at 5 %, divided by the number of heads: what two heads do together is noise to the sum
    of single weights, and a Lasso takes some of it in.
    """
    import numpy as np
    from scipy import stats

    while columns:
        chosen = x[:, columns]
        weights = np.linalg.lstsq(chosen, y, rcond=None)[0]
        rest, freedom = y - chosen @ weights, len(y) - len(columns) - 1
        variance = rest @ rest / max(1, freedom) * np.linalg.pinv(chosen.T @ chosen).diagonal()
        p = stats.t.cdf(weights / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)), max(1, freedom))
        weakest = int(p.argmax())
        if p[weakest] <= ALPHA / x.shape[1]:
            break
        columns = [*columns[:weakest], *columns[weakest + 1 :]]
    return columns


def _lasso(x: Floats, y: Floats, penalty: float, weights: Floats, sweeps: int = 200) -> Floats:
    """Return the weights that minimise |y - xw|^2 / 2n + penalty |w|, by coordinate descent from *weights*."""
    import numpy as np

    weights, size = weights.copy(), len(y)
    squares = (x**2).sum(axis=0) / size
    rest = y - x @ weights
    for _ in range(sweeps):
        moved = 0.0
        for column in np.flatnonzero(squares):
            before = weights[column]
            slope = x[:, column] @ rest / size + squares[column] * before
            weights[column] = np.sign(slope) * max(0.0, abs(slope) - penalty) / squares[column]
            if weights[column] != before:
                rest += x[:, column] * (before - weights[column])
                moved = max(moved, abs(weights[column] - before))
        if moved <= 1e-6 * (1 + np.abs(weights).max()):
            break
    return weights
