"""Items that were not asked before: those from a place on, and those that a run did not ask.

Items that chose a head cannot confirm it, so a second look needs others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from pathlib import Path

from reasoning_probe.data import datasets
from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.items import Item
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.results.run import RunError, read_run


def read(
    name: str,
    source: str | Path | Iterable[Item] | None,
    limit: int | None,
    *,
    at_most: bool,
    start: int = 0,
    earlier: Set[str] = frozenset(),
    trusted: bool = False,
) -> Dataset:
    """Return *limit* items of the dataset *name* from the place *start* on whose questions are not in *earlier*.

    ``None`` is all of them; with *at_most* a dataset that has fewer gives all it has; *trusted* lets a source run code
    of its own. Raises ``DatasetError`` where none is left, or fewer than a *limit* that is not *at_most*.
    """
    if not start and not earlier:
        return datasets.read(name, source, limit, at_most=at_most, trusted=trusted)
    most = None if limit is None else limit + start + len(earlier)
    whole = datasets.read(name, source, most, at_most=True, trusted=trusted)
    left = [item for item in whole.items[start:] if item.question not in earlier]
    if not left or (limit is not None and len(left) < limit and not at_most):
        which = [f"from item {start + 1} on"] * bool(start) + ["that --probe-fresh-items leaves"] * bool(earlier)
        wanted = "" if limit is None else f", not {limit}"
        raise DatasetError(
            f"{name} has {len(left)} items {' and '.join(which)}{wanted}: ask for fewer, or give it more"
        )
    return replace(whole, items=tuple(left[:limit]))


def asked_questions(folder: Path) -> Mapping[str, Set[str]]:
    """Return the questions that the run in *folder* asked, by dataset. Raises ``DatasetError`` for a bad run."""
    try:
        outcomes = read_run(folder).outcomes
    except (RunError, OSError) as error:
        raise DatasetError(f"--probe-fresh-items: {error}") from error
    questions: dict[str, set[str]] = {}
    for outcome in outcomes:
        questions.setdefault(outcome.dataset, set()).add(outcome.question)
    return questions
