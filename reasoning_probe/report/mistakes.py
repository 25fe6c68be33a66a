"""How the mistakes change when a target is switched off: a target that changes no answer adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.scoring.error_categories import CATEGORIES
from reasoning_probe.utils.text import shorten

UNCLASSIFIED = "unclassified"
"""The category of a wrong answer for which a project's own classifier named none."""


@dataclass(frozen=True)
class MistakeChange:
    """The mistakes of one sort on one dataset: how many the baseline makes, and what the ablated cases change.

    ``added`` counts the ablated cases that make such a mistake where the baseline of the same item does not, and
    ``removed`` those that do not where the baseline does.
    """

    baseline: int = 0
    added: int = 0
    removed: int = 0

    @property
    def text(self) -> str:
        """What is added and removed: ``+12``, ``+12 -3``."""
        changes = (("+", self.added), ("-", self.removed))
        return " ".join(f"{sign}{number:,}" for sign, number in changes if number)


Key = tuple[str, ...]
"""What mistakes are counted by, the dataset and the category first."""


def by_category(outcome: Outcome) -> Key:
    """Return the dataset and category of a wrong answer."""
    return outcome.dataset, outcome.category or UNCLASSIFIED


def by_kind(outcome: Outcome) -> Key:
    """Return the dataset, category and kind of a wrong answer."""
    return *by_category(outcome), outcome.kind or ""


def mistake_changes(run: Run, key: Callable[[Outcome], Key] = by_category) -> dict[Key, MistakeChange]:
    """Return by *key* how many mistakes the baseline makes, and how ablated cases differ from it, item by item.

    Datasets keep their order, and known categories theirs. Cases without a baseline are left out.
    """
    baselines = {outcome.item_key: outcome for outcome in run.outcomes if outcome.target == BASELINE}
    counts: dict[Key, list[int]] = {}
    for outcome in baselines.values():
        if not outcome.correct:
            counts.setdefault(key(outcome), [0, 0, 0])[0] += 1
    for before, after in _pairs(run, baselines):
        was, now = (None if outcome.correct else key(outcome) for outcome in (before, after))
        if was != now:
            for mistake, place in ((now, 1), (was, 2)):
                if mistake is not None:
                    counts.setdefault(mistake, [0, 0, 0])[place] += 1
    datasets = {name: place for place, name in enumerate(run.summary["datasets"])}
    categories = {name: place for place, name in enumerate(CATEGORIES)}

    def order(mistake: Key) -> tuple[int, int, Key]:
        dataset, category = mistake[:2]
        return datasets.get(dataset, len(datasets)), categories.get(category, len(categories)), mistake

    return {mistake: MistakeChange(*counts[mistake]) for mistake in sorted(counts, key=order)}


def _pairs(run: Run, baselines: Mapping[tuple[str, str], Outcome]) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield each ablated outcome after the baseline of its item."""
    for outcome in run.outcomes:
        baseline = None if outcome.target == BASELINE else baselines.get(outcome.item_key)
        if baseline is not None:
            yield baseline, outcome


def ablated_cases(run: Run) -> dict[str, int]:
    """Return the number of ablated cases of each dataset that has any."""
    counts: dict[str, int] = {}
    for outcome in run.outcomes:
        if outcome.target != BASELINE:
            counts[outcome.dataset] = counts.get(outcome.dataset, 0) + 1
    return counts


def change_sentences(run: Run, most: int, categories: int) -> list[str]:
    """Return for each of the first *most* datasets whose mistakes change the *categories* that change most.

    ``arithmetic off_by_one +310 -2, hallucination +12``.
    """
    by_dataset: dict[str, list[tuple[str, MistakeChange]]] = {}
    for (dataset, category), change in mistake_changes(run).items():
        if change.added or change.removed:
            by_dataset.setdefault(dataset, []).append((category, change))
    sentences = []
    for dataset, changes in list(by_dataset.items())[:most]:
        changes.sort(key=lambda entry: -(entry[1].added + entry[1].removed))
        parts = [f"{shorten(category, 20)} {change.text}" for category, change in changes[:categories]]
        sentences.append(f"{shorten(dataset, 40)} {', '.join(parts)}")
    return sentences
