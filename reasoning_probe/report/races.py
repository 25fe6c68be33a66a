"""The races of a run in sentences: what was stopped, what that saved, and what it may have cost."""

from __future__ import annotations

from reasoning_probe.report.format import percent, points
from reasoning_probe.results.record import RaceRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.target_names import head_of
from reasoning_probe.utils.text import pluralise


def race_sentences(run: Run) -> list[str]:
    """Say of each race how many targets were stopped, and which effects they may still have."""
    return [_sentence(run, race) for race in run.summary.get("races") or ()]


def _sentence(run: Run, race: RaceRecord) -> str:
    key = race["dataset"], race["ablation"]
    stopped = race["stopped"]
    to_the_end = [row["target"] for row in run.summary["targets"] if (row["dataset"], row["ablation"]) == key]
    names = [*to_the_end, *(row["target"] for row in stopped)]
    noun = pluralise(len(names), "head" if all(map(head_of, names)) else "target")
    begin = f"Racing on {race['dataset']} ({race['ablation']} ablation): of {noun}"
    if not stopped:
        return f"{begin} none was stopped."
    item_counts = [row["items"] for row in stopped]
    first = f"{min(item_counts):,}" + (f" to {max(item_counts):,}" if min(item_counts) < max(item_counts) else "")
    saved = 1 - (sum(item_counts) + len(to_the_end) * race["items"]) / (len(names) * race["items"])
    were = "was" if len(stopped) == 1 else "were"
    sentence = (
        f"{begin} {len(stopped):,} {were} stopped after {first} of {race['items']:,} items, which saved"
        f" {percent(saved)} of the answers."
    )
    return sentence + _cost(race)


def _cost(race: RaceRecord) -> str:
    largest, smallest = race.get("largest_loss"), race.get("smallest_effect")
    share, interval = race.get("missed_share"), race.get("ci95")
    cost = ""
    if smallest is not None and share is not None and interval is not None:
        low, high = map(percent, interval)
        cost = (
            f" One that costs {_size(smallest)}, which the full sweep names in 8 of 10 runs, is lost to"
            f" the race in {percent(share)} of runs ({low} to {high})."
        )
    return cost + ("" if largest is None else f" A stopped one may still cost up to {_size(largest)}.")


def _size(loss: float) -> str:
    return f"{points(loss).removeprefix('+')} points"
