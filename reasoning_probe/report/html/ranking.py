"""The ranked targets of a run as HTML tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning_probe.report.effects import EffectGroup, groups, significant
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.html.head_maps import GroupLabel, group_label
from reasoning_probe.report.html.rendering import minus, nonbreaking, render
from reasoning_probe.results.record import ControlTargetRecord, EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise

MOST_RANKED = 20
"""Rows of a table of ranked targets; the next ones open beneath it."""
MOST_LISTED = 300
"""Rows in all; ``run.json`` has every one."""
HARMS_NEUTRAL_TEXT = -0.1
"""Nats a token, a tenth more surprise, from which a target is said to harm plain text as well as reasoning."""

_HEAD = (
    "accuracy (points)",
    "95 % interval",
    "right to wrong",
    "wrong to right",
    "p, McNemar",
    "p, Holm",
    "q, B-H",
    "log-prob. (nats)",
    "its interval",
    "its p, Holm",
)

Controls = Mapping[tuple[str, str], ControlTargetRecord]
"""The control task by target and ablation."""


@dataclass(frozen=True)
class _RankedTarget:
    """A row: *change* is the accuracy's, a fraction, and *cells* are the columns right of it, ready to print."""

    target: str
    significant: bool
    change: float
    cells: Sequence[str]
    neutral: str
    harms_neutral: bool


@dataclass(frozen=True)
class _Ranking:
    """The targets of one dataset under one ablation, the strongest first; *index* is the number of its map."""

    label: GroupLabel
    index: int
    open: bool
    head: Sequence[str]
    with_control: bool
    caption: str
    first: Sequence[_RankedTarget]
    rest_caption: str
    rest: Sequence[_RankedTarget]


def ranked_html(run: Run) -> Markup:
    """Return the tables of the strongest targets; empty where nothing was switched off."""
    effect_groups = groups(run)
    opened = [group for group in effect_groups if group.significant] or effect_groups[:1]
    control = run.summary.get("control")
    controls = {(entry["target"], str(entry["ablation"])): entry for entry in (control["targets"] if control else [])}
    rankings = [
        _ranking(group, group_label(group, effect_groups), index, group in opened, controls)
        for index, group in enumerate(effect_groups)
    ]
    return render("ranking", rankings=rankings)


def _ranking(group: EffectGroup, label: GroupLabel, index: int, opened: bool, controls: Controls) -> _Ranking:
    rows = [
        _ranked_target(effect, controls.get((effect["target"], group.ablation))) for effect in group.rows[:MOST_LISTED]
    ]
    first, rest = rows[:MOST_RANKED], rows[MOST_RANKED:]
    cut = f"; the {MOST_RANKED} strongest of {len(group.rows):,}" if rest else ""
    left = f"; {len(group.rows) - len(rows):,} more are in run.json" if len(group.rows) > len(rows) else ""
    return _Ranking(
        label,
        index,
        opened,
        head=[group.noun, *_HEAD, *(["neutral text (nats a token)"] if controls else [])],
        with_control=bool(controls),
        caption=f"{group.dataset}: {pluralise(group.items, 'item')}, paired with the baseline, intervals at 95 %{cut}",
        first=first,
        rest_caption=f"{group.dataset}: the next {len(rest):,}{left}",
        rest=rest,
    )


def _ranked_target(effect: EffectRecord, control: ControlTargetRecord | None) -> _RankedTarget:
    low, high = effect["delta_ci95"]
    spread = effect.get("delta_logprob_ci95")
    cells = (
        minus(f"{points(low)} to {points(high)}"),
        f"{effect['flips_to_wrong']:,}",
        f"{effect['flips_to_right']:,}",
        p_value(effect.get("p_value")),
        p_value(effect.get("p_adjusted")),
        p_value(effect.get("q_value")),
        minus(nats(effect["delta_logprob"])),
        minus(f"{nats(spread[0])} to {nats(spread[1])}") if spread else "-",
        p_value(effect.get("logprob_p_adjusted")),
    )
    delta = control["delta"] if control else None
    return _RankedTarget(
        effect["target"],
        significant(effect),
        effect["delta"],
        [nonbreaking(cell) for cell in cells],
        neutral="-" if delta is None else minus(f"{delta:+.3f}"),
        harms_neutral=delta is not None and delta <= HARMS_NEUTRAL_TEXT,
    )
