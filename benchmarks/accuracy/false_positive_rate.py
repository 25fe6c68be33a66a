"""Simulates the false-positive rate and the power of the significance tests that a run applies to its heads.

    python -m benchmarks.accuracy.false_positive_rate
    python -m benchmarks.accuracy.false_positive_rate --sweeps 5000 --counts counts.jsonl --seconds 180   # in slices

A null sweep draws, for each item, whether the model answers correctly, and for each head which items it flips, equally
often in both directions. The changes of the log-probability come from a heavy-tailed distribution that is symmetric
about 0. The simulation calls :func:`reasoning_probe.results.stats.paired_effects`, as a real run does. A sweep is a
false alarm where any head is significant after Holm's correction.

For the power, one head has an effect and all others have none: it makes a share of the correct items wrong, in addition
to the flips that all heads have, or shifts the mean of the log-probability by a share of its standard deviation.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_probe.report.format import percent
from reasoning_probe.results import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HEADS = 144
SIZES = (50, 200, 1000)
ACCURACY = 0.7
FLIPS = 0.05
"""The share of items that a head without an effect flips, half of them to wrong."""

LOSSES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
SLICE = 25
"""Sweeps that are counted between two writes to the file of counts."""


@dataclass(frozen=True)
class Sweep:
    """The arguments of ``paired_effects``: correctness and log-probabilities, with and without ablation."""

    right: Floats  # (items,)
    right_off: Floats  # (heads, items)
    logprob: Floats  # (items,)
    logprob_off: Floats  # (heads, items)


@dataclass(frozen=True)
class Detections:
    """How many of ``sweeps`` detected an effect, by the McNemar test and by the sign-flip test, each after Holm."""

    sweeps: int
    mcnemar: int
    sign_flip: int

    def __add__(self, other: Detections) -> Detections:
        return Detections(self.sweeps + other.sweeps, self.mcnemar + other.mcnemar, self.sign_flip + other.sign_flip)


@dataclass(frozen=True)
class Setting:
    """Parameters of simulated sweeps.

    Without an effect, a sweep counts where any head is significant, otherwise where the head with the effect is.
    """

    items: int
    heads: int = HEADS
    loss: float = 0.0
    shift: float = 0.0
    seed: int = 0

    @property
    def null(self) -> bool:
        return not self.loss and not self.shift


class SavedCounts:
    """Counts that are saved in a file of JSON lines, so that a long simulation can run in slices."""

    def __init__(self, path: Path | None, seconds: float | None) -> None:
        self._path = path
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []
        self._counts: dict[Setting, Detections] = {}
        for setting, detections in map(json.loads, lines):
            self._add(Setting(**setting), Detections(**detections))

    def _add(self, setting: Setting, detections: Detections) -> None:
        self._counts[setting] = self._counts.get(setting, Detections(0, 0, 0)) + detections

    def count(self, sweeps: int, setting: Setting) -> Detections:
        """Return the detections of the first *sweeps* sweeps, or of those that the time limit allowed."""
        while (done := self._counts.get(setting, Detections(0, 0, 0))).sweeps < sweeps and time.monotonic() < self._end:
            detections = _count(range(done.sweeps, min(sweeps, done.sweeps + SLICE)), setting)
            self._add(setting, detections)
            if self._path:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([asdict(setting), asdict(detections)]) + "\n")
        return done


def draw(items: int, heads: int, rng: np.random.Generator, loss: float = 0.0, shift: float = 0.0) -> Sweep:
    """Draw a sweep in which each head without an effect is expected to flip as many items to right as to wrong.

    The first head makes a share *loss* of the items wrong and moves the log-probability down by *shift* standard
    deviations.
    """
    right = (rng.random(items) < ACCURACY).astype(float)
    # The flip rate depends on the answer, so that equally many flips are expected in both directions.
    rate = np.where(right == 1, FLIPS / 2 / ACCURACY, FLIPS / 2 / (1 - ACCURACY))
    rates = np.broadcast_to(rate, (heads, items)).copy()
    rates[0] += np.where(right == 1, loss / ACCURACY, 0.0)
    flipped = rng.random((heads, items)) < rates
    logprob = -rng.exponential(2.0, items)
    change = rng.standard_t(3, (heads, items)) / math.sqrt(3)  # standard deviation 1
    change[0] -= shift
    return Sweep(right, np.abs(right - flipped), logprob, logprob + change)


def family_wise_errors(sweeps: int, items: int, heads: int = HEADS, seed: int = 0) -> Detections:
    """Return how many of *sweeps* sweeps without any effect find a significant head."""
    return _count(range(sweeps), Setting(items, heads, seed=seed))


def power(
    sweeps: int, items: int, heads: int = HEADS, *, loss: float = 0.0, shift: float = 0.0, seed: int = 0
) -> Detections:
    """Return how many of *sweeps* sweeps detect the one head that has an effect."""
    return _count(range(sweeps), Setting(items, heads, loss, shift, seed))


def _count(numbers: range, setting: Setting) -> Detections:
    """Return the detections among the sweeps of these *numbers*: see :class:`Setting`."""
    counts = [0, 0]
    for number in numbers:
        rng = np.random.default_rng((setting.seed, number))  # independent of the sweeps before it
        sweep = draw(setting.items, setting.heads, rng, setting.loss, setting.shift)
        named = [test.any() if setting.null else test[0] for test in _significant(sweep, number)]
        counts = [count + bool(test) for count, test in zip(counts, named, strict=True)]
    return Detections(len(numbers), *counts)


def _significant(sweep: Sweep, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    effects = stats.paired_effects(sweep.right, sweep.right_off, sweep.logprob, sweep.logprob_off, seed)
    by_logprob = [effect.logprob_p_adjusted for effect in effects]
    return (
        np.array([effect.p_adjusted <= stats.ALPHA for effect in effects]),
        np.array([p is not None and p <= stats.ALPHA for p in by_logprob]),
    )


def _interval(detections: int, sweeps: int) -> str:
    if not sweeps:
        return "not run"
    low, high = stats.wilson(detections, sweeps)
    return f"{percent(detections / sweeps)} ({percent(low)} to {percent(high)})"


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sweeps", type=int, default=1000, help="null sweeps of each size; 0 for none")
    parser.add_argument("--power-sweeps", type=int, default=100, help="sweeps of each size and effect; 0 for none")
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, metavar="FILE", help="save counts here, and continue from them")
    parser.add_argument("--seconds", type=float, help="time limit; with --counts the same command continues")
    options = parser.parse_args()
    counts = SavedCounts(options.counts, options.seconds)
    if options.sweeps:
        _print_false_alarms(options, counts)
    if options.power_sweeps:
        _print_power(options, counts)


def _print_false_alarms(options: argparse.Namespace, counts: SavedCounts) -> None:
    print("| items | null sweeps | false alarms, McNemar | false alarms, sign-flip |\n| --- | --- | --- | --- |")
    for items in options.items:
        detections = counts.count(options.sweeps, Setting(items, options.heads, seed=options.seed))
        alarms = [_interval(count, detections.sweeps) for count in (detections.mcnemar, detections.sign_flip)]
        print(f"| {items} | {detections.sweeps} | {' | '.join(alarms)} |", flush=True)


def _print_power(options: argparse.Namespace, counts: SavedCounts) -> None:
    print("| items | sweeps | items lost | found by McNemar | standard deviations | found by sign-flip |")
    print("| --- | --- | --- | --- | --- | --- |")
    for items in options.items:
        for loss, shift in zip(LOSSES, SHIFTS, strict=True):
            detections = counts.count(options.power_sweeps, Setting(items, options.heads, loss, shift, options.seed))
            named = [_interval(count, detections.sweeps) for count in (detections.mcnemar, detections.sign_flip)]
            print(
                f"| {items} | {detections.sweeps} | {percent(loss)} | {named[0]} | {shift} | {named[1]} |", flush=True
            )


if __name__ == "__main__":
    main()
