"""The figures of a run, drawn by matplotlib: the map of heads, layers, curves, mistakes, accuracy over several runs.

Nothing that a model or a dataset wrote reaches matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from reasoning_probe.report.effects import by_cell, in_layer_order
from reasoning_probe.report.figures.figure import INK, SvgFigure, new_figure
from reasoning_probe.report.figures.measures import Measure
from reasoning_probe.results.record import CurvePointRecord, EffectRecord
from reasoning_probe.scoring.error_categories import BY_NAME
from reasoning_probe.utils.target_names import layer_of, part_name
from reasoning_probe.utils.text import pluralise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

OTHER_COLOUR = "#8A8A8A"
"""The colour of categories that are not in the table: a project may add its own by a hook."""
COLOURS = (*dict.fromkeys(category.colour for category in BY_NAME.values()), OTHER_COLOUR)
"""All colours of categories."""
LARGEST = 1e300
"""The end of a colour bar at most: twice as much is still a number."""

MOST_CELLS = 4096
"""Larger maps, and layers and heads beyond this number, are not drawn; only a damaged file holds so many."""

_UNMEASURED = "#8a8b8c"
_LOSS, _GAIN = "#c4321f", "#1f6fb4"
"""The ends of the colours; red and blue stay apart for colour-blind readers."""
_MUTED = 0.3
"""How opaque the strongest cell is of a map on which nothing can be significant."""


def heatmap(
    rows: Sequence[EffectRecord],
    layers: Sequence[int],
    columns: Sequence[str],
    *,
    measure: Measure,
    name: str,
    title: str,
    description: str,
    most_cell: float = 0.6,
    limit: float | None = None,
    wide: bool = False,
    untestable: str = "",
) -> SvgFigure:
    """Return the layer x head map of *measure* over *rows*; cells without a row are hatched as unmeasured.

    *layers* are the model's attention layers and *columns* the parts of a layer: ``H0``, ``KV1``, ``MLP``; *most_cell*
    is the side of a cell in inches where there is room, and a *wide* map's cells are up to twice as wide. The
    colours reach from minus *limit* to *limit*, by default the largest of the values; maps that stand side by side
    share one. Zero is transparent, so that it has the page's own colour, light or dark. *untestable* says why no cell
    can be significant: such a map is pale, and the words stand across it. *name* makes the ids of a page's pictures
    differ. ``data-grid`` of the picture is the map's box: left, top, width and height in the picture's units, and
    ``data-layers`` and ``data-columns`` what it holds: the page's script finds the cell under the pointer by them.
    """
    columns = list(columns)[:MOST_CELLS] or ["H0"]
    layers = list(layers)[: MOST_CELLS // len(columns)] or [0]
    cells = _measured_cells(rows, layers, columns, measure)
    limit = min(LARGEST, limit or max([abs(value) for _, value in cells.values()] + [measure.narrowest]))
    cell_wide, cell_high = _cell_size(len(layers), len(columns), most_cell, wide)
    map_wide, map_high = max(1.1, cell_wide * len(columns)), max(0.8, cell_high * len(layers))
    left, top, right, bottom = 0.5, 0.1, 0.95, 0.32  # the margins, in inches
    size = (left + map_wide + right, top + map_high + bottom)
    with new_figure(size) as figure:
        axes = figure.add_axes((left / size[0], bottom / size[1], map_wide / size[0], map_high / size[1]))
        colours = _colours(measure, _MUTED if untestable else 1.0)
        _draw_cells(axes, cells, (len(layers), len(columns)), limit, colours)
        for (y, x), (row, _) in cells.items():
            if measure.marked(row):
                axes.plot(x, y, marker="o", markersize=min(10, 26 * cell_high), mfc="white", mec="black", mew=1.4)
        _ticks(axes, "x", columns, most=max(1, int(map_wide / (0.32 if columns[-1].startswith("H") else 0.42))))
        _ticks(axes, "y", [part_name(layer) for layer in layers], most=max(1, int(map_high / 0.2)))
        _draw_grid(axes, len(layers), len(columns))
        if untestable:
            _write_across(axes, untestable, map_wide)
        tall = min(map_high, 2.4)
        bar = figure.add_axes(
            ((left + map_wide + 0.15) / size[0], (bottom + map_high - tall) / size[1], 0.13 / size[0], tall / size[1])
        )
        _draw_colour_bar(bar, limit, measure, colours)
        box = " ".join(f"{72 * side:.2f}" for side in (left, top, map_wide, map_high))
        attributes = (
            f' data-grid="{box}" data-columns="{" ".join(columns)}" data-layers="{" ".join(map(str, layers))}"'
            f' class="{"rp-map-whole" if 72 * size[0] < _NARROW_PX else "rp-map"}"'
        )
        return SvgFigure(figure, name, title, description, attributes)


def _cell_size(layers: int, columns: int, most: float, wide: bool) -> tuple[float, float]:
    """Return the width and height of a map's cell in inches, *most* each, or twice as wide on a *wide* map."""
    if wide:
        return min(2 * most, 7.0 / columns), min(most, 7.5 / layers)
    side = min(most, 5.6 / columns, 7.5 / layers)
    return side, side


