"""Which targets are named: the rules by which maps mark them and sentences speak of them."""

from __future__ import annotations

from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.stats import is_significant


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
