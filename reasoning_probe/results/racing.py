"""The races of a run: the targets that were stopped, and what stopping may have cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import RaceRecord, StoppedTargetRecord


@dataclass(frozen=True)
class Stop:
    """Where a target was stopped: after so many *items*, of which it had made *lost* wrong and *won* right."""

    items: int
    lost: int
    won: int


@dataclass
class Race:
    """The race of one dataset's targets under one ablation; ``targets`` counts all that are tested together."""

    dataset: str
    ablation: str
    items: int
    targets: int
    stopped: dict[str, Stop] = field(default_factory=dict)

    def reason(self, target: str) -> str:
        """Say where *target* was stopped: ``stopped after 50 of 1,000 items: 1 lost, 0 won``."""
        stop = self.stopped[target]
        return f"stopped after {stop.items:,} of {self.items:,} items: {stop.lost:,} lost, {stop.won:,} won"

    def entry(self) -> RaceRecord:
        """Return the race as ``races`` of ``run.json`` holds it, without what it cost."""
        stopped: list[StoppedTargetRecord] = [
            {"target": target, "items": stop.items, "lost": stop.lost, "won": stop.won}
            for target, stop in self.stopped.items()
        ]
        return {
            "dataset": self.dataset,
            "ablation": self.ablation,
            "items": self.items,
            "targets": self.targets,
            "stopped": stopped,
        }


def from_entry(entry: RaceRecord) -> Race:
    """Return the race that *entry* records."""
    stops = {row["target"]: Stop(row["items"], row["lost"], row["won"]) for row in entry["stopped"]}
    return Race(entry["dataset"], str(entry["ablation"]), entry["items"], entry["targets"], stops)


def merged_races(parts: Iterable[Sequence[RaceRecord] | None]) -> list[RaceRecord]:
    """Return the races of several processes or runs; a target that one of them stopped is stopped."""
    races: dict[tuple[str, str | None], RaceRecord] = {}
    for entry in (entry for part in parts for entry in part or ()):
        known = races.setdefault((entry["dataset"], entry["ablation"]), entry)
        if known is not entry:
            names = {row["target"] for row in known["stopped"]}
            more = [row for row in entry["stopped"] if row["target"] not in names]
            races[entry["dataset"], entry["ablation"]] = known | {"stopped": [*known["stopped"], *more]}
    return list(races.values())


def without_stopped(outcomes: Iterable[Outcome], races: Iterable[RaceRecord]) -> list[Outcome]:
    """Return *outcomes* without those of stopped targets: an effect over the items that stopped it is biased."""
    stopped = {(race["dataset"], race["ablation"], row["target"]) for race in races for row in race["stopped"]}
    return [one for one in outcomes if (one.dataset, one.ablation, one.target) not in stopped]
