"""Simulates what racing saves and what it costs: rows, false alarms and power beside the full sweep's.

    python -m benchmarks.accuracy.racing --save docs/measurements/racing.json
    python -m benchmarks.accuracy.racing --gains --heads 144

Of 144 and of 270 heads five cost 3 to 20 points of accuracy; the others have no effect, and every head flips 2 to 5 %
of the items beside, half of them to wrong. The race and the full sweep see the same flips. "Discrete" is discrete Holm,
by which a run names heads; "plain" is Holm's method at the same 2.5 %. Under plain Holm a race loses what it stopped
and nothing else; under discrete Holm a stopped head also costs the others, since its number of flips is not known.
With ``--gains`` the five heads win as much as they otherwise lose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_probe.analyses.racing import blocks, simulated_race
from reasoning_probe.results import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

LOSSES = (0.03, 0.05, 0.08, 0.12, 0.20)
"""What the first five heads cost."""

BACKGROUND = (0.02, 0.05)
"""The share of items that a head flips without an effect; each draws its own."""


@dataclass(frozen=True)
class Result:
    """Of so many sweeps: rows of the full sweep a row of the race, and shares of sweeps in which heads are named.

    Each list has a share for each of :data:`LOSSES`; false alarms are sweeps that name any head without an effect.
    """

    heads: int
    items: int
    sweeps: int
    fewer_rows: float
    full: list[float]
    race: list[float]
    full_plain: list[float]
    race_plain: list[float]
    full_false_alarms: float
    race_false_alarms: float


def flips(rng: np.random.Generator, sweeps: int, heads: int, ends: Sequence[int]) -> tuple[Counts, Counts]:
    """Return how many items each head has lost and won at each of *ends*, (sweeps, heads, ends) each."""
    share = rng.uniform(*BACKGROUND, size=(sweeps, heads)) / 2
    lost_share = share.copy()
    lost_share[:, : len(LOSSES)] += LOSSES
    sizes = np.diff([0, *ends])  # (ends,)
    lost = rng.binomial(sizes, lost_share[..., None])
    won = rng.binomial(sizes - lost, (share / (1 - lost_share))[..., None])
    return lost.cumsum(-1), won.cumsum(-1)


def simulate(heads: int, items: int, sweeps: int, seed: int = 0, *, gains: bool = False) -> Result:
    """Return what racing does to so many sweeps; with *gains* the heads of an effect win what they else lose."""
    ends = [*blocks(items), items]
    lost, won = flips(np.random.default_rng((seed, heads)), sweeps, heads, ends)
    if gains:
        lost, won = won, lost
    running, item_counts = simulated_race(lost, won, ends)
    lost, won = lost[..., -1], won[..., -1]
    p, counts = stats.mcnemar(lost, won), lost + won  # (sweeps, heads)
    full, raced = np.zeros_like(running), np.zeros_like(running)
    full_plain, raced_plain = full.copy(), full.copy()
    for row in range(sweeps):
        on = running[row]
        full[row] = stats.discrete_holm(p[row], counts[row]) <= stats.PRIMARY_ALPHA
        raced[row, on] = stats.discrete_holm(p[row, on], counts[row, on], int((~on).sum())) <= stats.PRIMARY_ALPHA
        full_plain[row] = stats.holm(p[row]) <= stats.PRIMARY_ALPHA
        raced_plain[row] = stats.holm(np.where(on, p[row], 1.0)) <= stats.PRIMARY_ALPHA
    effective = slice(len(LOSSES))
    return Result(
        heads,
        items,
        sweeps,
        float(heads * items / item_counts.sum(axis=1).mean()),
        *(named[:, effective].mean(axis=0).tolist() for named in (full, raced, full_plain, raced_plain)),
        *(float(named[:, len(LOSSES) :].any(axis=1).mean()) for named in (full, raced)),
    )


def _print(results: Sequence[Result]) -> None:
    points = " | ".join(f"{100 * loss:.0f} points" for loss in LOSSES)
    print(f"| heads | fewer rows | named by | {points} | false alarms |")
    print("| --- " * (len(LOSSES) + 4) + "|")
    for result in results:
        alarms = [_share(share, result.sweeps) for share in (result.full_false_alarms, result.race_false_alarms)]
        rows = [
            ("", "full sweep, discrete", result.full, alarms[0]),
            (f"{result.fewer_rows:.2f} x", "race, discrete", result.race, alarms[1]),
            ("", "full sweep, plain", result.full_plain, ""),
            ("", "race, plain", result.race_plain, ""),
        ]
        for fewer, name, shares, alarm in rows:
            cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {result.heads} | {fewer} | {name} | {cells} | {alarm} |")


def _share(share: float, sweeps: int) -> str:
    low, high = stats.wilson(round(share * sweeps), sweeps)
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, nargs="+", default=[144, 270])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gains", action="store_true", help="ablating the five heads helps")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the shares here as JSON")
    options = parser.parse_args()
    results = [
        simulate(heads, options.items, options.sweeps, options.seed, gains=options.gains) for heads in options.heads
    ]
    _print(results)
    if options.save:
        record = {"losses": LOSSES, "background": BACKGROUND, "results": [asdict(result) for result in results]}
        options.save.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
