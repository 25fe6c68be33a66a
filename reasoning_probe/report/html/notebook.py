"""A run in a notebook's cell: the findings, the page's maps in a frame, the strongest targets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from markupsafe import Markup

from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.html.cards import cards_html
from reasoning_probe.report.html.content_policy import content_policy
from reasoning_probe.report.html.head_maps import maps_html
from reasoning_probe.report.html.ranking import ranked_html
from reasoning_probe.report.html.rendering import inline_svg, render
from reasoning_probe.report.html.script_data import script_data
from reasoning_probe.report.html.tables import Picture
from reasoning_probe.report.ranking import SUMMARY_COLUMNS, Ranking, ranking
from reasoning_probe.report.sentences import accuracy_sentence, sentences
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import OneLineError, pluralise, quoted

MOST_TARGETS = 10

MEASURES = {"accuracy": ACCURACY, "logprob": LOGPROB}

_numbers = count()  # figures of one notebook must not share their ids


@dataclass(frozen=True)
class _Group:
    """The strongest targets on one dataset under one ablation, with their map where single heads were off."""

    title: str
    map: Picture | None
    caption: str
    ranking: Ranking


def group_of(run: Run, ablation: str | None = None) -> EffectGroup:
    """Return the effects under *ablation* (the first there is); ``ValueError`` where nothing was switched off."""
    effect_groups = groups(run)
    if not effect_groups:
        raise OneLineError("nothing was switched off: sweep with targets=None for every head, or name some")
    known = [group.ablation for group in effect_groups]
    if ablation is not None and ablation not in known:
        raise OneLineError(f"no target was measured with the ablation {quoted(ablation)}: use {' or '.join(known)}")
    return effect_groups[0 if ablation is None else known.index(ablation)]


def head_map(run: Run, group: EffectGroup, measure: str) -> SvgFigure:
    """Return the map of *measure*, ``accuracy`` or ``logprob``. Raises ``ValueError`` where there is no single head."""
    if not isinstance(measure, str) or measure not in MEASURES:
        raise OneLineError(f"unknown measure {quoted(measure)}: use {' or '.join(MEASURES)}")
    figures = GroupFigures(run, group, next(_numbers))
    if not figures.cells:
        raise OneLineError("no single head was switched off: the map shows targets such as L3H7")
    return figures.heatmap(MEASURES[measure], measure)


def notebook_html(run: Run) -> str:
    """Return the run as one HTML element, everything in it escaped.

    The page's maps, whose cells open a dialog, stand in a frame that may run their script and nothing else. A viewer
    that drops frames shows them as pictures.
    """
    effect_groups = groups(run)
    several = len(effect_groups) > 1
    fragment = render(
        "notebook",
        accuracy=accuracy_sentence(run),
        sentences=sentences(run),
        document=notebook_page(run),
        groups=[_group(run, group, several) for group in effect_groups],
    )
    return str(fragment)


def notebook_page(run: Run) -> str:
    """Return the document of the notebook's frame, which loads nothing; empty where *run* has no map."""
    maps = maps_html(run)
    if not maps:
        return ""
    noun = "heads" if all(group.noun == "head" for group in groups(run)) else "targets"
    parts = render(
        "notebook_page",
        maps=maps,
        cards=cards_html(run),
        ranking=ranked_html(run),
        targets=noun,
        script_data=Markup(script_data(run)),
    )
    title = f"reasoning-probe: {run.summary['model']['name']}"
    return str(render("frame", title=title, policy=content_policy(), content=parts))


def _group(run: Run, group: EffectGroup, several: bool) -> _Group:
    figures = GroupFigures(run, group, next(_numbers))
    picture = None
    if figures.cells:
        measure = LOGPROB if group.finding == "floor" else ACCURACY
        caption = f"{measure.name} in {measure.unit}; red loses, blue gains, ○ is significant"
        picture = Picture(inline_svg(figures.heatmap(measure, "n")), caption)
    table = ranking(group, SUMMARY_COLUMNS, MOST_TARGETS)
    more = f"; the strongest {len(table.rows)}" if len(group.rows) > len(table.rows) else ""
    return _Group(
        title=f"{group.dataset}, {group.ablation} ablation" if several else group.dataset,
        map=picture,
        caption=f"{pluralise(len(group.rows), group.noun)} over {pluralise(group.items, 'item')}{more}",
        ranking=table,
    )
