"""The targets that a screening or a race left out of the tests; corrections for multiple tests count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reasoning_probe.results.record import HeadSelectionRecord, RaceRecord

MapKey = tuple[str, str | None]
"""Dataset and ablation."""


@dataclass(frozen=True)
class LeftOut:
    """What the *screening* ranked and the *races* stopped, of all datasets and ablations."""

    screening: Sequence[HeadSelectionRecord] = ()
    races: Sequence[RaceRecord] = ()

    def count(self, dataset: str, ablation: str | None, measured: Iterable[str]) -> int:
        """Return how many more targets the *measured* ones were chosen from, by the same items that test them."""
        key = (dataset, ablation)
        ranked = {row["target"] for entry in self.screening if _key(entry) == key for row in entry["scores"]}
        stopped = {row["target"] for race in self.races if _key(race) == key for row in race["stopped"]}
        return len((ranked | stopped) - set(measured))

    def total(self, measured: Mapping[MapKey, Iterable[str]]) -> int:
        """Return :meth:`count` over the whole page: a race can stop every target of a dataset."""
        maps = dict.fromkeys([*measured, *map(_key, self.races)])
        return sum(self.count(*key, measured.get(key, ())) for key in maps)


def _key(entry: HeadSelectionRecord | RaceRecord) -> MapKey:
    return entry["dataset"], entry["ablation"]
