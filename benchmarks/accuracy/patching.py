"""Simulates patched sweeps in which no head carries an answer, and how often one is named all the same.

    python -m benchmarks.accuracy.patching --save docs/measurements/patching.json

Each of 144 heads disturbs every item by an amount of its own, and so does each donor: strong ones change many answers
under every head. An answer that is changed becomes the other question's with a chance that depends on the item alone
(a number is rarely hit, a label often), in either arm, since it does not matter which of the two donors is patched. A
sweep counts where the exact test of the two arms names any head after discrete Holm at 2.5 %.

What the donors must fulfil shows where they do not: a donor that serves several items stands or falls for all of them,
and counterfactuals that are farther from the items than their twins change more answers. The last rows have one head
that carries a share of the answers, whose power is given.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_probe.report.format import percent
from reasoning_probe.results import stats
from reasoning_probe.results.patching import paired_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

HEADS, SWEEPS = 144, 2_000
_DISTURBED = 0.1
"""The share of answers that a head changes in the mean."""


@dataclass(frozen=True)
class Setting:
    """A sweep: its items, the donors of each arm, how often a changed answer is the other question's, and faults.

    ``farther`` is how much farther the counterfactuals are than their twins, in standard deviations of what donors
    differ in; ``carried`` the share of items on which the first head carries the answer.
    """

    name: str
    items: int = 200
    donors: int = 200
    hit: float = 0.5
    farther: float = 0.0
    carried: float = 0.0


SETTINGS = (
    Setting("numbers", hit=0.02),
    Setting("labels"),
    Setting("labels, 40 items", items=40, donors=40),
    Setting("20 donors for 200 items", donors=20),
    Setting("farther counterfactuals", farther=0.5),
    Setting("a head with 10 % of the answers", carried=0.1, hit=0.02),
    Setting("a head with 20 % of the answers", carried=0.2, hit=0.02),
    Setting("a head with 20 % of the labels", carried=0.2),
)


def sweep(rng: np.random.Generator, setting: Setting) -> tuple[Flags, Flags]:
    """Return which answers became the other question's, by the counterfactual and by the twin: (heads, items) each."""
    strength = 1.5 * rng.normal(size=(HEADS, 1))
    ease = rng.normal(size=setting.items)
    hit = rng.random(setting.items) < setting.hit  # whether a disturbed answer is the other question's
    arms = []
    for shift in (setting.farther, 0.0):
        of_donors = rng.normal(size=(HEADS, setting.donors)) + rng.normal(size=setting.donors)
        potency = of_donors[:, np.arange(setting.items) % setting.donors]  # (heads, items)
        lean = strength + ease + potency + shift + rng.logistic(size=(HEADS, setting.items))
        arms.append((lean > _THRESHOLD) & hit)
    if setting.carried:
        arms[0][0] |= rng.random(setting.items) < setting.carried
    return arms[0], arms[1]


_THRESHOLD = 3.9
"""What disturbs an answer: so that a head changes :data:`_DISTURBED` of the answers in the mean."""


def named(became: Flags, control: Flags) -> Flags:
    """Return which heads are named, ``(heads,)``: those that make the other answer more often than in the control."""
    p_values, differing = paired_test(became, control)
    adjusted = stats.discrete_holm(p_values, differing)
    return np.asarray((adjusted <= stats.PRIMARY_ALPHA) & (became.sum(-1) > control.sum(-1)))


def main() -> None:
    """Print, and save, how often a head is named in every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    rows = []
    print("| donors and answers | sweeps | a head without an answer is named | the head with the answer is named |")
    print("| --- | --- | --- | --- |")
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng(number)
        false = true = 0
        for _ in range(args.sweeps):
            heads = named(*sweep(rng, setting))
            true += bool(heads[0]) and setting.carried > 0
            false += bool(heads[1:].any() if setting.carried else heads.any())
        rows.append(asdict(setting) | {"sweeps": args.sweeps, "false": false, "true": true})
        power = percent(true / args.sweeps) if setting.carried else "-"
        low, high = stats.wilson(false, args.sweeps)
        rate = f"{percent(false / args.sweeps)} ({percent(low)} to {percent(high)})"
        print(f"| {setting.name} | {args.sweeps} | {rate} | {power} |", flush=True)
    if args.save:
        args.save.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
