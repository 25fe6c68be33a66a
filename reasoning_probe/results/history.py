"""Several runs in their order, such as a model's checkpoints or CI artifacts: accuracies and named heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_probe.results.naming import named_losses
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run

Named = tuple[Path, Run]
"""A run with the folder that it was read from."""


@dataclass(frozen=True)
class AccuracyPoint:
    """One run's accuracy on one dataset, with its 95 % Wilson interval; both are fractions."""

    correct: int
    items: int
    accuracy: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class NamedHead:
    """A target that a run names on a dataset under an ablation; ``deltas`` are its accuracy changes, by run.

    A change is a fraction, ``None`` where the run did not measure the target; ``named`` tells which runs name it.
    """

    target: str
    dataset: str
    ablation: str
    deltas: tuple[float | None, ...]
    named: tuple[bool, ...]


@dataclass(frozen=True)
class History:
    """What :func:`history` returns: for each dataset a point of each run, ``None`` where it did not ask it."""

    folders: tuple[Path, ...]
    models: tuple[str, ...]
    accuracies: dict[str, tuple[AccuracyPoint | None, ...]]
    heads: tuple[NamedHead, ...]
    notes: tuple[str, ...]


def history(runs: Sequence[Named]) -> History:
    """Return accuracy by dataset and the heads that any run names, over *runs* in their order.

    Each accuracy is of its run's own items; a note says where the runs did not ask the same ones.
    """
    names = dict.fromkeys(name for _, run in runs for name in run.summary["datasets"])
    return History(
        folders=tuple(folder for folder, _ in runs),
        models=tuple(str(run.summary["model"]["name"]) for _, run in runs),
        accuracies={name: tuple(_point(run, name) for _, run in runs) for name in names},
        heads=_named_heads([run for _, run in runs]),
        notes=tuple(_other_items(runs, name) for name in names if _other_items(runs, name)),
    )


def _point(run: Run, dataset: str) -> AccuracyPoint | None:
    entry = run.summary["datasets"].get(dataset)
    if entry is None or entry["accuracy"] is None:
        return None
    low, high = entry["ci95"]
    return AccuracyPoint(entry["correct"], entry["items"], entry["accuracy"], (low, high))


def _named_heads(runs: Sequence[Run]) -> tuple[NamedHead, ...]:
    """Return what any of *runs* names, the largest loss in any run first."""
    by_run = [
        {(row["target"], row["dataset"], str(row["ablation"])): row for row in run.summary["targets"]} for run in runs
    ]
    named = [
        {(row["target"], row["dataset"], str(row["ablation"])) for row in named_losses(run.summary["targets"])}
        for run in runs
    ]
    heads = []
    for key in dict.fromkeys(key for keys in named for key in sorted(keys)):
        deltas = tuple(rows[key]["delta"] if key in rows else None for rows in by_run)
        heads.append(NamedHead(*key, deltas, tuple(key in keys for keys in named)))
    return tuple(sorted(heads, key=lambda head: min(delta for delta in head.deltas if delta is not None)))


def _other_items(runs: Sequence[Named], dataset: str) -> str:
    """Say that not all *runs* asked the same items of *dataset*; empty where they did."""
    items_by_run = [
        {
            (outcome.item, outcome.question, outcome.expected)
            for outcome in run.outcomes
            if outcome.target == BASELINE and outcome.dataset == dataset
        }
        for _, run in runs
    ]
    item_sets = [items for items in items_by_run if items]
    if all(items == item_sets[0] for items in item_sets):
        return ""
    return f"The runs did not ask the same items of {dataset}: a change may be one of the questions"
