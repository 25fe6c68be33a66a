"""The ranking of targets by effect: the one table that the page, the notebook, the terminal and CI summaries show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from reasoning_probe.report.directions import directions_text
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.patching import patch_text
from reasoning_probe.results.control import guesses_plain_text, harms_plain_text
from reasoning_probe.results.naming import significant, significant_on_page
from reasoning_probe.results.record import ControlTargetRecord, EffectRecord, PatchRecord, RandomDirectionsRecord
from reasoning_probe.results.run import Run

Column = Literal[
    "points",
    "points_shrunken",
    "points_ci",
    "flips_to_wrong",
    "flips_to_right",
    "p_discrete",
    "p_page",
    "nats",
    "median",
    "median_ci95",
    "logprob_p_discrete",
    "plain_text",
    "directions",
    "patched",
]

PAGE_COLUMNS: Mapping[Column, str] = {
    "points": "accuracy (points)",
    "points_shrunken": "shrunken",
    "points_ci": "joint interval",
    "flips_to_wrong": "right to wrong",
    "flips_to_right": "wrong to right",
    "p_discrete": "p on the map",
    "p_page": "p on the page",
    "median": "log-prob. (median nats)",
    "median_ci95": "its interval",
    "logprob_p_discrete": "its p",
    "plain_text": "neutral text (nats a token)",
    "directions": "random directions that lose as much",
    "patched": "became the other answer (control)",
}
SUMMARY_COLUMNS: Mapping[Column, str] = {
    "points": "points",
    "flips_to_wrong": "right to wrong",
    "flips_to_right": "wrong to right",
    "p_discrete": "p (discrete Holm)",
    "nats": "log-prob. (nats)",
}
TERMINAL_COLUMNS: Mapping[Column, str] = {
    "points": "points",
    "points_shrunken": "shrunken",
    "points_ci": "joint interval",
    "flips_to_wrong": "lost",
    "flips_to_right": "won",
    "p_discrete": "p (discrete Holm)",
    "nats": "nats",
    "patched": "other answer (control)",
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
    directions: Mapping[tuple[str, str, str], RandomDirectionsRecord] | None = None,
    patches: Mapping[tuple[str, str, str], PatchRecord] | None = None,
) -> Ranking:
    """Return the *most* strongest targets of *group* with the text of *columns*, such as :data:`PAGE_COLUMNS`.

    A renderer escapes the texts and marks the rows that are ``significant`` or harm plain text; it formats no number.
    *control* is :func:`control_targets`, *directions* is :func:`~reasoning_probe.report.directions.by_head`, *patches*
    is :func:`~reasoning_probe.report.patching.by_target`; without any there is no column of it.
    """
    control, directions = control or {}, directions or {}
    patches = {key: row for key, row in (patches or {}).items() if key[:2] == (group.dataset, group.ablation)}
    sources = (("plain_text", control), ("directions", directions), ("patched", patches))
    missing = {column for column, source in sources if not source}
    chosen = [column for column in columns if column not in missing]
    rows = []
    for effect in group.rows[:most]:
        measured = control.get((effect["target"], group.ablation))
        compared = directions.get((group.dataset, group.ablation, effect["target"]))
        patched = patches.get((group.dataset, group.ablation, effect["target"]))
        texts: Mapping[Column, str] = {
            "plain_text": _plain_text(measured),
            "directions": "-" if compared is None else directions_text(compared),
            "patched": "-" if patched is None else patch_text(patched),
        }
        rows.append(
            RankedTarget(
                effect["target"],
                effect["delta"],
                significant(effect),
                measured is not None and harms_plain_text(measured),
                {column: texts[column] if column in texts else _TEXTS[column](effect) for column in chosen},
            )
        )
    return Ranking([group.noun, *(columns[column] for column in chosen)], rows)


def control_targets(run: Run) -> dict[tuple[str, str], ControlTargetRecord]:
    """Return the control task's results by target and ablation; empty where *run* has none that says anything."""
    control = run.summary.get("control")
    if not control or guesses_plain_text(control):
        return {}
    return {(row["target"], str(row["ablation"])): row for row in control["targets"]}


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
    rows.sort(key=lambda pair: (not significant_on_page(pair[1]), pair[0], -abs(pair[1]["delta"])))
    return [row for _, row in rows[:most]]


def _interval(ends: list[float] | None, text: Callable[[float], str]) -> str:
    return f"{text(ends[0])} to {text(ends[1])}" if ends else "-"


def _simultaneous(row: EffectRecord) -> str:
    """Return the interval that holds for all targets together; of an earlier version's run the single one."""
    return _interval(row.get("delta_ci_simultaneous") or row["delta_ci95"], points)


def p_discrete(row: EffectRecord) -> float:
    """Return the p-value that marks a target on its map; runs of earlier versions hold plain Holm's alone."""
    p = row.get("p_discrete")
    return row["p_adjusted"] if p is None else p


def _shrunken(row: EffectRecord) -> str:
    shrunken = row.get("delta_shrunken")
    return "-" if shrunken is None else points(shrunken)


def _plain_text(row: ControlTargetRecord | None) -> str:
    return "-" if row is None or row["delta"] is None else f"{row['delta']:+.3f}"


_TEXTS: Mapping[Column, Callable[[EffectRecord], str]] = {
    "points": lambda row: points(row["delta"]),
    "points_shrunken": _shrunken,
    "points_ci": _simultaneous,
    "flips_to_wrong": lambda row: f"{row['flips_to_wrong']:,}",
    "flips_to_right": lambda row: f"{row['flips_to_right']:,}",
    "p_discrete": lambda row: p_value(p_discrete(row)),
    "p_page": lambda row: p_value(row.get("p_page")),
    "nats": lambda row: nats(row["delta_logprob"]),
    "median": lambda row: nats(row.get("median_logprob")),
    "median_ci95": lambda row: _interval(row.get("median_logprob_ci95"), nats),
    "logprob_p_discrete": lambda row: p_value(row.get("logprob_p_discrete")),
}
