"""The ranked targets of a run as HTML tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning_probe.report.directions import by_head
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.forms import HEAD, form_rows
from reasoning_probe.report.html.head_maps import GroupLabel, group_label
from reasoning_probe.report.html.rendering import render
from reasoning_probe.report.html.tables import Table
from reasoning_probe.report.patching import by_target
from reasoning_probe.report.ranking import PAGE_COLUMNS, RankedTarget, control_targets, ranking
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise

MOST_RANKED = 20
"""Rows of a table of ranked targets; the next ones open beneath it."""
MOST_LISTED = 300
"""Rows in all; ``run.json`` has every one."""


@dataclass(frozen=True)
class _RankingView:
    """The targets of one dataset under one ablation, the strongest first; *index* is the number of its map.

    *address* is what follows a target in its address: the ablation, where another one comes first.
    """

    label: GroupLabel
    index: int
    address: Sequence[str]
    open: bool
    columns: Sequence[str]
    caption: str
    first: Sequence[RankedTarget]
    rest_caption: str
    rest: Sequence[RankedTarget]
    forms: Table | None


def ranked_html(run: Run) -> Markup:
    """Return the tables of the strongest targets; empty where nothing was switched off."""
    effect_groups = groups(run)
    opened = next((group for group in effect_groups if group.significant), effect_groups[0] if effect_groups else None)
    rankings = [_ranking(run, effect_groups, index, group is opened) for index, group in enumerate(effect_groups)]
    return render("ranking", rankings=rankings)


def _ranking(run: Run, effect_groups: Sequence[EffectGroup], index: int, opened: bool) -> _RankingView:
    group = effect_groups[index]
    first_of_dataset = group.dataset not in [other.dataset for other in effect_groups[:index]]
    address = [] if first_of_dataset else [group.ablation]
    table = ranking(group, PAGE_COLUMNS, MOST_LISTED, control_targets(run), by_head(run), by_target(run))
    first, rest = table.rows[:MOST_RANKED], table.rows[MOST_RANKED:]
    cut = f"; {MOST_RANKED} of {len(group.rows):,}" if rest else ""
    unlisted = len(group.rows) - len(table.rows)
    return _RankingView(
        group_label(group, effect_groups),
        index,
        address,
        opened,
        table.columns,
        caption=f"{group.dataset}: {pluralise(group.items, 'item')}; ○ is significant (discrete Holm, 0.025){cut}",
        first=first,
        rest_caption=f"{group.dataset}: the next {len(rest):,}"
        + (f"; {unlisted:,} more are in run.json" if unlisted else ""),
        rest=rest,
        forms=_forms_table(group),
    )


def _forms_table(group: EffectGroup) -> Table | None:
    """Return the effects of the named targets by the forms of the questions, where these have any."""
    rows = form_rows(group)
    caption = f"{group.dataset}: by form of the question; the test over forms counts those that lose and those that win"
    return Table(caption, [group.noun, *HEAD], rows) if rows else None
