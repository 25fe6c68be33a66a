"""Simulates the false-positive rate and the power of the significance tests that a run applies to its heads.

    python -m benchmarks.accuracy.false_positive_rate
    python -m benchmarks.accuracy.false_positive_rate --sweeps 5000 --counts counts.jsonl --seconds 180   # in slices

:mod:`benchmarks.accuracy.simulated_sweeps` draws the sweeps. They are tested by
:func:`reasoning_probe.results.stats.primary_tests` and corrected over the page by discrete Holm, as a real run is; each
of the two tests has half of the 5 %. A null sweep is a false alarm where any head is named by either test. The power is
that with which the one head with an effect is named; beside it stands that of plain Holm at 5 %, the rule of earlier
versions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.simulated_sweeps import (
    HEADS,
    NULL_SETTINGS,
    Setting,
    Sweep,
    draw,
    shifted_criterion,
    with_items,
)
from reasoning_probe.report.format import percent
from reasoning_probe.results import stats

SIZES = (50, 200, 1000)
LOSSES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
BACKGROUNDS = (0.02, 0.05, 0.1)
SLICE = 25
"""Sweeps that are counted between two writes to the file of counts."""


@dataclass(frozen=True)
class Detections:
    """How many of ``sweeps`` name a head: by the accuracy, the log-probability, either, and by plain Holm at 5 %."""

    sweeps: int
    accuracy: int
    logprob: int
    either: int
    plain_holm: int

    def __add__(self, other: Detections) -> Detections:
        return Detections(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


NONE = Detections(0, 0, 0, 0, 0)


class SavedCounts:
    """Counts that are saved in a file of JSON lines, so that a long simulation can run in slices."""

    def __init__(self, path: Path | None, seconds: float | None) -> None:
        self._path = path
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []
        self._counts: dict[tuple[Setting, bool], Detections] = {}
        for setting, guessing, detections in map(json.loads, lines):
            self._add((Setting(**setting), guessing), Detections(**detections))

    def save(self, path: Path) -> None:
        """Write every setting with its detections into *path*, a JSON list."""
        entries = [
            {"setting": asdict(setting), "guessing": guessing, "detections": asdict(detections)}
            for (setting, guessing), detections in self._counts.items()
        ]
        path.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="utf-8")

    def _add(self, key: tuple[Setting, bool], detections: Detections) -> None:
        self._counts[key] = self._counts.get(key, NONE) + detections

    def count(self, sweeps: int, setting: Setting, *, guessing: bool = False) -> Detections:
        """Return the detections of the first *sweeps* sweeps, or of those that the time limit allowed."""
        key = setting, guessing
        while (done := self._counts.get(key, NONE)).sweeps < sweeps and time.monotonic() < self._end:
            detections = _count(range(done.sweeps, min(sweeps, done.sweeps + SLICE)), setting, guessing)
            self._add(key, detections)
            if self._path:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([asdict(setting), guessing, asdict(detections)]) + "\n")
        return done


def family_wise_errors(sweeps: int, items: int, heads: int = HEADS, seed: int = 0, **values: Any) -> Detections:
    """Return how many of *sweeps* sweeps without any effect name a head; *values* are those of the setting."""
    return _count(range(sweeps), Setting(items, heads, seed=seed, **values), guessing=False)


def power(
    sweeps: int, items: int, heads: int = HEADS, *, loss: float = 0.0, shift: float = 0.0, seed: int = 0
) -> Detections:
    """Return how many of *sweeps* sweeps name the one head that has an effect."""
    return _count(range(sweeps), Setting(items, heads, loss=loss, shift=shift, seed=seed), guessing=False)


def _count(numbers: range, setting: Setting, guessing: bool) -> Detections:
    """Return the detections among the sweeps of these *numbers*."""
    total = NONE
    for number in numbers:
        sweeps = [shifted_criterion(setting, number)] if guessing else draw(setting, number)
        by_accuracy, by_logprob, by_plain_holm = _named(sweeps)
        heads = slice(None) if setting.null else slice(1)
        accuracy, logprob = bool(by_accuracy[heads].any()), bool(by_logprob[heads].any())
        total += Detections(1, accuracy, logprob, accuracy or logprob, bool(by_plain_holm[heads].any()))
    return total


def _named(sweeps: list[Sweep]) -> tuple[Any, Any, Any]:
    """Return which heads of a page are named, over all of its families, (heads,) each."""
    tests = [stats.primary_tests(sweep.right, sweep.right_off, sweep.logprob, sweep.logprob_off) for sweep in sweeps]
    p, flips = _joined([(test.p, test.flips_to_wrong + test.flips_to_right) for test in tests])
    logprob_p, moves = _joined([(test.logprob_p, test.falls + test.rises) for test in tests])
    return (
        stats.discrete_holm(p, flips) <= stats.PRIMARY_ALPHA,
        stats.discrete_holm(logprob_p, moves) <= stats.PRIMARY_ALPHA,
        stats.holm(p) <= stats.ALPHA,
    )


def _joined(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    return np.concatenate([p for p, _ in parts]), np.concatenate([count for _, count in parts])


def _share(detections: int, sweeps: int) -> str:
    if not sweeps:
        return "not run"
    low, high = stats.wilson(detections, sweeps)
    return f"{100 * detections / sweeps:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sweeps", type=int, default=2000, help="null sweeps of each setting; 0 for none")
    parser.add_argument("--power-sweeps", type=int, default=400, help="sweeps of each size and effect; 0 for none")
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, metavar="FILE", help="save counts here, and continue from them")
    parser.add_argument("--seconds", type=float, help="time limit; with --counts the same command continues")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write all counts here, a line a setting")
    options = parser.parse_args()
    counts = SavedCounts(options.counts, options.seconds)
    if options.sweeps:
        _print_false_alarms(options, counts)
    if options.power_sweeps:
        _print_power(options, counts)
    if options.save:
        counts.save(options.save)


def _print_false_alarms(options: argparse.Namespace, counts: SavedCounts) -> None:
    print(
        "| setting | items | null sweeps | accuracy | log-probability | either |\n| --- | --- | --- | --- | --- | --- |"
    )
    for items in options.items:
        settings = [*NULL_SETTINGS.items(), ("guessing, criterion shifted", Setting(items))]
        settings.append(("baseline 50 %", Setting(items, accuracy=0.5)))
        for index, (name, setting) in enumerate(settings):
            seed = 100 * options.seed + index  # no setting repeats the draws of another
            setting = replace(with_items(setting, items), heads=options.heads, seed=seed)
            result = counts.count(options.sweeps, setting, guessing=name.startswith("guessing"))
            shares = [_share(count, result.sweeps) for count in (result.accuracy, result.logprob, result.either)]
            print(f"| {name} | {items} | {result.sweeps} | {' | '.join(shares)} |", flush=True)


def _print_power(options: argparse.Namespace, counts: SavedCounts) -> None:
    print("\n| items | items that others flip | items lost | sweeps | plain Holm, 5 % | discrete Holm, 2.5 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for items in options.items:
        for flips in BACKGROUNDS:
            for loss in LOSSES:
                setting = Setting(items, options.heads, flips=flips, loss=loss, seed=options.seed)
                result = counts.count(options.power_sweeps, setting)
                shares = [_share(count, result.sweeps) for count in (result.plain_holm, result.accuracy)]
                print(
                    f"| {items} | {percent(flips)} | {percent(loss)} | {result.sweeps} | {' | '.join(shares)} |",
                    flush=True,
                )
    print("\n| items | standard deviations | sweeps | sign test |\n| --- | --- | --- | --- |")
    for items in options.items:
        for shift in SHIFTS:
            result = counts.count(options.power_sweeps, Setting(items, options.heads, shift=shift, seed=options.seed))
            print(f"| {items} | {shift} | {result.sweeps} | {_share(result.logprob, result.sweeps)} |", flush=True)


if __name__ == "__main__":
    main()
