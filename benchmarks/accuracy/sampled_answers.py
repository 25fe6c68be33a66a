"""What sampled answers say of heads: false alarms by items and by samples, and what common noise saves.

    python -m benchmarks.accuracy.sampled_answers --sweeps 2000 --seeds 20 --json docs/measurements/sampled-answers.json

The first part draws sweeps of 144 heads on 50 items with 20 samples each. No head changes the mean accuracy, but each
shifts how likely single items are answered right, some up and some down, as any head does. The test of a run counts
items, by the share of their samples that are right; the other test takes samples for items. The second part asks the
bundled model the same items with many seeds and compares the variance of a head's effect over seeds: with the noise of
the baseline, as sweeps have it, and with noise of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import reasoning_probe as rp
from benchmarks.workloads import report
from reasoning_probe.models import loading
from reasoning_probe.results import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADS, ITEMS, SAMPLES = 144, 50, 20
SPREAD = 0.7
"""Standard deviation by which a head shifts the log-odds of an item's answers."""
TARGETS = ("L0H1", "L1H0", "L1H1", "L1H3")


def shares(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of right samples of each item as it is, (items,), and under each head, (heads, items).

    A head shifts log-odds as often up as down, and by as much: exchanging it with the baseline changes no distribution.
    """
    middle = rng.normal(1.0, 1.5, ITEMS)
    # Baseline and ablated log-odds are spread alike around the item's middle, so either may be the larger.
    baseline = middle + rng.normal(0.0, SPREAD / np.sqrt(2), ITEMS)
    ablated = middle + rng.normal(0.0, SPREAD / np.sqrt(2), (HEADS, ITEMS))
    drawn = [rng.binomial(SAMPLES, 1 / (1 + np.exp(-odds))) / SAMPLES for odds in (baseline, ablated)]
    return drawn[0], drawn[1]


def false_alarms(sweeps: int) -> dict[str, Any]:
    """Return in which share of null sweeps any head is named, by the test of a run and by one that counts samples."""
    rng = np.random.default_rng(0)
    alarms = {"items": 0, "samples": 0}
    for _ in range(sweeps):
        baseline, ablated = shares(rng)
        nothing = np.full_like(ablated, np.nan)
        tests = stats.primary_tests(baseline, ablated, nothing[0], nothing)
        alarms["items"] += bool((tests.p_discrete <= stats.PRIMARY_ALPHA).any())
        right = (baseline * SAMPLES).round().astype(int)
        right_off = (ablated * SAMPLES).round().astype(int)
        # Samples in pairs, as independent items: those of an item that are right only with, and only without, the head.
        wrong_now = np.maximum(right - right_off, 0).sum(1)
        right_now = np.maximum(right_off - right, 0).sum(1)
        p = stats.mcnemar(wrong_now, right_now)
        alarms["samples"] += bool((stats.discrete_holm(p, wrong_now + right_now) <= stats.PRIMARY_ALPHA).any())
    return {
        test: {"share": count / sweeps, "ci95": list(stats.wilson(count, sweeps))} for test, count in alarms.items()
    } | {"sweeps": sweeps, "heads": HEADS, "items_asked": ITEMS, "samples_drawn": SAMPLES}


def paired_variance(seeds: int, items: int) -> dict[str, Any]:
    """Return the variance of each head's effect over *seeds*, with the baseline's noise and with noise of its own."""
    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"), "cpu", "auto")
    accuracy: dict[str, list[float]] = {}
    for seed in range(seeds):
        cases = rp.sweep(
            loaded.model, loaded.tokenizer, rp.items("multi_step", items), list(TARGETS), samples=1, seed=seed
        )
        for target in ("baseline", *TARGETS):
            accuracy.setdefault(target, []).append(
                float(np.mean([case.share_correct for case in cases if case.target == target]))
            )
    rows = {}
    baseline = np.array(accuracy["baseline"])
    for target in TARGETS:
        ablated = np.array(accuracy[target])
        common = float(np.var(ablated - baseline, ddof=1))
        others = ~np.eye(seeds, dtype=bool)
        apart = float(np.mean((ablated[:, None] - baseline[None] - (ablated.mean() - baseline.mean()))[others] ** 2))
        rows[target] = {"effect": float(np.mean(ablated - baseline)), "common": common, "own": apart}
    return {"seeds": seeds, "items": items, "heads": rows}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return both parts."""
    return {
        "false_alarms": false_alarms(options.sweeps),
        "variance": paired_variance(options.seeds, options.items),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
