"""Contrasts: whether a head loses questions of one kind rather than those of other kinds.

Questions differ in how sure the model is of their answers, so that a head which disturbs every answer alike loses more
of the unsure kind. Within a decile of the baseline's margin, the log-probability of the expected answer, they do not.
Which contrasts are tested depends on the right baseline answers alone, never on what a head loses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.results import stats
from reasoning_probe.results.cards.losses import Losses
from reasoning_probe.results.item_tags import outcome_tags
from reasoning_probe.results.outcome import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

LEAST_RIGHT = 5
"""A value is contrasted with the others where both have so many right answers."""

MOST_VALUES, MOST_CONTRASTS = 12, 60
"""Values of a tag, the commonest ones, and contrasts of a dataset, at most."""

Tags = Mapping[str, str]


def tags_or_form(baseline: Outcome) -> Tags:
    """Return the tags of an item; its form, if it has one, where it has none."""
    return outcome_tags(baseline) or ({} if baseline.form is None else {"form": baseline.form})


@dataclass(frozen=True)
class Contrast:
    """One value of a tag: the items that have it, and all that have the tag, (items,) each."""

    tag: str
    value: str
    inside: Bools
    tagged: Bools

    @property
    def division(self) -> frozenset[bytes]:
        """How it divides the items: contrasts that divide them alike are one test."""
        return frozenset((self.inside.tobytes(), (self.tagged & ~self.inside).tobytes()))


@dataclass(frozen=True)
class ContrastTest:
    """What a head loses on both sides of a contrast, with the unadjusted p-value."""

    contrast: Contrast
    lost: int
    right: int
    others_lost: int
    others_right: int
    p: float


def contrasts_of(tags: Sequence[Tags]) -> list[Contrast]:
    """Return the contrasts between right answers with these *tags*, in the order of the tags' names in the items."""
    import numpy as np

    contrasts = []
    for tag in dict.fromkeys(name for of_item in tags for name in of_item):
        values = [of_item.get(tag) for of_item in tags]
        tagged = np.array([value is not None for value in values])
        counts = Counter(value for value in values if value is not None)
        for value, count in sorted(counts.most_common(MOST_VALUES), key=lambda entry: _in_order(entry[0])):
            if min(count, int(tagged.sum()) - count) >= LEAST_RIGHT:
                contrasts.append(Contrast(tag, value, np.array([each == value for each in values]), tagged))
    return contrasts[:MOST_CONTRASTS]


def _in_order(value: str) -> tuple[int, str]:
    """Return a sort key: numbers by their size, before words."""
    return (int(value), "") if value.isascii() and value.isdigit() and len(value) < 10 else (10**9, value)


def tested(losses: Losses, target: str, contrasts: Sequence[Contrast]) -> list[ContrastTest]:
    """Return the test of each of *contrasts* for *target*, on the items on which it was switched off."""
    lost, measured = losses.is_lost(target), losses.measured[target]
    tests = []
    for contrast in contrasts:
        chosen = contrast.tagged & measured
        inside, lost_here = contrast.inside[chosen], lost[chosen]
        tests.append(
            ContrastTest(
                contrast,
                int((inside & lost_here).sum()),
                int(inside.sum()),
                int((~inside & lost_here).sum()),
                int((~inside).sum()),
                stats.association(inside, lost_here, losses.strata[chosen]).p,
            )
        )
    return tests
