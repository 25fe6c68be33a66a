"""Random directions beside named heads: the page's column, and the sentences on heads that lose no more than these."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.report.effects import EffectGroup
from reasoning_probe.results.naming import named_losses
from reasoning_probe.results.record import RandomDirectionsRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import ALPHA
from reasoning_probe.utils.text import join_names, shorten

_MOST_NAMES, _MOST_NAME = 4, 60


def by_head(run: Run) -> dict[tuple[str, str, str], RandomDirectionsRecord]:
    """Return what *run* holds of random directions by dataset, ablation and head; heads without a rank are left out."""
    rows = run.summary.get("null_directions") or ()
    return {(row["dataset"], str(row["ablation"]), row["target"]): row for row in rows if row["p_value"] is not None}


def directions_text(row: RandomDirectionsRecord) -> str:
    """Return how many of the random directions lose as much as the head: ``12 of 20``."""
    return f"{row['as_large']} of {len(row['changes'])}"


def no_more_than_its_size(row: RandomDirectionsRecord) -> bool:
    """Whether at least half of the random directions lose as much as the head."""
    return 2 * row["as_large"] >= len(row["changes"])


def direction_sentences(run: Run, group: EffectGroup, several: bool) -> list[str]:
    """Say which named heads of *group* lose no more than random directions of their size; *several* are ablations."""
    compared = by_head(run)
    keys = [(group.dataset, group.ablation, row["target"]) for row in named_losses(group.rows)]
    rows = [compared[key] for key in keys if key in compared]
    place = shorten(group.dataset, _MOST_NAME) + (f" ({group.ablation} ablation)" if several else "")
    no_more = [row for row in rows if no_more_than_its_size(row)]
    not_shown = [row for row in rows if row not in no_more and (row["p_value"] or 0.0) > ALPHA]
    sentences = []
    if no_more:
        verb = "matters" if len(no_more) == 1 else "matter"
        sentences.append(f"{_heads(no_more)} {verb} no more for {place} than {_alike(no_more)}.")
    if not_shown:
        verb = "is" if len(not_shown) == 1 else "are"
        sentences.append(f"{_heads(not_shown)} {verb} not shown to matter more for {place} than {_alike(not_shown)}.")
    return sentences


def rank_text(run: Run, group: EffectGroup) -> str:
    """Return how the targets of *group* that lose log-probability rank among random directions of their size."""
    compared = by_head(run)
    keys = [(group.dataset, group.ablation, row["target"]) for row in group.with_logprob_effect]
    rows = [compared[key] for key in keys if key in compared]
    if not rows:
        return "not compared with random directions of the same size"
    beyond = sum(row["as_large"] == 0 for row in rows)
    loses = "loses" if beyond == 1 else "lose"
    return f"of {len(rows)} compared with random directions of the same size, {beyond} {loses} more than all of them"


def _heads(rows: Sequence[RandomDirectionsRecord]) -> str:
    return join_names([f"{row['target']} ({directions_text(row)})" for row in rows], _MOST_NAMES)


def _alike(rows: Sequence[RandomDirectionsRecord]) -> str:
    whose = "its" if len(rows) == 1 else "their"
    return f"random directions of {whose} size in {whose} layer (in brackets: how many of these lose as much)"
