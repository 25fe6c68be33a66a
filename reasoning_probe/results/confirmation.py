"""Confirmation: the targets that one run names, tested by another run on items that the first did not ask.

Items that chose a target cannot confirm it. New ones can, and they test the chosen targets alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reasoning_probe.results import stats
from reasoning_probe.results.naming import significant_on_page
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run


@dataclass(frozen=True)
class Confirmation:
    """A target that the first run names, with its effect on the second run's new ``items``.

    ``first`` is the change of accuracy in the first run. ``p_adjusted`` is exact McNemar after discrete Holm over all
    targets that are to be confirmed.
    """

    dataset: str
    ablation: str
    target: str
    first: float
    items: int
    flips_to_wrong: int
    flips_to_right: int
    p_adjusted: float

    @property
    def second(self) -> float:
        """The change of accuracy on the new items."""
        return (self.flips_to_right - self.flips_to_wrong) / self.items

    @property
    def confirmed(self) -> bool:
        """Whether the new items show an effect in the same direction."""
        return stats.is_significant(self.p_adjusted) and self.first * self.second > 0


def confirmations(first: Run, second: Run) -> list[Confirmation]:
    """Return the targets that *first* names and *second* measured on items with questions that *first* did not ask."""
    questions = {(outcome.dataset, outcome.question) for outcome in first.outcomes}
    fresh = [outcome for outcome in second.outcomes if (outcome.dataset, outcome.question) not in questions]
    baselines = {outcome.item_key: outcome for outcome in fresh if outcome.target == BASELINE}
    counts: dict[tuple[str, str, str], list[int]] = {}  # items, flips to wrong, flips to right
    for outcome in fresh:
        if outcome.target != BASELINE and outcome.item_key in baselines:
            count = counts.setdefault((outcome.dataset, str(outcome.ablation), outcome.target), [0, 0, 0])
            for place, by in enumerate((1, *_flips(outcome, baselines))):
                count[place] += by
    tested = [
        (key, row["delta"], counts[key])
        for row in first.summary["targets"]
        if significant_on_page(row) and (key := (row["dataset"], str(row["ablation"]), row["target"])) in counts
    ]
    p = stats.mcnemar([count[1] for *_, count in tested], [count[2] for *_, count in tested])
    adjusted = stats.discrete_holm(p, [count[1] + count[2] for *_, count in tested])
    return [
        Confirmation(*key, delta, items, to_wrong, to_right, float(p_adjusted))
        for (key, delta, (items, to_wrong, to_right)), p_adjusted in zip(tested, adjusted, strict=True)
    ]


def _flips(outcome: Outcome, baselines: Mapping[tuple[str, str], Outcome]) -> tuple[int, int]:
    was = baselines[outcome.item_key].correct
    return int(was and not outcome.correct), int(outcome.correct and not was)
