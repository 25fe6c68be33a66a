"""The effects of each target as HTML: a dataset's maps with their numbers, categories, layers, the curve, circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from markupsafe import Markup

from reasoning_probe.report.effects import EffectGroup, Finding, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB, Measure
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.format import nats, points
from reasoning_probe.report.html.circuits import circuits_html
from reasoning_probe.report.html.curves import curve_html
from reasoning_probe.report.html.paths import paths_html
from reasoning_probe.report.html.rendering import inline_svg, minus, render
from reasoning_probe.report.html.tables import Picture, Table
from reasoning_probe.results.naming import moves_logprob, significant
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.target_names import part_name

MOST_LISTED = 300
"""Targets listed with the categories of their mistakes; ``run.json`` has every one."""

_SHORT: dict[Finding, str] = {
    "none": "none significant",
    "few_right": "too few right answers to tell",
    "few_items": "too few items to tell",
    "floor": "not measurable, baseline 0 %",
}
_NOUNS = {"H": "head", "K": "key/value group", "M": "MLP"}
"""What a column of a map is, by its first letter."""


@dataclass(frozen=True)
class GroupLabel:
    """The line that a dataset's part opens by; *ablation* is empty where the run has one only."""

    dataset: str
    ablation: str
    finding: str


@dataclass(frozen=True)
class _Cell:
    """One target's changes, ready to print."""

    accuracy: str
    logprob: str


@dataclass(frozen=True)
class _LayerRow:
    """One layer's cells, ``None`` where nothing was measured, and the mean of its heads."""

    layer: int
    cells: Sequence[_Cell | None]
    mean: str


@dataclass(frozen=True)
class _Numbers:
    """The numbers of the maps, a row a layer."""

    columns: list[str]
    rows: Sequence[_LayerRow]


@dataclass(frozen=True)
class _Maps:
    """The maps; there is none of the accuracy where no baseline answer is right, and none of patches without any."""

    accuracy: Picture | None
    patched: Picture | None
    logprob: Picture
    numbers: _Numbers


@dataclass(frozen=True)
class _Shifts:
    """A small map for each category of mistakes that changes, and their numbers."""

    pictures: Sequence[Picture]
    numbers: Table


@dataclass(frozen=True)
class _Layers:
    """The bars of the layers and their numbers."""

    picture: Picture
    numbers: Table


@dataclass(frozen=True)
class _Panel:
    """What the page shows of one dataset under one ablation."""

    label: GroupLabel
    open: bool
    maps: _Maps | None
    shifts: _Shifts | None
    layers: _Layers | None
    curve: Markup
    paths: Markup
    circuits: Markup


def maps_html(run: Run) -> Markup:
    """Return the maps, a dataset at a time; the most telling one is open."""
    effect_groups = groups(run)
    order = get_args(Finding)
    opened = min(effect_groups, key=lambda group: order.index(group.finding), default=None)
    panels = []
    for index, group in enumerate(effect_groups):
        figures = GroupFigures(run, group, index)
        further = (curve_html(figures), paths_html(run, group, index), circuits_html(run, group))
        parts = (_maps(figures), _shifts(figures), _layers(figures), *further)
        panels.append(_Panel(group_label(group, effect_groups), group is opened, *parts))
    return render("maps", panels=panels)


def group_label(group: EffectGroup, effect_groups: Sequence[EffectGroup]) -> GroupLabel:
    """Return the line that *group*'s part opens by, one of *effect_groups*."""
    several = len({other.ablation for other in effect_groups}) > 1
    finding = f"{len(group.marked)} significant" if group.marked else _SHORT[group.finding]
    return GroupLabel(group.dataset, group.ablation if several else "", finding)


def _maps(figures: GroupFigures) -> _Maps | None:
    if not figures.cells:
        return None
    accuracy = _map(figures, ACCURACY, "a") if figures.group.finding != "floor" else None
    patched = None if figures.patched is None else _map(figures, figures.patched, "p")
    return _Maps(accuracy, patched, _map(figures, LOGPROB, "l"), _numbers(figures))


def _map(figures: GroupFigures, measure: Measure, letter: str) -> Picture:
    incomplete = len(figures.cells) < len(figures.layers) * len(figures.columns)
    nouns = list(dict.fromkeys(_NOUNS[column[0]] for column in figures.columns))
    cell = nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"
    untestable = figures.untestable(measure)
    marked = f"{untestable}, so pale" if untestable else "○ is significant (discrete Holm, 0.025)"
    caption = f"{measure.name} in {measure.unit} with one {cell} off. Red loses, blue gains, {marked}." + (
        f" Hatched: {figures.why_hatched}." if incomplete else ""
    )
    return Picture(inline_svg(figures.heatmap(measure, letter)), caption, figures.index)


def _numbers(figures: GroupFigures) -> _Numbers:
    rows = [
        _LayerRow(
            layer,
            [_cell(figures.cells.get((layer, column))) for column in figures.columns],
            _points_of(layer, figures.means),
        )
        for layer in figures.layers[: plots.MOST_CELLS // max(1, len(figures.columns))]
    ]
    return _Numbers(figures.columns, rows)


def _cell(effect: EffectRecord | None) -> _Cell | None:
    if effect is None:
        return None
    return _Cell(
        minus(points(effect["delta"])) + "*" * significant(effect),
        minus(nats(effect["delta_logprob"])) + "*" * moves_logprob(effect),
    )


def _points_of(layer: int, changes: Mapping[int, float]) -> str:
    return minus(points(changes[layer])) if layer in changes else "-"


def _shifts(figures: GroupFigures) -> _Shifts | None:
    measures = figures.shifts
    if not measures:
        return None
    pictures = [
        Picture(inline_svg(figure), f"{category}: red more, blue fewer", figures.index)
        for category, figure in figures.shift_maps().items()
    ]
    moved = [effect for effect in figures.group.rows if any((effect.get("shift") or {}).values())]
    rows = [
        (effect["target"], *(minus(measure.text(effect)) for measure in measures.values()))
        for effect in moved[:MOST_LISTED]
    ]
    caption = "Change in the number of wrong answers of each category with the target off"
    return _Shifts(pictures, Table(caption, [figures.group.noun, *measures], rows, names=1))


def _layers(figures: GroupFigures) -> _Layers | None:
    bars = figures.layer_bars()
    if bars is None:
        return None
    means, whole = figures.means, figures.whole
    caption = "Mean accuracy change of a layer's heads, in points." if means else "Accuracy change by layer, in points."
    if whole:
        caption += " ◆ is the layer switched off as a whole."
    columns = {"mean of its heads": means, "the whole layer": whole}
    columns = {head: changes for head, changes in columns.items() if changes}
    rows = [
        (part_name(layer), *(_points_of(layer, changes) for changes in columns.values()))
        for layer in figures.layers
        if any(layer in changes for changes in columns.values())
    ]
    return _Layers(
        Picture(inline_svg(bars), caption), Table("Accuracy change in points, by layer", ["layer", *columns], rows)
    )
