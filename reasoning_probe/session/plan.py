"""The plan of a session: its cases, those that deselection left over, and the shard that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.items import Item
from reasoning_probe.data.shards import Shard, places, shards
from reasoning_probe.models.targets import Target
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key
from reasoning_probe.utils.text import printable


@dataclass(frozen=True)
class Case:
    """One test case: an item under one target (``None``: nothing is switched off)."""

    dataset: str
    item: Item
    target: Target | None = None
    ablation: str | None = None

    @property
    def key(self) -> Key:
        """What the case's outcome is known by."""
        return self.dataset, str(self.item.id), self.target_name, self.ablation

    @property
    def item_key(self) -> ItemKey:
        """What its item is known by."""
        return self.dataset, str(self.item.id)

    @property
    def target_name(self) -> str:
        """``L3H7``, or ``baseline``."""
        return BASELINE if self.target is None else self.target.name

    def __repr__(self) -> str:
        """Return what ``--setup-show`` prints, with nothing in it that a CI system would obey."""
        return printable(f"Case({self.dataset!r}, {self.item.id!r}, {self.target_name}, {self.ablation})")


def every_case(dataset: Dataset, variants: Sequence[tuple[Target, str]]) -> list[Case]:
    """Return the cases of *dataset*: each item as it is, then under every target with its ablation."""
    return [
        case
        for item in dataset.items
        for case in (
            Case(dataset.name, item),
            *(Case(dataset.name, item, target, ablation) for target, ablation in variants),
        )
    ]


class Plan:
    """The cases to answer, in order, by key and by item; *datasets* are all that the session has read."""

    def __init__(self, datasets: Mapping[str, Dataset], shard: Shard | None) -> None:
        self.datasets, self.shard = datasets, shard
        self.cases: dict[Key, Case] = {}
        self.by_item: dict[ItemKey, list[Case]] = {}
        self.skipped_items: set[ItemKey] = set()  # selected, but skipped by a mark
        self._shards: dict[str, dict[str, int]] = {}  # by dataset and item id

    def select(self, cases: Iterable[Case]) -> None:
        """Make *cases*, which every kind of deselection has left over, the plan."""
        self.cases = {case.key: case for case in cases}
        self.by_item = {}
        for case in self.cases.values():
            self.by_item.setdefault(case.item_key, []).append(case)

    def in_shard(self, case: Case) -> bool:
        """Tell whether *case* belongs to the shard; an item's cases all lie in one."""
        if self.shard is None:
            return True
        if case.dataset not in self._shards:
            self._shards[case.dataset] = shards(self.datasets[case.dataset], self.shard.of)
        return self._shards[case.dataset][str(case.item.id)] == self.shard.number

    def size(self, dataset: str) -> int:
        """Return how many items of *dataset* there are to ask, in the shard."""
        return sum(self.in_shard(Case(dataset, item)) for item in self.datasets[dataset].items)

    @property
    def planned_datasets(self) -> list[str]:
        """The datasets of which the plan holds an item."""
        return list(dict.fromkeys(dataset for dataset, _ in self.by_item))

    def covers_all_of(self, dataset: str) -> bool:
        """Tell whether the plan holds every item of *dataset* that there is to ask, those that marks skip aside."""
        selected = self.by_item.keys() | self.skipped_items
        return sum(name == dataset for name, _ in selected) == self.size(dataset)

    @staticmethod
    def baseline_key(case: Case) -> Key:
        """Return the key of the baseline that *case* is compared with, or is itself."""
        return (*case.item_key, BASELINE, None)

    @property
    def keys(self) -> list[Key]:
        """The keys of all outcomes of the plan, with the baselines that ablated cases are compared with."""
        keys = (key for case in self.cases.values() for key in (self.baseline_key(case), case.key))
        return list(dict.fromkeys(keys))

    def places(self) -> dict[str, dict[str, int]]:
        """Return where each planned item stands among all items of its dataset; empty without a shard."""
        return {} if self.shard is None else places(self.datasets.values(), set(self.by_item))
