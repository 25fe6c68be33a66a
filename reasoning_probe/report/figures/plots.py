"""The figures of a run, drawn by matplotlib: the map of heads, the layers, the cumulative curve, the mistakes.

Nothing that a model or a dataset wrote reaches matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from reasoning_probe.report.effects import Row, by_cell, in_layer_order, layer_of
from reasoning_probe.report.figures.figure import INK, SvgFigure, new_figure
from reasoning_probe.report.figures.measures import Measure
from reasoning_probe.scoring.error_categories import BY_NAME
from reasoning_probe.utils.text import pluralise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OTHER_COLOUR = "#8A8A8A"
"""The colour of categories that are not in the table: a project may add its own by a hook."""
MOST_CELLS = 4096
"""Larger maps, and layers and heads beyond them, are not drawn; only a damaged file asks for them."""

_UNMEASURED = "#8a8b8c"
_DIVERGING = "RdBu"  # ColorBrewer's; red and blue stay apart for colour-blind readers


def heatmap(
    rows: Sequence[Row],
    layers: Sequence[int],
    columns: Sequence[str],
    *,
    measure: Measure,
    name: str,
    title: str,
    description: str,
    most_cell: float = 0.6,
) -> SvgFigure:
    """Return the layer x head map of *measure* over *rows*; cells of which none is there are marked unmeasured.

    *layers* are the model's attention layers and *columns* the parts of a layer: ``H0``, ``KV1``, ``MLP``; *most_cell*
    is the side of a cell in inches where there is room. *name* makes the ids of a page's pictures differ. ``data-grid``
    of the picture is the map's box: left, top, width and height in the picture's units, and ``data-layers`` and
    ``data-columns`` what it holds: the page's script finds the cell under the pointer by them.
    """
    import numpy as np
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    columns = list(columns)[:MOST_CELLS] or ["H0"]
    wanted = len(columns)
    layers = list(layers)[: MOST_CELLS // wanted] or [0]
    at = {layer: index for index, layer in enumerate(layers)}
    place = {column: index for index, column in enumerate(columns)}
    measured = {
        (at[layer], place[column]): (row, value)
        for (layer, column), row in by_cell(rows).items()
        if layer in at and column in place and (value := measure.value(row)) is not None
    }
    values = np.full((len(layers), wanted), np.nan)
    for cell, (_, value) in measured.items():
        values[cell] = value
    limit = max([abs(value) for _, value in measured.values()] + [measure.narrowest])
    cell_in = min(most_cell, 5.6 / wanted, 7.5 / len(layers))
    wide, high = max(1.1, cell_in * wanted), max(0.8, cell_in * len(layers))
    left, top, right, bottom = 0.5, 0.1, 0.95, 0.32  # the margins, in inches
    size = (left + wide + right, top + high + bottom)
    with new_figure(size) as figure:
        axes = figure.add_axes((left / size[0], bottom / size[1], wide / size[0], high / size[1]))
        bare = Rectangle((-0.5, -0.5), wanted, len(layers), fill=False, hatch="////", ec=_UNMEASURED, lw=0, zorder=-1)
        axes.add_patch(bare)  # what no cell covers stays hatched: not measured
        colours = _DIVERGING if measure.good > 0 else f"{_DIVERGING}_r"
        axes.imshow(
            np.ma.masked_invalid(values), cmap=colours, vmin=-limit, vmax=limit, interpolation="none", aspect="auto"
        )
        for (y, x), (row, _) in measured.items():
            if measure.marked(row):
                axes.plot(x, y, marker="o", markersize=min(10, 26 * cell_in), mfc="white", mec="black", mew=1.4)
        _ticks(axes, "x", columns, most=max(1, int(wide / (0.32 if columns[-1].startswith("H") else 0.42))))
        _ticks(axes, "y", [f"L{layer}" for layer in layers], most=max(1, int(high / 0.2)))
        axes.tick_params(length=0)
        axes.set_xticks([index - 0.5 for index in range(1, wanted)], minor=True)
        axes.set_yticks([index - 0.5 for index in range(1, len(layers))], minor=True)
        axes.grid(which="minor", color=_UNMEASURED, linewidth=0.3)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set(color=_UNMEASURED, linewidth=0.6)
        tall = min(high, 2.4)
        bar = figure.add_axes(
            ((left + wide + 0.15) / size[0], (bottom + high - tall) / size[1], 0.13 / size[0], tall / size[1])
        )
        bar.imshow(
            np.linspace(limit, -limit, 64)[:, None],
            cmap=colours,
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            extent=(0, 1, -limit, limit),
            interpolation="none",
        )
        bar.set_xticks([])
        bar.yaxis.tick_right()
        bar.yaxis.set_label_position("right")
        bar.yaxis.set_major_locator(MaxNLocator(4, symmetric=True, integer=measure.unit == "items"))
        bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
        bar.set_ylabel(measure.unit)
        bar.spines[:].set_visible(False)
        box = [72 * side for side in (left, top, wide, high)]
        grid = (
            f' data-grid="{" ".join(f"{side:.2f}" for side in box)}" data-columns="{" ".join(columns)}"'
            f' data-layers="{" ".join(map(str, layers))}" style="min-width:min({72 * size[0]:.0f}px,26rem)"'
        )
        return SvgFigure(figure, name, title, description, grid)


def layer_means(rows: Sequence[Row], layers: Sequence[int]) -> dict[int, float]:
    """Return the mean accuracy change of the measured heads of each layer that has any."""
    by_layer: dict[int, list[float]] = {}
    for (layer, _), row in in_layer_order(rows).items():
        by_layer.setdefault(layer, []).append(row["delta"])
    return {layer: sum(by_layer[layer]) / len(by_layer[layer]) for layer in layers if layer in by_layer}


def whole_layers(rows: Sequence[Row], layers: Sequence[int]) -> dict[int, float]:
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
    """Return a bar a layer, the mean effect of its heads, and a diamond where the layer was switched off as a whole."""
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
        _ticks(axes, "x", [f"L{layer}" for layer in layers], most=16)
        axes.set_ylabel("points")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.margins(y=0.12)
        return SvgFigure(figure, name, title, description)


def curve(lines: Mapping[str, Sequence[Mapping[str, Any]]], *, name: str, title: str, description: str) -> SvgFigure:
    """Return accuracy against the number of heads, a line with its 95 % band for each of *lines*.

    A line's points carry ``heads``, ``accuracy`` and ``ci95``.
    """
    from matplotlib.ticker import MaxNLocator

    styles = zip(("#D55E00", "#0072B2"), ("o", "s"), ("-", "--"), strict=True)
    with new_figure((5.4, 2.7)) as figure:
        axes = figure.add_axes((0.12, 0.18, 0.86, 0.78))
        for (label, found), (colour, marker, dashes) in zip(lines.items(), styles, strict=False):
            heads = [point["heads"] for point in found]
            low, high = ([100 * point["ci95"][end] for point in found] for end in (0, 1))
            axes.fill_between(heads, low, high, color=colour, alpha=0.18, linewidth=0)
            accuracy = [100 * point["accuracy"] for point in found]
            axes.plot(heads, accuracy, dashes, color=colour, marker=marker, markersize=5, label=label)
        axes.set_ylim(-3, 103)
        axes.set_xlabel("heads")
        axes.set_ylabel("accuracy in %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor="linecolor")
        return SvgFigure(figure, name, title, description)


def error_pie(counts: Mapping[str, int], *, name: str, title: str, description: str) -> SvgFigure:
    """Return a pie of wrong answers by category; each slice carries its count, the page beside it the names."""
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
    at = range(0, len(labels), step)
    (axes.set_xticks if side == "x" else axes.set_yticks)(at, [labels[index] for index in at])


def describe(rows: Sequence[Row], measure: Measure) -> str:
    """Return in words what a map of *rows* shows."""
    cells = [(value, row) for row in by_cell(rows).values() if (value := measure.value(row)) is not None]
    if not cells:
        return "No single head was measured."
    marked = [row["target"] for _, row in cells if measure.marked(row)]
    ends = [ends(cells, key=lambda cell: cell[0])[1] for ends in (min, max)]
    lowest, highest = (f"{row['target']} {measure.shown(row)}" for row in ends)
    return (
        f"{pluralise(len(cells), 'head')}, from {lowest} to {highest} {measure.unit};"
        f" significant: {', '.join(marked[:10]) or 'none'}{' and more' if len(marked) > 10 else ''}."
    )
