"""What sets of heads bring back, beside random sets: the effect with its interval, its test, and several processes."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.results import stats
from reasoning_probe.results.record import RestoredRecord

Pair = tuple[bool, bool]
"""Whether the set, and whether a random set, made the item's own answer of another question's."""


def restored_record(dataset: str, target: str, heads: int, pairs: Sequence[Pair]) -> RestoredRecord:
    """Return the record of a set of so many *heads* with a pair for each item.

    Each item has a random set of its own, so the items on which one of the two alone brings the answer back are divided
    by chance where the set is like the random ones: the exact test of paired shares (McNemar 1947). ``p_adjusted`` is
    that of this set alone until :func:`with_tests`.
    """
    more, fewer = (sum(pair == one for pair in pairs) for one in ((True, False), (False, True)))
    both = sum(pair == (True, True) for pair in pairs)
    return _tested(dataset, target, heads, len(pairs), both, more, fewer)


def with_tests(rows: Sequence[RestoredRecord]) -> list[RestoredRecord]:
    """Return *rows*, all sets of a run, with their tests corrected together by discrete Holm."""
    adjusted = stats.discrete_holm([row["p_value"] for row in rows], [row["more"] + row["fewer"] for row in rows])
    return [row | {"p_adjusted": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def brings_back(row: RestoredRecord) -> bool:
    """Whether the set makes the items' own answers more often than random sets of its size do."""
    return stats.is_significant(row["p_adjusted"]) and row["more"] > row["fewer"]


def merged_restored(parts: Sequence[Sequence[RestoredRecord] | None]) -> list[RestoredRecord]:
    """Return the sets of several processes as one list; each measured its own items."""
    by_set: dict[tuple[str, str], list[RestoredRecord]] = {}
    for row in (row for part in parts for row in part or ()):
        by_set.setdefault((row["dataset"], row["target"]), []).append(row)
    return with_tests([_pooled(rows) for rows in by_set.values()])


def _pooled(rows: Sequence[RestoredRecord]) -> RestoredRecord:
    items, became, more, fewer = (sum(column) for column in zip(*map(_counts, rows), strict=True))
    return _tested(rows[0]["dataset"], rows[0]["target"], rows[0]["heads"], items, became - more, more, fewer)


def _counts(row: RestoredRecord) -> tuple[int, int, int, int]:
    return row["items"], row["became"], row["more"], row["fewer"]


def _tested(dataset: str, target: str, heads: int, items: int, both: int, more: int, fewer: int) -> RestoredRecord:
    p_value = float(stats.mcnemar(more, fewer))
    return {
        "target": target,
        "dataset": dataset,
        "heads": heads,
        "items": items,
        "became": both + more,
        "random_became": both + fewer,
        "more": more,
        "fewer": fewer,
        "effect": (more - fewer) / items if items else 0.0,
        "effect_ci95": list(stats.paired_interval(fewer, more, items)),
        "p_value": p_value,
        "p_adjusted": p_value,
    }
