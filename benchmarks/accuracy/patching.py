"""Simulates patched sweeps in which no head carries an answer, and how often one is named all the same.

    python -m benchmarks.accuracy.patching --save docs/measurements/patching.json

Each of 144 heads disturbs every item by an amount of its own, and so does each donor: strong ones change many answers
under every head, in either arm. A disturbed answer is the other question's on items that are drawn once for all heads,
as where few answers are plausible; on the others it is any number of a range, or label. The other questions'
answers lie in the same range. A sweep counts where a test names any head after discrete Holm at 2.5 %: that of the
control, that of dealt counterfactuals, and both, as pages do.

What a test needs shows where it is missing. The control needs donors that each serve one item, and twins as far away as
counterfactuals; dealing needs that a disturbed answer is as often another item's counterfactual's as its own. The last
rows have one head that carries a share of the answers, whose power is given.
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
from reasoning_probe.results.patching import dealt_test, paired_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Moves = NDArray[np.int64]
    Flags = NDArray[np.bool_]

HEADS, SWEEPS = 144, 2_000
_DISTURBED = 0.1
"""The share of answers that a head changes in the mean."""


@dataclass(frozen=True)
class Setting:
    """A sweep: its items, the donors of each arm, how often a changed answer is the other question's, and faults.

    Answers lie up to ``spread`` from the item's own; 0 stands for three labels. ``hit`` is the share of items on which
    a disturbed answer is the other question's. ``farther`` is how much farther the counterfactuals are than the twins,
    in standard deviations of what donors differ in; ``carried`` the share of items on which the first head carries the
    answer.
    """

    name: str
    items: int = 200
    donors: int = 200
    spread: int = 20
    hit: float = 0.02
    farther: float = 0.0
    carried: float = 0.0


SETTINGS = (
    Setting("numbers"),
    Setting("small numbers", spread=3),
    Setting("small numbers, 40 items", items=40, donors=40, spread=3),
    Setting("labels", spread=0, hit=0.5),
    Setting("labels, 40 items", items=40, donors=40, spread=0, hit=0.5),
    Setting("20 donors for 200 items, small numbers", donors=20, spread=3),
    Setting("20 donors for 200 items, labels", donors=20, spread=0, hit=0.5),
    Setting("farther counterfactuals, small numbers", spread=3, farther=0.5),
    Setting("farther counterfactuals, labels", spread=0, hit=0.5, farther=0.5),
    Setting("numbers of which few are plausible", hit=0.3),
    Setting("a head with 10 % of the numbers", carried=0.1),
    Setting("a head with 10 % of the small numbers", spread=3, carried=0.1),
    Setting("a head with 20 % of the small numbers", spread=3, carried=0.2),
    Setting("a head with 20 % of the labels", spread=0, hit=0.5, carried=0.2),
)


@dataclass(frozen=True)
class Sweep:
    """The answers under every head, as moves from the item's own, which is 0: by the counterfactual and by the twin."""

    patched: Moves
    """``(heads, items)``"""
    control: Moves
    """``(heads, items)``"""
    others: Moves
    """The other questions' answers, ``(items,)``."""


def simulated(rng: np.random.Generator, setting: Setting) -> Sweep:
    """Return a sweep in which no head carries an answer, but for the share that the first one may."""
    strength = 1.5 * rng.normal(size=(HEADS, 1))
    ease = rng.normal(size=setting.items)
    likely = rng.random(setting.items) < setting.hit  # the items on which a disturbed answer is the other question's
    others = _moves(rng, setting, (setting.items,))
    arms = []
    for shift in (setting.farther, 0.0):
        of_donors = rng.normal(size=(HEADS, setting.donors)) + rng.normal(size=setting.donors)
        potency = of_donors[:, np.arange(setting.items) % setting.donors]  # (heads, items)
        lean = strength + ease + potency + shift + rng.logistic(size=(HEADS, setting.items))
        # Of three labels a disturbed answer is the other question's or the third.
        moved = _moves(rng, setting, (HEADS, setting.items)) if setting.spread else -others
        arms.append(np.where(lean > _THRESHOLD, np.where(likely, others, moved), 0))
    if setting.carried:
        arms[0][0] = np.where(rng.random(setting.items) < setting.carried, others, arms[0][0])
    return Sweep(arms[0], arms[1], others)


def _moves(rng: np.random.Generator, setting: Setting, shape: tuple[int, ...]) -> Moves:
    return rng.integers(1, max(1, setting.spread) + 1, shape) * rng.choice([-1, 1], shape)


_THRESHOLD = 3.9
"""What disturbs an answer: so that a head changes :data:`_DISTURBED` of the answers in the mean."""


def named(sweep: Sweep, labels: bool) -> dict[str, Flags]:
    """Return which heads each test names, ``(heads,)``, those that make the other answer more often than by chance."""
    became, control = sweep.patched == sweep.others, sweep.control == sweep.others
    p_control, differing = paired_test(became, control)
    strata = [0] * len(sweep.others) if labels else (sweep.others > 0).tolist()
    others = sweep.others.tolist()
    dealt = [dealt_test([move or None for move in row], others, strata) for row in sweep.patched.tolist()]
    p_dealt = np.array([0.0 if test is None else test.p for test in dealt])
    more = became.sum(-1) > control.sum(-1)
    p_both = stats.discrete_holm(np.maximum(p_control, p_dealt), differing)
    return {
        "control": (stats.discrete_holm(p_control, differing) <= stats.PRIMARY_ALPHA) & more,
        "dealt": np.array([test is not None for test in dealt]) & (stats.holm(p_dealt) <= stats.PRIMARY_ALPHA),
        "both": (p_both <= stats.PRIMARY_ALPHA) & more,
    }


def main() -> None:
    """Print, and save, how often a head is named in every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    rows = []
    print(
        "| donors and answers | sweeps | by the control alone | by dealing alone | by both | the head with the answer |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng(number)
        false = dict.fromkeys(("control", "dealt", "both"), 0)
        true = 0
        for _ in range(args.sweeps):
            heads = named(simulated(rng, setting), labels=not setting.spread)
            true += bool(heads["both"][0]) and setting.carried > 0
            for test, of_test in heads.items():
                false[test] += bool(of_test[bool(setting.carried) :].any())
        rows.append(asdict(setting) | {"sweeps": args.sweeps} | false | {"true": true})
        power = percent(true / args.sweeps) if setting.carried else "-"
        rates = " | ".join(
            "-" if test == "dealt" and not setting.spread else _rate(count, args.sweeps)
            for test, count in false.items()
        )
        print(f"| {setting.name} | {args.sweeps} | {rates} | {power} |", flush=True)
    if args.save:
        args.save.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


def _rate(count: int, sweeps: int) -> str:
    low, high = stats.wilson(count, sweeps)
    return f"{percent(count / sweeps)} ({percent(low)} to {percent(high)})"


if __name__ == "__main__":
    main()
