"""Sets of heads scored as circuits: which may be called one, and the merging of several processes."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.results.record import CircuitRecord, RecoveredRecord
from reasoning_probe.results.stats import ALPHA

FEWEST_MASKS = 16
"""Random halves of the heads: fewer tell no heads apart."""

LEAST_SHARE = 0.5
"""The share of what all heads do that a set must do, or without which it must be missing, to be named."""


def merged_circuits(parts: Sequence[Sequence[CircuitRecord] | None]) -> list[CircuitRecord]:
    """Return the scores of several processes as one list.

    Each chose a set of its own on its own items, so of several the one that most items scored counts.
    """
    by_source: dict[tuple[str, str | None, str], CircuitRecord] = {}
    for row in (row for part in parts for row in part or ()):
        known = by_source.get(key := (row["dataset"], row["ablation"], row["source"]))
        if known is None or row["items"] > known["items"]:
            by_source[key] = row
    return list(by_source.values())


def largest_difference(recovered: RecoveredRecord) -> float | None:
    """Return by how much the set without a part, and all heads without it, differ at most: their incompleteness.

    ``None`` where no part was taken out, as in a set of one head or in runs of earlier versions.
    """
    return max((abs(part["circuit"] - part["model"]) for part in recovered.get("parts") or ()), default=None)


def is_circuit(row: CircuitRecord) -> bool:
    """Whether sentences may call a set a circuit, by the log-probability on the items that did not choose it.

    It does so alone what no random set of its size does, at least half of what all heads do by its whole interval, and
    the single effects of its heads add up to a loss.
    """
    recovered = row["logprob"]
    return (
        recovered is not None
        and recovered["faithfulness_p"] <= ALPHA
        and recovered["faithfulness_ci95"][0] >= LEAST_SHARE
        and (row["sum_of_single"] or 0.0) < 0
    )


def is_needed(row: CircuitRecord) -> bool:
    """Whether sentences may say that a set is needed: off, it costs more than every random set of its size.

    So may heads that cost nothing one by one. The whole interval of what they cost must lie above
    :data:`LEAST_SHARE`.
    """
    recovered = row["logprob"]
    return (
        recovered is not None
        and recovered["completeness_p"] <= ALPHA
        and recovered["completeness_ci95"][0] >= LEAST_SHARE
    )
