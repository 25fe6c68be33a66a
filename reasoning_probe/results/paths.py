"""Paths between heads: the test of each, its correction over all of a run, and the merging of several processes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from reasoning_probe.results import stats
from reasoning_probe.results.naming import LEAST_NATS
from reasoning_probe.results.record import PathItemRecord, PathRecord
from reasoning_probe.results.stats.paired_tests import NOISE

PathName = tuple[str, str | None, str, str]
"""A path's dataset, ablation, sender and receiver."""


def path_record(name: PathName, items: Sequence[PathItemRecord], note: str = "") -> PathRecord:
    """Return the record of a path that was measured on *items*; *note* says why there are none.

    Its test is the exact sign test of the items on which the log-probability falls against those on which it rises. It
    is corrected by :func:`with_tests`; until then ``p_adjusted`` is that of this path alone.
    """
    changes = [item["change"] for item in items]
    falls, rises = sum(change < -NOISE for change in changes), sum(change > NOISE for change in changes)
    p = float(stats.mcnemar(falls, rises)) if changes else None
    answered = [item for item in items if item["correct"] is not None]
    dataset, ablation, sender, receiver = name
    return {
        "dataset": dataset,
        "ablation": ablation,
        "from": sender,
        "to": receiver,
        "items": len(changes),
        "change": math.fsum(changes) / len(changes) if changes else None,
        "median_change": statistics.median(changes) if changes else None,
        "falls": falls,
        "rises": rises,
        "p": p,
        "p_adjusted": p,
        "answers": len(answered) if answered else None,
        "answers_changed": sum(item["changed"] is True for item in answered) if answered else None,
        "questions": list(items),
        "note": note,
    }


def name_of(row: PathRecord) -> PathName:
    """Return what a path is known by."""
    return row["dataset"], row["ablation"], row["from"], row["to"]


def with_tests(rows: Sequence[PathRecord]) -> list[PathRecord]:
    """Return *rows*, all paths of a run, with their tests corrected together by discrete Holm."""
    tested = [row for row in rows if row["p"] is not None]
    adjusted = stats.discrete_holm([row["p"] or 0.0 for row in tested], [row["falls"] + row["rises"] for row in tested])
    by_name = {name_of(row): float(p) for row, p in zip(tested, adjusted, strict=True)}
    return [row | {"p_adjusted": by_name.get(name_of(row))} for row in rows]


def named(row: PathRecord) -> bool:
    """Whether a path is drawn and sentences may name it: significant, and by as much as heads are named for."""
    return stats.is_significant(row["p_adjusted"]) and abs(row["median_change"] or 0.0) >= LEAST_NATS


def merged_paths(parts: Sequence[Sequence[PathRecord] | None]) -> list[PathRecord]:
    """Return the paths of several processes as one list; each process measured its own items."""
    by_name: dict[PathName, list[PathRecord]] = {}
    for row in (row for part in parts for row in part or ()):
        by_name.setdefault(name_of(row), []).append(row)
    return with_tests([_pooled(name, rows) for name, rows in by_name.items()])


def _pooled(name: PathName, rows: Sequence[PathRecord]) -> PathRecord:
    if len(rows) == 1:
        return rows[0]
    items = {item["item"]: item for row in rows for item in row["questions"]}
    note = "" if items else next((row["note"] for row in rows if row["note"]), "")
    return path_record(name, list(items.values()), note)
