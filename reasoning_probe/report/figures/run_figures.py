"""The pictures of a run, for its page and as files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from reasoning_probe.report.effects import EffectGroup, by_cell, columns_of, error_counts, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB, Measure, category_shift, shifted
from reasoning_probe.report.format import percent, points
from reasoning_probe.report.patching import patch_measure
from reasoning_probe.results.record import CurveRecord
from reasoning_probe.results.run import Run
from reasoning_probe.scoring.error_categories import CATEGORIES
from reasoning_probe.utils.files import atomic_write_bytes, atomic_write_text, make_folder
from reasoning_probe.utils.target_names import part_name

FOLDER = "figures"

_WIDE_CELL = 0.6
"""Inches: the cells of a map that stands alone in its place on the page."""
_CURVES = {"off": "the strongest heads off", "kept": "only the strongest heads on"}


class GroupFigures:
    """The pictures of one dataset under one ablation; *index* makes their ids differ from the others' on the page."""

    def __init__(self, run: Run, group: EffectGroup, index: int) -> None:
        self.group, self.index = group, index
        self.layers = layer_indices(run)[: plots.MOST_CELLS]
        heads = min(int(run.summary["model"]["heads"]), plots.MOST_CELLS)
        self.columns = columns_of(group.rows, heads)[: plots.MOST_CELLS]
        self.cells = by_cell(group.rows)
        self.means = plots.layer_means(group.rows, self.layers)
        self.whole = plots.whole_layers(group.rows, self.layers)
        self.shifts = {category: category_shift(category) for category in shifted(group.rows)}
        self.patched = patch_measure(run, group)
        key = (group.dataset, group.ablation)
        self.curves: list[CurveRecord] = [
            entry
            for entry in run.summary.get("curves") or []
            if (entry["dataset"], str(entry["ablation"])) == key and entry["points"]
        ][:2]
        raced = any(
            (race["dataset"], str(race["ablation"])) == key and race["stopped"]
            for race in run.summary.get("races") or ()
        )
        self.why_hatched = "stopped by the race, or not measured" if raced else "not measured"
        self.lines = {_CURVES.get(entry["kind"], str(entry["kind"])): entry["points"] for entry in self.curves}

    def untestable(self, measure: Measure) -> str:
        """Return why no head can be significant on the map of *measure*, in a few words; empty where one can be."""
        if self.group.finding == "few_items":
            return "too few items to test"
        few_right = self.group.finding == "few_right" and measure is ACCURACY
        return "too few right answers to test" if few_right else ""

    def heatmap(
        self, measure: Measure, letter: str, most_cell: float = _WIDE_CELL, limit: float | None = None
    ) -> SvgFigure:
        """Return the map of *measure*, its colours up to *limit*; *letter* makes its ids differ from other maps'.

        The maps of the whole page, with cells of the default size, use its width.
        """
        return plots.heatmap(
            self.group.rows,
            self.layers,
            self.columns,
            measure=measure,
            name=f"rp-m{self.index}{letter}",
            title=f"{measure.name} in {measure.unit}, {self.group.dataset}, by layer and head",
            description=plots.describe(self.group.rows, measure),
            most_cell=most_cell,
            limit=limit,
            wide=most_cell >= _WIDE_CELL,
            untestable=self.untestable(measure) if most_cell >= _WIDE_CELL else "",
        )

    def shift_maps(self) -> dict[str, SvgFigure]:
        """Return a small map for each category that changes."""
        shifts = list(self.shifts.items())[: len(CATEGORIES)] if self.cells else []
        return {category: self.heatmap(measure, f"s{index}", 0.32) for index, (category, measure) in enumerate(shifts)}

    def layer_bars(self) -> SvgFigure | None:
        """Return the bar chart of the layers; ``None`` where no layer has an effect."""
        if not any(self.means.values()) and not self.whole:
            return None
        layers = [*self.means.items(), *self.whole.items()][:64]
        text = ", ".join(f"{part_name(layer)} {points(change)}" for layer, change in layers)
        title = f"Accuracy change by layer, {self.group.dataset}"
        name = f"rp-m{self.index}b"
        return plots.layer_bars(self.means, self.whole, self.layers, name=name, title=title, description=text)

    def curve(self) -> SvgFigure | None:
        """Return the cumulative curve; ``None`` where the run has none."""
        if not self.lines:
            return None
        text = "; ".join(
            f"{label}: " + ", ".join(f"{point['heads']} heads {percent(point['accuracy'])}" for point in line[:32])
            for label, line in self.lines.items()
        )
        title = f"Accuracy by the number of heads, {self.group.dataset}"
        return plots.curve(self.lines, name=f"rp-m{self.index}c", title=title, description=text)

    def named(self) -> Iterator[tuple[str, SvgFigure]]:
        """Yield the pictures of the group that the page shows, each with a short name."""
        if self.cells:
            if self.group.finding != "floor":
                yield "accuracy", self.heatmap(ACCURACY, "a")
            if self.patched is not None:
                yield "patched", self.heatmap(self.patched, "p")
            yield "logprob", self.heatmap(LOGPROB, "l")
        for category, shift in self.shift_maps().items():
            yield f"shift-{category}", shift
        for word, picture in (("layers", self.layer_bars()), ("curve", self.curve())):
            if picture is not None:
                yield word, picture


def layer_indices(run: Run) -> list[int]:
    """Return the numbers of the model's attention layers, which are not contiguous in a hybrid."""
    model = run.summary["model"]
    return list(model.get("layer_indices") or range(min(model["layers"], plots.MOST_CELLS)))


def mistakes_pie(counts: Mapping[str, int]) -> SvgFigure:
    """Return the pie of the baseline's wrong answers by category."""
    text = ", ".join(f"{category} {number:,}" for category, number in counts.items())
    return plots.error_pie(counts, name="rp-e", title="Wrong answers with nothing switched off", description=text)


def run_figures(run: Run) -> Iterator[tuple[str, SvgFigure]]:
    """Yield every picture of the page with a name for its file: ``arithmetic-accuracy``, ``mistakes``."""
    effect_groups = groups(run)
    several = len({group.ablation for group in effect_groups}) > 1
    for index, group in enumerate(effect_groups):
        begin = f"{group.dataset}-{group.ablation}" if several else group.dataset
        for word, picture in GroupFigures(run, group, index).named():
            yield f"{begin}-{word}", picture
    if counts := error_counts(run, ablated=False):
        yield "mistakes", mistakes_pie(counts)


def write_figures(folder: Path, run: Run) -> list[Path]:
    """Write every picture of *run*'s page into *folder* as SVG and as PNG; makes the folder.

    Raises ``OSError``, also where the folder is a link: whoever made it chose where the pictures would go.
    """
    make_folder(folder)
    written: list[Path] = []
    for name, picture in run_figures(run):
        stem = base = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:80].strip(".-") or "figure"
        while (path := folder / f"{stem}.svg") in written:  # names may differ in what no file's name can hold
            stem = f"{base}-{len(written)}"
        atomic_write_text(path, picture.svg() + "\n")
        atomic_write_bytes(path.with_name(f"{stem}.png"), picture.png())
        written += [path, path.with_name(f"{stem}.png")]
    return written
