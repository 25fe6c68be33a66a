"""The ranking of targets by effect: the one table that the page, the notebook, the terminal and CI summaries show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from reasoning_probe.report.effects import EffectGroup, groups, harms_plain_text, significant
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.results.record import ControlTargetRecord, EffectRecord
from reasoning_probe.results.run import Run

Column = Literal[
    "points",
    "points_ci95",
    "flips_to_wrong",
    "flips_to_right",
    "p_value",
    "p_adjusted",
    "q_value",
    "nats",
    "nats_ci95",
    "logprob_p_adjusted",
    "plain_text",
]

PAGE_COLUMNS: Mapping[Column, str] = {
    "points": "accuracy (points)",
    "points_ci95": "95 % interval",
    "flips_to_wrong": "right to wrong",
    "flips_to_right": "wrong to right",
    "p_value": "p, McNemar",
    "p_adjusted": "p, Holm",
    "q_value": "q, B-H",
    "nats": "log-prob. (nats)",
    "nats_ci95": "its interval",
    "logprob_p_adjusted": "its p, Holm",
    "plain_text": "neutral text (nats a token)",
}
SUMMARY_COLUMNS: Mapping[Column, str] = {
    "points": "points",
    "flips_to_wrong": "right to wrong",
    "flips_to_right": "wrong to right",
    "p_adjusted": "p (Holm)",
    "nats": "log-prob. (nats)",
}
TERMINAL_COLUMNS: Mapping[Column, str] = {
    "points": "points",
    "points_ci95": "95 % interval",
    "flips_to_wrong": "lost",
    "flips_to_right": "won",
    "p_adjusted": "p (Holm)",
    "nats": "nats",
}
"""The columns of the page, of the notebook and CI summaries, and of the terminal, with their headings."""


@dataclass(frozen=True)
class RankedTarget:
    """A row of a ranking; ``cells`` holds the plain text of each column, ``delta`` the accuracy change as a fraction.

    ``harms_plain_text`` is false where the control task did not measure the target.
    """

    target: str
    delta: float
    significant: bool
    harms_plain_text: bool
    cells: Mapping[Column, str]


@dataclass(frozen=True)
class Ranking:
    """The strongest targets of a dataset under one ablation; ``columns`` are the headings, that of the target first."""

    columns: list[str]
    rows: list[RankedTarget]


def ranking(
    group: EffectGroup,
    columns: Mapping[Column, str],
    most: int,
    control: Mapping[tuple[str, str], ControlTargetRecord] | None = None,
) -> Ranking:
    """Return the *most* strongest targets of *group* with the text of *columns*, such as :data:`PAGE_COLUMNS`.

    A renderer escapes the texts and marks the rows that are ``significant`` or harm plain text; it formats no number.
    *control* is :func:`control_targets`; without any there is no column ``plain_text``.
    """
    control = control or {}
    chosen = [column for column in columns if column != "plain_text" or control]
    rows = []
    for effect in group.rows[:most]:
        measured = control.get((effect["target"], group.ablation))
        rows.append(
            RankedTarget(
                effect["target"],
                effect["delta"],
                significant(effect),
                measured is not None and harms_plain_text(measured),
                {
                    column: _plain_text(measured) if column == "plain_text" else _TEXTS[column](effect)
                    for column in chosen
                },
            )
        )
    return Ranking([group.noun, *(columns[column] for column in chosen)], rows)


def control_targets(run: Run) -> dict[tuple[str, str], ControlTargetRecord]:
    """Return the control task's results by target and ablation; empty where *run* has none."""
    control = run.summary.get("control")
    return {(row["target"], str(row["ablation"])): row for row in (control["targets"] if control else ())}


def strongest(run: Run, most: int) -> list[EffectRecord]:
    """Return the *most* strongest targets that change any accuracy, over all datasets and ablations.

    The significant ones come first, then those of datasets with enough items for any target to be significant.
    """
    rows = [
        (group.finding == "few_items", row)
        for group in groups(run)
        if group.finding != "floor"
        for row in group.rows
        if row["delta"]
    ]
    rows.sort(key=lambda pair: (not significant(pair[1]), pair[0], -abs(pair[1]["delta"])))
    return [row for _, row in rows[:most]]


def _interval(ends: list[float] | None, text: Callable[[float], str]) -> str:
    return f"{text(ends[0])} to {text(ends[1])}" if ends else "-"


def _plain_text(row: ControlTargetRecord | None) -> str:
    return "-" if row is None or row["delta"] is None else f"{row['delta']:+.3f}"


_TEXTS: Mapping[Column, Callable[[EffectRecord], str]] = {
    "points": lambda row: points(row["delta"]),
    "points_ci95": lambda row: _interval(row["delta_ci95"], points),
    "flips_to_wrong": lambda row: f"{row['flips_to_wrong']:,}",
    "flips_to_right": lambda row: f"{row['flips_to_right']:,}",
    "p_value": lambda row: p_value(row["p_value"]),
    "p_adjusted": lambda row: p_value(row["p_adjusted"]),
    "q_value": lambda row: p_value(row.get("q_value")),
    "nats": lambda row: nats(row["delta_logprob"]),
    "nats_ci95": lambda row: _interval(row.get("delta_logprob_ci95"), nats),
    "logprob_p_adjusted": lambda row: p_value(row.get("logprob_p_adjusted")),
}
