"""Paths between heads in a report: which are named, and the sentences on them."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.report.format import nats
from reasoning_probe.results.paths import named
from reasoning_probe.results.record import PathRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise, shorten

_MOST_NAMES, _MOST_NAME = 4, 60


def paths_of(run: Run, dataset: str, ablation: str) -> list[PathRecord]:
    """Return the paths of *run* on *dataset* under *ablation*, those that change the answer most first."""
    rows = [
        row for row in run.summary.get("paths") or () if (row["dataset"], str(row["ablation"])) == (dataset, ablation)
    ]
    return sorted(rows, key=lambda row: -abs(row["median_change"] or 0.0))


def path_sentences(run: Run) -> list[str]:
    """Say on each dataset which paths between the heads that matter change the expected answer's log-probability."""
    maps = dict.fromkeys((row["dataset"], str(row["ablation"])) for row in run.summary.get("paths") or ())
    several = len({ablation for _, ablation in maps}) > 1
    return [
        _sentence(paths_of(run, dataset, ablation), place_of(dataset, ablation, several=several))
        for dataset, ablation in maps
    ]


def place_of(dataset: str, ablation: str, *, several: bool) -> str:
    """Return a dataset's name for a sentence, with its ablation where a run has *several*."""
    return shorten(dataset, _MOST_NAME) + (f" ({ablation} ablation)" if several else "")


def path_name(row: PathRecord) -> str:
    """Return a path's name: ``L0H1 → L1H2``."""
    return f"{row['from']} → {row['to']}"


def _sentence(rows: Sequence[PathRecord], place: str) -> str:
    measured = [row for row in rows if row["items"]]
    if not measured:
        return f"Paths between heads on {place} are not measured: {shorten(rows[0]['note'], 200)}."
    counted = f"{pluralise(len(measured), 'path')} between the named heads on {place}"
    important = [row for row in measured if named(row)]
    items = pluralise(max(row["items"] for row in measured), "item")
    if not important:
        return f"None of {counted} is shown to change the log-probability of the expected answer ({items})."
    names = join_names([f"{path_name(row)} ({nats(row['median_change'])})" for row in important], _MOST_NAMES)
    verb = "changes" if len(important) == 1 else "change"
    return (
        f"Of {counted}, {len(important)} {verb} the log-probability of the expected answer: {names} (median nats with"
        f" the path cut; {items})."
    )
