"""The right baseline answers of a dataset, and which of them each target loses under one ablation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from reasoning_probe.results import stats
from reasoning_probe.results.outcome import BASELINE, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Bools = NDArray[np.bool_]

Group = tuple[str, str | None]
"""Dataset, ablation."""


@dataclass(frozen=True)
class Losses:
    """What the targets of one dataset and ablation lose of the right answers, (items,) each.

    ``measured`` says by target on which items it was switched off, and ``lost`` gives by target the answers that
    became wrong, by the item's place.
    """

    baselines: tuple[Outcome, ...]
    measured: Mapping[str, Bools]
    lost: Mapping[str, Mapping[int, Outcome]]

    @cached_property
    def strata(self) -> Counts:
        """The decile of each item's margin: of the baseline's log-probability of the expected answer."""
        return stats.deciles([baseline.answer_logprob for baseline in self.baselines])

    def is_lost(self, target: str) -> Bools:
        """Return which items *target* loses."""
        import numpy as np

        lost = np.zeros(len(self.baselines), dtype=bool)
        lost[list(self.lost[target])] = True
        return lost


def losses_by_group(outcomes: Iterable[Outcome], groups: Iterable[Group]) -> dict[Group, Losses]:
    """Return the losses of each of *groups*."""
    import numpy as np

    wanted = set(groups)
    datasets = {dataset for dataset, _ in wanted}
    baselines: dict[str, list[Outcome]] = {dataset: [] for dataset in datasets}
    ablated: dict[Group, dict[str, list[Outcome]]] = {group: {} for group in wanted}
    for outcome in outcomes:
        if outcome.target == BASELINE and outcome.dataset in datasets:
            if outcome.correct:
                baselines[outcome.dataset].append(outcome)
        elif (outcome.dataset, outcome.ablation) in wanted:
            of_group = ablated[outcome.dataset, outcome.ablation]
            of_group.setdefault(outcome.target, []).append(outcome)
    places = {name: {one.item: place for place, one in enumerate(right)} for name, right in baselines.items()}
    losses = {}
    for group, by_target in ablated.items():
        place_of = places[group[0]]
        measured, lost = {}, {}
        for target, cases in by_target.items():
            on_right = [(place_of[case.item], case) for case in cases if case.item in place_of]
            measured[target] = np.zeros(len(place_of), dtype=bool)
            measured[target][[place for place, _ in on_right]] = True
            lost[target] = {place: case for place, case in on_right if not case.correct}
        losses[group] = Losses(tuple(baselines[group[0]]), measured, lost)
    return losses
