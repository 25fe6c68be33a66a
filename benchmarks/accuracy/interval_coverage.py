"""Measures how often the intervals cover, and how far named effects are from the true ones.

    cd probes
    pytest test_arithmetic.py test_logic.py test_multi_step.py --ablate-heads --probe-items 300 --probe-dir RUN
    python -m benchmarks.accuracy.interval_coverage RUN --save docs/measurements/interval-coverage.json

The changes of the log-probability that the heads of a run cause are the populations: samples of them are drawn with
replacement, and the intervals of each sample are held against the population's mean and median. For the inflation, a
head loses a share of the items in addition to the flips that all heads have; what is shown of it when it is named is
held against that share. All intervals, tests and estimates are those of a run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.simulated_sweeps import HEADS, Setting, draw
from reasoning_probe.results import stats
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run, read_run
from reasoning_probe.results.stats.intervals import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIZES = (10, 20, 50, 200)
EFFECTS = ((50, 0.1), (50, 0.2), (200, 0.05), (200, 0.1), (200, 0.2), (1000, 0.05))
"""Items, and the share of them that a head loses."""


def populations(run: Run) -> list[Floats]:
    """Return each target's changes of the log-probability on each dataset, (items,)."""
    alone = {outcome.item_key: outcome.answer_logprob for outcome in run.outcomes if outcome.target == BASELINE}
    changes: dict[tuple[str, str, str | None], list[float]] = {}
    for outcome in run.outcomes:
        before = alone.get(outcome.item_key)
        if outcome.target != BASELINE and before is not None and outcome.answer_logprob is not None:
            key = outcome.dataset, outcome.target, outcome.ablation
            changes.setdefault(key, []).append(outcome.answer_logprob - before)
    return [np.array(values) for values in changes.values()]


def coverage(of: Iterable[Floats], items: int, samples: int, seed: int = 0) -> dict[str, float]:
    """Return the shares of samples whose intervals cover the mean (bootstrap) and the median (sign test)."""
    rng = np.random.default_rng((seed, items))
    mean, median = [], []
    for population in of:
        drawn = rng.choice(population, (samples, items))
        low, high = bootstrap(drawn, np.ones_like(drawn, dtype=bool), seed)
        mean += [a <= population.mean() <= b for a, b in zip(low, high, strict=True)]
        for sample in drawn:
            interval = stats.median_interval(sample)
            median.append(interval is None or interval[0] <= np.median(population) <= interval[1])
    return {"items": items, "bootstrap": float(np.mean(mean)), "sign_test": float(np.mean(median))}


def inflation(items: int, loss: float, sweeps: int, seed: int = 0) -> dict[str, float]:
    """Return the mean change of a head that loses a share *loss*, as shown and shrunken, over sweeps that name it."""
    shown, shrunken, weak = [], [], []
    for number in range(sweeps):
        (sweep,) = draw(Setting(items, loss=loss, seed=seed), number)
        tests = stats.primary_tests(sweep.right, sweep.right_off, sweep.logprob, sweep.logprob_off)
        named = tests.p_discrete <= stats.PRIMARY_ALPHA
        if not named[0]:
            continue
        wrong, right = tests.flips_to_wrong.tolist(), tests.flips_to_right.tolist()
        family = stats.detectable(wrong, right, named.tolist(), items, float(sweep.right.mean()))
        shown.append((right[0] - wrong[0]) / items)
        shrunken.append(stats.shrunken(wrong[0], right[0], items, family.p_critical))
        weak.append(family.smallest_effect is None or abs(shown[-1]) < family.smallest_effect)
    count = max(1, len(shown))
    return {
        "items": items,
        "loss": loss,
        "named": len(shown) / sweeps,
        "shown": sum(shown) / count,
        "shrunken": sum(shrunken) / count,
        "called_inflated": sum(weak) / count,
    }


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run with heads off")
    parser.add_argument("--samples", type=int, default=200, help="samples of each population and size")
    parser.add_argument("--sweeps", type=int, default=2000, help="sweeps of each effect")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures here as JSON")
    options = parser.parse_args()
    changes = populations(read_run(options.run))
    print("| items | percentile bootstrap of the mean | sign test's interval of the median |\n| --- | --- | --- |")
    rows = [coverage(changes, items, options.samples) for items in SIZES]
    for row in rows:
        print(f"| {row['items']} | {100 * row['bootstrap']:.1f} % | {100 * row['sign_test']:.1f} % |")
    print(f"\n| items | true loss | named, of {HEADS} heads | shown when named | shrunken | called inflated |")
    print("| --- | --- | --- | --- | --- | --- |")
    effects = [inflation(items, loss, options.sweeps) for items, loss in EFFECTS]
    for row in effects:
        shares = (100 * row[key] for key in ("loss", "named", "shown", "shrunken", "called_inflated"))
        print("| {} | {:.0f} | {:.1f} % | {:.1f} | {:.1f} | {:.0f} % |".format(row["items"], *shares))
    if options.save:
        options.save.write_text(json.dumps({"coverage": rows, "inflation": effects}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
