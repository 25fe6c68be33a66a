"""How a head's lost answers are wrong, beside those that the other heads lose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from reasoning_probe.results import stats
from reasoning_probe.results.cards.losses import Losses
from reasoning_probe.scoring.deviations import deviations
from reasoning_probe.utils.target_names import read_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MistakeTest:
    """How many of a head's ``lost`` answers are of one kind, beside the others', with the unadjusted p-value.

    The p-value is ``None`` where the other heads lost no answer.
    """

    kind: str
    count: int
    lost: int
    others_count: int
    others_lost: int
    p: float | None


@dataclass(frozen=True)
class LostAnswers:
    """The lost answers of one dataset and ablation by how they are wrong."""

    losses: Losses

    @cached_property
    def _by_target(self) -> dict[str, dict[str, Floats]]:
        """By target and kind, (2, items): how many lost answers an item has of the kind, and that can be of it."""
        import numpy as np

        items = len(self.losses.baselines)
        by_target: dict[str, dict[str, Floats]] = {}
        for target, lost in self.losses.lost.items():
            counts: dict[str, Floats] = {}
            for place, case in lost.items():
                for kind, holds in deviations(case.expected, case.answer, case.question).items():
                    count = counts.setdefault(kind, np.zeros((2, items)))
                    count[0, place] += holds
                    count[1, place] += 1
            by_target[target] = counts
        return by_target

    @cached_property
    def _sums(self) -> dict[tuple[str, str], Floats]:
        """The same, summed over the targets of a sort: heads with heads, layers with layers."""
        sums: dict[tuple[str, str], Floats] = {}
        for target, counts in self._by_target.items():
            for kind, count in counts.items():
                key = _sort(target), kind
                sums[key] = sums[key] + count if key in sums else count.copy()
        return sums

    def tested(self, target: str) -> list[MistakeTest]:
        """Return the test of each kind of mistake that the answers which are lost hold, for *target*."""
        tests = []
        for kind, mine in self._by_target[target].items():
            others = self._sums[_sort(target), kind] - mine
            if not mine[0].any() and not others[0].any():
                continue
            p = None
            if others[1].any():
                _, p = stats.share_difference(mine[0], mine[1], others[0], others[1], self.losses.strata)
            count, lost, others_count, others_lost = (int(row.sum()) for row in (*mine, *others))
            tests.append(MistakeTest(kind, count, lost, others_count, others_lost, p))
        return tests


def _sort(target: str) -> str:
    part = read_part(target)
    return "jointly" if part is None else part.kind or "layer"
