"""Which targets are named: the rules by which maps mark them and sentences speak of them."""

from __future__ import annotations

from collections.abc import Iterable

from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.stats import is_significant

LEAST_NATS = 0.01
"""Smaller median changes of the log-probability can be significant, too, but are not worth a sentence."""


def significant(row: EffectRecord) -> bool:
    """Whether the target changes the accuracy, of all targets of its dataset and ablation.

    Runs of earlier versions hold plain Holm's p-value alone.
    """
    p = row.get("p_discrete")
    return is_significant(row["p_adjusted"] if p is None else p)


def significant_on_page(row: EffectRecord) -> bool:
    """Whether the target changes the accuracy, of all targets of all datasets and ablations of the run."""
    p = row.get("p_page")
    return significant(row) if p is None else is_significant(p)


def moves_logprob(row: EffectRecord) -> bool:
    """Whether the log-probability of the expected answer falls on more items than it rises, or the other way round.

    Runs of earlier versions hold a test of its symmetry alone, which says less.
    """
    return is_significant(row.get("logprob_p_discrete"))


def moves_logprob_on_page(row: EffectRecord) -> bool:
    """As :func:`moves_logprob`, of all targets of all datasets and ablations of the run."""
    p = row.get("logprob_p_page")
    return moves_logprob(row) if p is None else is_significant(p)


def holds_across_forms(row: EffectRecord) -> bool | None:
    """Whether more forms of questions lose than win by the test over forms; ``None`` where items have no forms."""
    forms = row.get("forms")
    return None if forms is None else is_significant(forms["p_adjusted"]) and forms["losing"] > forms["winning"]


def median_nats(row: EffectRecord) -> float:
    """Return the median change of the expected answer's log-probability; the mean where a run holds no median."""
    median = row.get("median_logprob")
    return (row["delta_logprob"] if median is None else median) or 0.0


def named_logprob(row: EffectRecord) -> bool:
    """Whether sentences may name the target by the log-probability: by :data:`LEAST_NATS` or more."""
    return moves_logprob_on_page(row) and abs(median_nats(row)) >= LEAST_NATS


def named_losses(rows: Iterable[EffectRecord]) -> list[EffectRecord]:
    """Return of *rows* those that sentences name and that lose, of each dataset and ablation the strongest first.

    Where no target of a map is named by its accuracy, these are the targets that are named by the log-probability.
    """
    by_map: dict[tuple[str, str | None], list[EffectRecord]] = {}
    for row in rows:
        by_map.setdefault((row["dataset"], row["ablation"]), []).append(row)
    named: list[EffectRecord] = []
    for of_map in by_map.values():
        if any(significant_on_page(row) for row in of_map):
            losing = [row for row in of_map if significant_on_page(row) and row["delta"] < 0]
            named += sorted(losing, key=lambda row: (row["delta"], median_nats(row)))
        else:
            losing = [row for row in of_map if named_logprob(row) and _falls(row)]
            named += sorted(losing, key=median_nats)
    return named


def _falls(row: EffectRecord) -> bool:
    return row.get("logprob_falls", 0) > row.get("logprob_rises", 0)
