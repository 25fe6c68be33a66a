"""Racing: after each block of items, targets are stopped that will hardly be named at the end.

Items come in the order of a hash of their ids, so that every block is a random sample of them. A target is stopped for
futility alone: nothing is named before the end, where those that went on are tested once over all items. So the level
holds whatever the rule does: a stopped target has p = 1, and counts in the corrections as one that was not measured.

What the rule asks is the conditional power (Lan, Simon and Halperin 1982, "Stochastically curtailing in long-term
clinical trials"). It looks at answers alone. The log-probability of nearly every head moves a little, so a rule that
waited for its test would stop none; it is tested for the targets that went on.
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
"""Sweeps of fewer items are not raced: there is nothing to save."""

BLOCK = 50
"""Items between two looks at the flips."""

LEAST_CHANCE = 0.2
"""A target is stopped whose chance to be named is smaller: see :class:`RaceRule`."""


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

    >>> blocks(120), blocks(150), blocks(49)
    ([50, 100], [50, 100], [])
    """
    return list(range(BLOCK, items, BLOCK)) if items >= LEAST_ITEMS else []


@dataclass(frozen=True)
class RaceRule:
    """When a target is stopped, of so many *targets* that are tested together over so many *items*.

    It is stopped where its chance to be named falls below :data:`LEAST_CHANCE` both for a loss, were that the largest
    which the 95 % interval of its change allows, and for a gain, were that the one of the items so far. So racing looks
    for losses first, and a target whose ablation helps goes on only where it clearly does. The decision depends on the
    target's own flips and on these two numbers alone.
    """

    items: int
    targets: int

    @property
    def p_critical(self) -> float:
        """The p-value that names a target where all others are stopped."""
        return stats.PRIMARY_ALPHA / max(1, self.targets)

    def stops(self, items: int, lost: int, won: int) -> bool:
        """Tell whether a target that made *lost* of the first *items* wrong and *won* right is stopped."""
        return _stops(self, items, lost, won)


@lru_cache(maxsize=65536)
def _stops(rule: RaceRule, items: int, lost: int, won: int) -> bool:
    left = rule.items - items
    lost_rate, won_rate = lost / items, won / items
    largest_loss = max(0.0, -stats.paired_interval(lost, won, items)[0])
    for_loss = stats.conditional_power(lost, won, left, won_rate + largest_loss, won_rate, rule.p_critical)
    if for_loss >= LEAST_CHANCE:
        return False
    return stats.conditional_power(won, lost, left, won_rate, lost_rate, rule.p_critical) < LEAST_CHANCE


def simulated_race(lost: Counts, won: Counts, ends: Sequence[int]) -> tuple[Bools, Counts]:
    """Return which targets go on to the end, and how many items each gets, (sweeps, targets) each.

    *lost* and *won* are the flips of each target up to each of *ends*, the last of which is the number of items,
    (sweeps, targets, ends).
    """
    import numpy as np

    rule = RaceRule(ends[-1], lost.shape[1])
    running = np.ones(lost.shape[:2], bool)
    item_counts = np.full(lost.shape[:2], ends[-1])
    for look, end in enumerate(ends[:-1]):
        kinds, kind_of = np.unique([lost[running, look], won[running, look]], axis=1, return_inverse=True)
        stops = np.array([rule.stops(end, int(a), int(b)) for a, b in kinds.T], bool)[kind_of.ravel()]
        stopped = np.zeros_like(running)
        stopped[running] = stops
        item_counts[stopped] = end
        running &= ~stopped
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
    rule = RaceRule(race.items, race.targets)
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
