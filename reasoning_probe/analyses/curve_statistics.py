"""What the points of a cumulative curve show, item by item: how many heads keep the accuracy, and which back up others.

Both are found on the items that are measured. The first number of kept heads with nine tenths of the accuracy is the
first crossing of a noisy line, so it comes with the range that other items of the same kind would give. Heads back each
other up where they cost more *log-odds* together than one by one: log-probabilities of independent heads do not add up,
since they saturate at 0, but log-odds do where heads add to the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results import stats
from reasoning_probe.results.curves import CARRIED_SHARE
from reasoning_probe.results.record import CarriedRecord, CurvePointRecord, CurveRecord, ExcessRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_ITEMS = 8
"""The fewest items with log-odds that an excess is tested on."""

SATURATED = -1e-4
"""Nats: an answer that is surer than this has no log-odds worth a number, as float32 rounds 1 - p away."""

_RESAMPLES = 2000


def carried(sizes: Sequence[int], correct: Floats, seed: int = 0) -> CarriedRecord | None:
    """Return the first of *sizes*, ascending, that keeps :data:`CARRIED_SHARE` of the accuracy with all heads.

    *correct* is (sizes, items), its last row that of all heads. The range is that of 95 % of the samples of as many
    items, drawn with replacement. ``None`` where no answer is right, or where only all heads keep that much.
    """
    import numpy as np

    def first(shares: Floats) -> NDArray[np.int64]:  # (sizes, samples)
        return np.asarray(np.argmax(shares >= CARRIED_SHARE * shares[-1] - 1e-12, axis=0), dtype=np.int64)

    place = int(first(correct.mean(axis=1)[:, None])[0])
    if not correct[-1].any() or place == len(sizes) - 1:
        return None
    items = correct.shape[1]
    counts = np.random.default_rng(seed).multinomial(items, [1 / items] * items, size=_RESAMPLES)  # (samples, items)
    low, high = np.quantile(first(correct @ counts.T / items), [0.025, 0.975], method="inverted_cdf")
    return {"heads": sizes[place], "range95": [sizes[int(low)], sizes[int(high)]]}


def excess(baseline: Floats, joint: Floats, singles: Floats) -> ExcessRecord | None:
    """Return by how much heads that are off together change the log-odds more than their single changes add up to.

    The arguments are log-probabilities of the expected answer: (items,), (items,), and (heads, items). Items whose
    answer is too sure or unknown are left out; ``None`` where too few are left. ``p_adjusted`` is that of this test
    alone until :func:`with_adjusted` has all points.
    """
    import numpy as np

    whole, off, alone = _log_odds(baseline), _log_odds(joint), _log_odds(singles)
    known = np.isfinite(whole) & np.isfinite(off) & np.isfinite(alone).all(axis=0)
    if int(known.sum()) < FEWEST_ITEMS:
        return None
    added = (alone - whole)[:, known].sum(axis=0)
    beyond = (off - whole)[known] - added
    falls, rises = (int(count[0]) for count in stats.falls_and_rises(beyond[None]))
    p = float(stats.mcnemar(falls, rises))
    return {
        "items": int(known.sum()),
        "falls": falls,
        "rises": rises,
        "median": float(np.median(beyond)),
        "sum_of_single": float(np.median(added)),
        "p_value": p,
        "p_adjusted": p,
    }


def with_adjusted(entries: Sequence[CurveRecord]) -> list[CurveRecord]:
    """Return the curves of one dataset and ablation with the tests of all their points corrected together."""
    tests = [point.get("excess") for entry in entries for point in entry["points"]]
    known = [test for test in tests if test is not None]
    p_values = [test["p_value"] for test in known]
    adjusted = iter(map(float, stats.discrete_holm(p_values, [test["falls"] + test["rises"] for test in known])))
    return [entry | {"points": [_adjusted(point, adjusted) for point in entry["points"]]} for entry in entries]


def _adjusted(point: CurvePointRecord, adjusted: Iterator[float]) -> CurvePointRecord:
    test = point.get("excess")
    return point if test is None else point | {"excess": test | {"p_adjusted": next(adjusted)}}


def _log_odds(logprob: Floats) -> Floats:
    """Return log(p / (1 - p)) of log-probabilities, ``nan`` where p is too near to 1, or not known."""
    import numpy as np

    usable = np.isfinite(logprob) & (logprob <= SATURATED)
    safe = np.where(usable, logprob, -math.log(2))
    return np.where(usable, safe - np.log(-np.expm1(safe)), np.nan)
