"""Racing: after each block of items, targets are stopped that will hardly be named at the end.

Items come in the order of a hash of their ids, so that every block is a random sample of them. A target is stopped for
futility alone: nothing is named before the end, where those that went on are tested once over all items. So the level
holds whatever the rule does: a stopped target has p = 1, and counts in the corrections as one that was not measured.

What the rule asks is the predictive power (Spiegelhalter, Freedman and Blackburn 1986, "Monitoring clinical trials:
conditional or predictive power?"): the chance to be named at the end, averaged over the losses that the flips so far
leave likely. It looks at answers alone. The log-probability of nearly every head moves a little, so a rule that waited
for its test would stop none; it is tested for the targets that went on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from reasoning_probe.results import stats
from reasoning_probe.results.racing import Race
from reasoning_probe.results.record import RaceRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Counts = NDArray[np.int64]

LEAST_ITEMS = 50
"""Sweeps of fewer items are not raced: there is nothing to save. The first look is after as many items."""

BLOCK = 10
"""Items between two looks at the flips."""

LEAST_CHANCE = 0.008
"""The chance to be named for a loss that is worth asking as many items as the race has: see :class:`RaceRule`."""

LEAST_CHANCE_OF_GAIN = 0.007
"""A target whose chance to be named for a gain is as large goes on, too."""

_PRIOR_ITEMS = 400
"""Items that the background counts as, beside those that a target has got."""

_PRIOR_ITEMS_OF_GAIN = 200
"""The same where the chance to be named for a gain is asked: the gain so far must be able to speak for itself."""

_LOSSES = 8
"""Losses over which the predictive power is averaged."""


def race_order(dataset: str, ids: Iterable[str]) -> list[str]:
    """Return the item *ids* of *dataset* in the order in which a race asks them, the same in every process.

    >>> race_order("logic", ["q1", "q2", "q3"]) == race_order("logic", ["q3", "q1", "q2"])
    True
    """

    def digest(id: str) -> bytes:
        return hashlib.sha256(f"race\0{dataset}\0{id}".encode("utf-8", "surrogatepass")).digest()

    return sorted(ids, key=digest)


def blocks(items: int) -> list[int]:
    """Return the numbers of items after which a race of so many items looks at the flips; the last look is the test.

    >>> blocks(75), blocks(80), blocks(50)
    ([50, 60, 70], [50, 60, 70], [])
    """
    return list(range(LEAST_ITEMS, items, BLOCK))


def background(shares: Iterable[float]) -> float:
    """Return the share of items that a target without an effect makes right, from the *shares* of all targets.

    It is the mean of their middle half, so that a few targets whose ablation helps have no part in it, to a thousandth.

    >>> background([0.01, 0.02, 0.03, 0.9])
    0.025
    """
    ordered = sorted(shares)
    middle = ordered[len(ordered) // 4 : len(ordered) - len(ordered) // 4]
    return round(sum(middle) / len(middle), 3)


@dataclass(frozen=True)
class RaceRule:
    """When a target is stopped, of so many *targets* that are tested together over so many *items*.

    It is stopped where its chance to be named for a loss is below :data:`LEAST_CHANCE` times the share of items
    that are left, since asking them costs more than it may show, and where its chance to be named for a gain is below
    :data:`LEAST_CHANCE_OF_GAIN`. The first is the mean over the losses that its flips leave likely, the second is that
    at the gain so far: racing looks for losses first. Flips without an effect are expected as often as *background*
    says, the share of items that targets make right (:func:`background`): those of one target say little at first.
    """

    items: int
    targets: int
    background: float

    @property
    def p_critical(self) -> float:
        """The p-value that names a target where all others are stopped."""
        return stats.PRIMARY_ALPHA / max(1, self.targets)

    def stops(self, items: int, lost: int, won: int) -> bool:
        """Tell whether a target that made *lost* of the first *items* wrong and *won* right is stopped."""
        return _stops(self, items, lost, won)


@lru_cache(maxsize=65536)
def _stops(rule: RaceRule, items: int, lost: int, won: int) -> bool:
    from scipy import special

    def expected_share(flips: int, prior_items: int = _PRIOR_ITEMS) -> float:
        return (flips + prior_items * rule.background) / (items + prior_items)

    left, won_share = rule.items - items, expected_share(won)
    levels = [1 - (number + 0.5) / _LOSSES for number in range(_LOSSES)]
    lost_shares = special.betaincinv(lost + 1, items - lost + 1, levels).clip(max=1 - won_share)  # from a flat prior
    chance, worth = 0.0, LEAST_CHANCE * left / rule.items
    for number, share in enumerate(lost_shares.tolist(), start=1):
        power = stats.conditional_power(lost, won, left, share, won_share, rule.p_critical)
        chance += power / _LOSSES
        if chance >= worth:
            return False
        if chance + power * (_LOSSES - number) / _LOSSES < worth:
            break  # the losses to come are smaller, and so are their chances
    gain_share = expected_share(won, _PRIOR_ITEMS_OF_GAIN)
    power = stats.conditional_power(won, lost, left, gain_share, expected_share(lost), rule.p_critical)
    return power < LEAST_CHANCE_OF_GAIN


def simulated_race(lost: Counts, won: Counts, ends: Sequence[int]) -> tuple[Bools, Counts]:
    """Return which targets go on to the end, and how many items each gets, (sweeps, targets) each.

    *lost* and *won* are the flips of each target up to each of *ends*, the last of which is the number of items,
    (sweeps, targets, ends).
    """
    import numpy as np

    running = np.ones(lost.shape[:2], bool)
    item_counts = np.full(lost.shape[:2], ends[-1])
    won_shares = np.zeros(lost.shape[:2])
    for look, end in enumerate(ends[:-1]):
        won_shares[running] = won[..., look][running] / end
        for sweep in range(len(lost)):
            rule = RaceRule(ends[-1], lost.shape[1], background(won_shares[sweep].tolist()))
            for target in np.flatnonzero(running[sweep]):
                if rule.stops(end, int(lost[sweep, target, look]), int(won[sweep, target, look])):
                    running[sweep, target], item_counts[sweep, target] = False, end
    return running, item_counts


_COST_TRIALS = 400
"""Simulated targets, by which a run says what its race may have cost: an interval of at most 10 points."""


def with_cost(race: Race, accuracy: float) -> RaceRecord:
    """Return the record of *race*, of a baseline with so much *accuracy*, with what stopping may have cost.

    A target without an effect is taken to lose and win as many items as the stopped ones did. The *largest loss* is a
    limit that holds for all targets and looks together at 95 % (Bonferroni), so that it also holds where a target
    stopped because of its flips.
    """
    entry = race.entry()
    if not race.stopped:
        return entry
    looks = blocks(race.items)
    z = stats.simultaneous_z(race.targets * max(1, len(looks)))
    stops = list(race.stopped.values())
    largest = max(-stats.paired_interval(stop.lost, stop.won, stop.items, z)[0] for stop in stops)
    items = sum(stop.items for stop in stops)
    lost, won = sum(stop.lost for stop in stops) / items, sum(stop.won for stop in stops) / items
    rule = RaceRule(race.items, race.targets, round(won, 3))
    smallest = stats.smallest_effect(race.items, accuracy, lost, won, rule.p_critical)
    entry |= {"largest_loss": largest, "smallest_effect": smallest}
    if smallest is None:
        return entry
    share = _missed_share(rule, min(1.0, lost + smallest), won)
    return entry | {"missed_share": share, "ci95": list(stats.wilson(round(share * _COST_TRIALS), _COST_TRIALS))}


@lru_cache(maxsize=64)
def _missed_share(rule: RaceRule, lost: float, won: float) -> float:
    """Return the share of simulated targets that are stopped, and that the full sweep would name for their loss.

    Each makes such shares of the items wrong and right.
    """
    import numpy as np

    ends = [*blocks(rule.items), rule.items]
    shares = [lost, won, max(0.0, 1 - lost - won)]
    sizes = np.diff([0, *ends])
    drawn = np.random.default_rng(0).multinomial(sizes, shares, size=(_COST_TRIALS, len(ends)))  # (trials, ends, 3)
    flips = drawn.cumsum(axis=1)
    running = np.ones(_COST_TRIALS, bool)
    for look, end in enumerate(ends[:-1]):
        for trial in np.flatnonzero(running):
            running[trial] = not rule.stops(end, *map(int, flips[trial, look, :2]))
    to_wrong, to_right, _ = flips[:, -1].T
    named = (stats.mcnemar(to_wrong, to_right) <= rule.p_critical) & (to_wrong > to_right)
    return float((named & ~running).mean())
