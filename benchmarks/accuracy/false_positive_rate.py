"""How often a sweep in which no head matters names one all the same, and how large an effect it finds.

    python -m benchmarks.accuracy.false_positive_rate
    python -m benchmarks.accuracy.false_positive_rate --sweeps 5000 --kept counts.jsonl --seconds 180   # in slices

A null sweep draws, for each item, whether the model answers right, and for each head which items it flips: as often one
way as the other, however often. The changes of the log-probability come from a distribution with heavy tails that is
symmetric about 0. All goes through :func:`reasoning_probe.results.stats.paired_effects`, which a real run uses. A sweep
is a false alarm where any head is significant after Holm's correction.

For the power one head has an effect among heads that have none: it makes a share of the items wrong that were right,
beside the flips that all heads have, or shifts the mean of the log-probability by a share of its standard deviation.
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
"""The share of items that a head without an effect flips, by half to wrong."""

LOSSES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
SLICE = 25
"""So many sweeps are counted before the count is kept."""


@dataclass(frozen=True)
class Sweep:
    """What paired_effects takes: (items,) and (heads, items) of right answers and of log-probabilities."""

    right: Floats
    right_off: Floats
    logprob: Floats
    logprob_off: Floats


@dataclass(frozen=True)
class Found:
    """How many of ``sweeps`` found something: by the McNemar test and by the sign-flip test, each after Holm."""

    sweeps: int
    mcnemar: int
    sign_flip: int

    def __add__(self, other: Found) -> Found:
        return Found(self.sweeps + other.sweeps, self.mcnemar + other.mcnemar, self.sign_flip + other.sign_flip)


@dataclass(frozen=True)
class Setting:
    """What sweeps are drawn with. Without an effect any head that is named counts, else the one that has it."""

    items: int
    heads: int = HEADS
    loss: float = 0.0
    shift: float = 0.0
    seed: int = 0

    @property
    def null(self) -> bool:
        return not self.loss and not self.shift


class Kept:
    """Counts of earlier calls in a file of JSON lines, so that a long simulation can go on in slices."""

    def __init__(self, path: Path | None, seconds: float | None) -> None:
        self._path = path
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []
        self._found: dict[Setting, Found] = {}
        for setting, found in map(json.loads, lines):
            self._add(Setting(**setting), Found(**found))

    def _add(self, setting: Setting, found: Found) -> None:
        self._found[setting] = self._found.get(setting, Found(0, 0, 0)) + found

    def count(self, sweeps: int, setting: Setting) -> Found:
        """Return what the first *sweeps* found, or so many of them as there was time for."""
        while (done := self._found.get(setting, Found(0, 0, 0))).sweeps < sweeps and time.monotonic() < self._end:
            found = _count(range(done.sweeps, min(sweeps, done.sweeps + SLICE)), setting)
            self._add(setting, found)
            if self._path:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([asdict(setting), asdict(found)]) + "\n")
        return done


def draw(items: int, heads: int, rng: np.random.Generator, loss: float = 0.0, shift: float = 0.0) -> Sweep:
    """Draw a sweep in which a head without an effect flips as many items to right as to wrong.

    The first head makes a share *loss* of the items wrong and moves the log-probability down by *shift* standard
    deviations.
    """
    right = (rng.random(items) < ACCURACY).astype(float)
    # The chance to flip depends on the answer, so that as many flips go each way.
    rate = np.where(right == 1, FLIPS / 2 / ACCURACY, FLIPS / 2 / (1 - ACCURACY))
    rates = np.broadcast_to(rate, (heads, items)).copy()
    rates[0] += np.where(right == 1, loss / ACCURACY, 0.0)
    flipped = rng.random((heads, items)) < rates
    logprob = -rng.exponential(2.0, items)
    change = rng.standard_t(3, (heads, items)) / math.sqrt(3)  # standard deviation 1
    change[0] -= shift
    return Sweep(right, np.abs(right - flipped), logprob, logprob + change)


def family_wise_errors(sweeps: int, items: int, heads: int = HEADS, seed: int = 0) -> Found:
    """Return how many of *sweeps* without any effect name a head."""
    return _count(range(sweeps), Setting(items, heads, seed=seed))


def power(
    sweeps: int, items: int, heads: int = HEADS, *, loss: float = 0.0, shift: float = 0.0, seed: int = 0
) -> Found:
    """Return how many of *sweeps* name the one head that has an effect."""
    return _count(range(sweeps), Setting(items, heads, loss, shift, seed))


def _count(numbers: range, setting: Setting) -> Found:
    """Return how many of the sweeps of these *numbers* find what is to be counted: see :class:`Setting`."""
    counts = [0, 0]
    for number in numbers:
        rng = np.random.default_rng((setting.seed, number))  # a sweep is the same whichever ran before it
        sweep = draw(setting.items, setting.heads, rng, setting.loss, setting.shift)
        named = [test.any() if setting.null else test[0] for test in _significant(sweep, number)]
        counts = [count + bool(test) for count, test in zip(counts, named, strict=True)]
    return Found(len(numbers), *counts)


def _significant(sweep: Sweep, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    effects = stats.paired_effects(sweep.right, sweep.right_off, sweep.logprob, sweep.logprob_off, seed)
    by_logprob = [effect.logprob_p_adjusted for effect in effects]
    return (
        np.array([effect.p_adjusted <= stats.ALPHA for effect in effects]),
        np.array([p is not None and p <= stats.ALPHA for p in by_logprob]),
    )


def _interval(found: int, sweeps: int) -> str:
    if not sweeps:
        return "not run"
    low, high = stats.wilson(found, sweeps)
    return f"{percent(found / sweeps)} ({percent(low)} to {percent(high)})"


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sweeps", type=int, default=1000, help="null sweeps of each size; 0 for none")
    parser.add_argument("--power-sweeps", type=int, default=100, help="sweeps of each size and effect; 0 for none")
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, metavar="FILE", help="where counts are kept, to go on from there")
    parser.add_argument("--seconds", type=float, help="stop after so long; with --kept the same command goes on")
    given = parser.parse_args()
    kept = Kept(given.kept, given.seconds)
    if given.sweeps:
        _print_false_alarms(given, kept)
    if given.power_sweeps:
        _print_power(given, kept)


def _print_false_alarms(given: argparse.Namespace, kept: Kept) -> None:
    print("| items | null sweeps | false alarms, McNemar | false alarms, sign-flip |\n| --- | --- | --- | --- |")
    for items in given.items:
        found = kept.count(given.sweeps, Setting(items, given.heads, seed=given.seed))
        alarms = [_interval(count, found.sweeps) for count in (found.mcnemar, found.sign_flip)]
        print(f"| {items} | {found.sweeps} | {' | '.join(alarms)} |", flush=True)


def _print_power(given: argparse.Namespace, kept: Kept) -> None:
    print("| items | sweeps | items lost | found by McNemar | standard deviations | found by sign-flip |")
    print("| --- | --- | --- | --- | --- | --- |")
    for items in given.items:
        for loss, shift in zip(LOSSES, SHIFTS, strict=True):
            found = kept.count(given.power_sweeps, Setting(items, given.heads, loss, shift, given.seed))
            named = [_interval(count, found.sweeps) for count in (found.mcnemar, found.sign_flip)]
            print(f"| {items} | {found.sweeps} | {percent(loss)} | {named[0]} | {shift} | {named[1]} |", flush=True)


if __name__ == "__main__":
    main()