def _measured_cells(
    rows: Sequence[EffectRecord], layers: Sequence[int], columns: Sequence[str], measure: Measure
) -> dict[tuple[int, int], tuple[EffectRecord, float]]:
    """Return the effects on the map by (index of the layer, index of the column), each with its value of *measure*."""
    row_of = {layer: index for index, layer in enumerate(layers)}
    column_of = {column: index for index, column in enumerate(columns)}
    return {
        (row_of[layer], column_of[column]): (row, value)
        for (layer, column), row in by_cell(rows).items()
        if layer in row_of and column in column_of and (value := measure.value(row)) is not None
    }


_NARROW_PX = 416
"""26 rem: a map up to this width is never made smaller to fit a screen, and a wider one not below it."""


def _colours(measure: Measure, opaque: float) -> Colormap:
    """Return the colours in which red is what is worse and zero is transparent; the ends are *opaque*, 0 to 1."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    low, high = (_LOSS, _GAIN) if measure.good > 0 else (_GAIN, _LOSS)
    ends = (to_rgba(low, opaque), to_rgba(low, 0.0), to_rgba(high, 0.0), to_rgba(high, opaque))
    return LinearSegmentedColormap.from_list("effects", list(zip((0.0, 0.5, 0.5, 1.0), ends, strict=True)))


def _draw_cells(
    axes: Axes,
    cells: Mapping[tuple[int, int], tuple[EffectRecord, float]],
    shape: tuple[int, int],
    limit: float,
    colours: Colormap,
) -> None:
    """Colour the *cells* of a map of *shape*, (layers, columns); those that were not measured are hatched."""
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    values = np.full(shape, np.nan)
    for cell, (_, value) in cells.items():
        values[cell] = value
    corners = Path.unit_rectangle().vertices
    unmeasured = [np.add(corners, (x - 0.5, y - 0.5)) for y, x in np.argwhere(np.isnan(values))]
    if unmeasured:
        squares = Path.make_compound_path(*(Path(square, closed=True) for square in unmeasured))
        axes.add_patch(PathPatch(squares, fill=False, hatch="////", ec=_UNMEASURED, lw=0, zorder=-1))
    axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, vmin=-limit, vmax=limit, interpolation="none", aspect="auto"
    )


def _write_across(axes: Axes, words: str, wide: float) -> None:
    """Write *words* across a map that is *wide* inches, a word a line where they are too long for one."""
    text = words if 0.09 * len(words) < wide else words.replace(" ", "\n")
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=12, fontweight="bold")


def _draw_grid(axes: Axes, layers: int, columns: int) -> None:
    """Draw the lines between the cells and around the map."""
    axes.tick_params(length=0)
    axes.set_xticks([index - 0.5 for index in range(1, columns)], minor=True)
    axes.set_yticks([index - 0.5 for index in range(1, layers)], minor=True)
    axes.grid(which="minor", color=_UNMEASURED, linewidth=0.3)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set(color=_UNMEASURED, linewidth=0.6)


def _draw_colour_bar(axes: Axes, limit: float, measure: Measure, colours: Colormap) -> None:
    """Fill *axes*, which stand beside the map, with its colours; both ends and zero have their number."""
    import numpy as np

    axes.imshow(
        np.linspace(limit, -limit, 64)[:, None],
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        extent=(0, 1, -limit, limit),
        interpolation="none",
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_yticks([-limit, 0, limit], [f"{-limit:+.3g}", "0", f"{limit:+.3g}"])
    axes.set_ylabel(measure.unit)
    axes.spines[:].set(color=_UNMEASURED, linewidth=0.6)


def layer_means(rows: Sequence[EffectRecord], layers: Sequence[int]) -> dict[int, float]:
    """Return the mean accuracy change of the measured heads of each layer that has any."""
    by_layer: dict[int, list[float]] = {}
    for (layer, _), row in in_layer_order(rows).items():
        by_layer.setdefault(layer, []).append(row["delta"])
    return {layer: sum(by_layer[layer]) / len(by_layer[layer]) for layer in layers if layer in by_layer}


def whole_layers(rows: Sequence[EffectRecord], layers: Sequence[int]) -> dict[int, float]:
    """Return the accuracy change of each layer that was switched off as a whole."""
    return {layer: row["delta"] for row in rows if (layer := layer_of(row["target"])) in layers and layer is not None}


def layer_bars(
    means: Mapping[int, float],
    whole: Mapping[int, float],
    layers: Sequence[int],
    *,
    name: str,
    title: str,
    description: str,
) -> SvgFigure:
    """Return a bar for each layer, the mean effect of its heads, and a diamond for each layer off as a whole."""
    layers = list(layers)[:MOST_CELLS]
    size = (max(3.2, min(6.4, 0.3 * len(layers) + 1.2)), 2.2)
    with new_figure(size) as figure:
        axes = figure.add_axes((0.75 / size[0], 0.35 / size[1], 1 - 0.85 / size[0], 1 - 0.5 / size[1]))
        axes.axhline(0, color=INK, linewidth=0.8)
        bars = [100 * means.get(layer, 0.0) for layer in layers]
        axes.bar(range(len(layers)), bars, color=["#D6604D" if value < 0 else "#4393C3" for value in bars], width=0.7)
        for index, layer in enumerate(layers):
            if layer in whole:
                axes.plot(index, 100 * whole[layer], marker="D", markersize=6, mfc="#F4A300", mec=INK)
        _ticks(axes, "x", [part_name(layer) for layer in layers], most=16)
        axes.set_ylabel("points")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.margins(y=0.12)
        return SvgFigure(figure, name, title, description)


def curve(lines: Mapping[str, Sequence[CurvePointRecord]], *, name: str, title: str, description: str) -> SvgFigure:
    """Return accuracy against the number of heads, a line with its 95 % band for each of *lines*.

    A line's points carry ``heads``, ``accuracy`` and ``ci95``.
    """
    from matplotlib.ticker import MaxNLocator

    styles = zip(("#D55E00", "#0072B2"), ("o", "s"), ("-", "--"), strict=True)
    with new_figure((5.4, 2.7)) as figure:
        axes = figure.add_axes((0.12, 0.18, 0.86, 0.78))
        for (label, line_points), (colour, marker, dashes) in zip(lines.items(), styles, strict=False):
            heads = [point["heads"] for point in line_points]
            low, high = ([100 * point["ci95"][end] for point in line_points] for end in (0, 1))
            axes.fill_between(heads, low, high, color=colour, alpha=0.18, linewidth=0)
            accuracy = [100 * point["accuracy"] for point in line_points]
            axes.plot(heads, accuracy, dashes, color=colour, marker=marker, markersize=5, label=label)
        axes.set_ylim(-3, 103)
        axes.set_xlabel("heads")
        axes.set_ylabel("accuracy in %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor="linecolor")
        return SvgFigure(figure, name, title, description)


def history_lines(
    lines: Mapping[str, Sequence[tuple[float, float, float] | None]],
    runs: Sequence[str],
    *,
    name: str,
    title: str,
    description: str,
) -> SvgFigure:
    """Return accuracy by run, a line with its 95 % bars for each of *lines*; points are (accuracy, low, high) or none.

    Accuracies are fractions. The first datasets have colours and signs of their own.
    """
    styles = zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9"), "osD^vP", strict=True)
    with new_figure((6.4, 3.0)) as figure:
        axes = figure.add_axes((0.1, 0.1, 0.66, 0.86))
        for number, ((label, line), (colour, marker)) in enumerate(zip(lines.items(), styles, strict=False)):
            aside = 0.06 * (number - (min(len(lines), 6) - 1) / 2)  # so that no bar hides another
            known = [(place + aside, 100 * a, 100 * (a - b), 100 * (c - a)) for place, (a, b, c) in _known(line)]
            places, accuracy, below, above = zip(*known, strict=True) if known else ((), (), (), ())
            axes.errorbar(
                places, accuracy, yerr=(below, above), color=colour, marker=marker, markersize=5, capsize=3, label=label
            )
        axes.set_ylim(-3, 103)
        axes.set_xlim(-0.4, len(runs) - 0.6)
        axes.set_ylabel("accuracy in %")
        _ticks(axes, "x", runs, most=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor="linecolor", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return SvgFigure(figure, name, title, description)


def _known(
    line: Sequence[tuple[float, float, float] | None],
) -> list[tuple[int, tuple[float, float, float]]]:
    return [(place, point) for place, point in enumerate(line) if point is not None]


def error_pie(counts: Mapping[str, int], *, name: str, title: str, description: str) -> SvgFigure:
    """Return a pie of wrong answers by category; each slice shows its count, and the page lists the names."""
    total = sum(counts.values())
    with new_figure((2.3, 2.3)) as figure:
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        axes.pie(
            [number for _, number in counts.items()],
            colors=[category_colour(category) for category, _ in counts.items()],
            labels=[f"{number:,}" if number >= 0.07 * total else "" for _, number in counts.items()],
            labeldistance=0.62,
            startangle=90,
            counterclock=False,
            textprops={"ha": "center", "va": "center", "color": "black", "fontsize": 11},
            wedgeprops={"edgecolor": "white", "linewidth": 1.5},
        )
        return SvgFigure(figure, name, title, description)


def category_colour(category: str) -> str:
    """Return the colour of an error category."""
    return BY_NAME[category].colour if category in BY_NAME else OTHER_COLOUR


def _ticks(axes: Axes, side: Literal["x", "y"], labels: Sequence[str], most: int) -> None:
    step = -(-len(labels) // most) or 1
    positions = range(0, len(labels), step)
    (axes.set_xticks if side == "x" else axes.set_yticks)(positions, [labels[index] for index in positions])


def describe(rows: Sequence[EffectRecord], measure: Measure) -> str:
    """Describe in words what a map of *rows* shows."""
    cells = [(value, row) for row in by_cell(rows).values() if (value := measure.value(row)) is not None]
    if not cells:
        return "No single head was measured."
    marked = [row["target"] for _, row in cells if measure.marked(row)]
    ends = [ends(cells, key=lambda cell: cell[0])[1] for ends in (min, max)]
    lowest, highest = (f"{row['target']} {measure.text(row)}" for row in ends)
    return (
        f"{pluralise(len(cells), 'head')}, from {lowest} to {highest} {measure.unit};"
        f" significant: {', '.join(marked[:10]) or 'none'}{' and more' if len(marked) > 10 else ''}."
    )
