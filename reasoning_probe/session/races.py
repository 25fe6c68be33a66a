"""The races of a session: which items come next, and which targets are stopped before they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.results.racing import Race, Stop, from_entry
from reasoning_probe.results.record import RaceRecord

if TYPE_CHECKING:
    from reasoning_probe.results.screening import Screening
    from reasoning_probe.session.plan import Case


class Races:
    """The races of all datasets, by dataset and ablation."""

    def __init__(self) -> None:
        self.by_map: dict[tuple[str, str], Race] = {}

    def stopped(self, case: Case) -> bool:
        """Tell whether the target of *case* was stopped."""
        race = self.by_map.get((case.dataset, str(case.ablation)))
        return race is not None and case.target_name in race.stopped

    def reason(self, case: Case) -> str:
        """Say where the target of *case*, which was stopped, was."""
        return self.by_map[case.dataset, str(case.ablation)].reason(case.target_name)

    @property
    def maps_with_stops(self) -> set[tuple[str, str]]:
        """The datasets and ablations of which not every target went on to the end."""
        return {key for key, race in self.by_map.items() if race.stopped}

    def add(self, entries: Iterable[RaceRecord]) -> None:
        """Take over races that another process of the same run held."""
        for race in map(from_entry, entries):
            self.by_map.setdefault((race.dataset, race.ablation), race)

    def entries(self, accuracies: Mapping[str, float]) -> list[RaceRecord]:
        """Return the races with what they may have cost; *accuracies* are those of the baseline, by dataset."""
        from reasoning_probe.analyses.racing import with_cost

        return [with_cost(race, accuracies.get(race.dataset, 0.0)) for race in self.by_map.values()]

    def run(
        self, dataset: str, cases: Iterable[Case], screenings: Iterable[Screening], outcomes: Mapping[Key, Outcome]
    ) -> Iterator[list[ItemKey]]:
        """Yield the items of *cases*, all of *dataset*, a block at a time; look at *outcomes* between two blocks.

        The caller answers a block before it asks for the next one, without the targets that are :meth:`stopped`.
        """
        from reasoning_probe.analyses.racing import blocks, race_order

        cases = list(cases)
        items = [(dataset, id) for id in race_order(dataset, {case.item_key[1] for case in cases})]
        targets: dict[str, dict[str, None]] = {}  # by ablation, names in the plan's order
        raced = dict.fromkeys(case.item_key for case in cases if case.target is not None)
        for case in cases:
            if case.target is not None:
                targets.setdefault(str(case.ablation), {})[case.target_name] = None
        left_out = LeftOut([screening.entry() for screening in screenings])
        ends = blocks(len(raced))
        if ends:
            for ablation, names in targets.items():
                tested = len(names) + left_out.count(dataset, ablation, names)
                self.by_map.setdefault((dataset, ablation), Race(dataset, ablation, len(raced), tested))
        answered: list[str] = []
        for start, end in zip([0, *ends], [*ends, len(items)], strict=True):
            yield items[start:end]
            answered += [id for _, id in items[start:end]]
            for ablation in targets if end in ends else ():
                running = [name for name in targets[ablation] if name not in self.by_map[dataset, ablation].stopped]
                self._look(self.by_map[dataset, ablation], running, answered, outcomes)

    @staticmethod
    def _look(race: Race, running: Iterable[str], answered: list[str], outcomes: Mapping[Key, Outcome]) -> None:
        """Stop those of the *running* targets that will hardly be named, by their *outcomes* on *answered* items."""
        from reasoning_probe.analyses.racing import RaceRule, background

        baselines = {id: outcomes.get((race.dataset, id, BASELINE, None)) for id in answered}
        looks: dict[str, Stop] = {}
        for target in running:
            pairs = [
                (baseline.correct, off.correct)
                for id, baseline in baselines.items()
                if baseline is not None and (off := outcomes.get((race.dataset, id, target, race.ablation))) is not None
            ]
            if pairs:
                looks[target] = Stop(len(pairs), pairs.count((True, False)), pairs.count((False, True)))
        if not looks:
            return
        won_share = background(look.won / look.items for look in (*race.stopped.values(), *looks.values()))
        for target, look in looks.items():
            # An item that does not fit the model is none of those that are left.
            rule = RaceRule(race.items - (len(answered) - look.items), race.targets, won_share)
            if rule.stops(look.items, look.lost, look.won):
                race.stopped[target] = look
