"""The paths between heads on the page: a graph by layers, each path with its items, and all of them in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning_probe.report.effects import EffectGroup
from reasoning_probe.report.format import nats, p_value
from reasoning_probe.report.html.rendering import minus, nonbreaking, render
from reasoning_probe.report.html.tables import Table
from reasoning_probe.report.paths import path_name, paths_of
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.paths import named
from reasoning_probe.results.record import PathItemRecord, PathRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.target_names import head_of
from reasoning_probe.utils.text import pluralise, shorten

_STEP, _RISE, _MARGIN = 96, 84, 44
"""Pixels between heads of a layer, between layers, and around all of them."""

_MOST_TEXT = 60
"""Characters of a question in a path's table."""


@dataclass(frozen=True)
class _Node:
    """A head in the graph; ``joined`` says that a drawn path begins or ends there."""

    name: str
    x: float
    y: float
    joined: bool


@dataclass(frozen=True)
class _Edge:
    """A path that is drawn: its curve, how wide it is, and its items."""

    anchor: str
    name: str
    summary: str
    curve: str
    width: float
    loses: bool
    items: Table


@dataclass(frozen=True)
class _Graph:
    """The heads and the drawn paths, early layers above, as in the maps."""

    title: str
    width: float
    height: float
    nodes: Sequence[_Node]
    edges: Sequence[_Edge]


def paths_html(run: Run, group: EffectGroup, index: int) -> Markup:
    """Return the paths of *group*, number *index* of *run*'s; empty where there are none."""
    rows = paths_of(run, group.dataset, group.ablation)
    if not rows:
        return Markup()
    measured = [row for row in rows if row["items"]]
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    return render(
        "paths", graph=_graph(run, measured, index) if measured else None, table=_table(measured), notes=notes
    )


def _graph(run: Run, rows: Sequence[PathRecord], index: int) -> _Graph:
    heads = sorted({head for row in rows for name in (row["from"], row["to"]) if (head := head_of(name)) is not None})
    layers = sorted({layer for layer, _ in heads})
    by_layer = {layer: [head for head in heads if head[0] == layer] for layer in layers}
    widest = max(map(len, by_layer.values()))
    height = 2 * _MARGIN + _RISE * (len(layers) - 1)
    places: dict[str, tuple[float, float]] = {}
    for floor, of_layer in enumerate(by_layer.values()):
        for place, (layer, number) in enumerate(of_layer):
            x = _MARGIN + _STEP * (place + (widest - len(of_layer)) / 2)
            places[f"L{layer}H{number}"] = (x, _MARGIN + _RISE * floor)
    drawn = [row for row in rows if named(row)]
    joined = {name for row in drawn for name in (row["from"], row["to"])}
    baselines = {outcome.item_key: outcome for outcome in run.outcomes if outcome.target == BASELINE}
    largest = max((abs(row["median_change"] or 0.0) for row in drawn), default=1.0)
    return _Graph(
        f"{len(drawn)} of {pluralise(len(rows), 'path')} between {pluralise(len(heads), 'head')}",
        2 * _MARGIN + _STEP * (widest - 1),
        height,
        [_Node(name, x, y, name in joined) for name, (x, y) in places.items()],
        [
            _edge(row, f"rp-path-{index}-{number}", places, largest, baselines)
            for number, row in enumerate(drawn, start=1)
        ],
    )


def _edge(
    row: PathRecord,
    anchor: str,
    places: Mapping[str, tuple[float, float]],
    largest: float,
    baselines: Mapping[tuple[str, str], Outcome],
) -> _Edge:
    (x, y), (to_x, to_y) = places[row["from"]], places[row["to"]]
    middle = (y + to_y) / 2
    bend = _STEP / 3 if x == to_x and to_y - y > _RISE else 0  # past the heads between them
    changed = f", {row['answers_changed']} of {row['answers']} answers change" if row["answers"] is not None else ""
    median = row["median_change"] or 0.0
    return _Edge(
        anchor,
        path_name(row),
        f"{minus(nats(median))} nats{changed}",
        f"M{x:g} {y:g}C{x + bend:g} {middle:g} {to_x + bend:g} {middle:g} {to_x:g} {to_y:g}",
        1.5 + 5 * abs(median) / largest,
        median < 0,
        _items(row, baselines),
    )


def _items(row: PathRecord, baselines: Mapping[tuple[str, str], Outcome]) -> Table:
    """Return the items of a path, those that it changes most first."""
    ordered = sorted(row["questions"], key=lambda item: item["change"])
    cells = [_cells(item, baselines.get((row["dataset"], item["item"]))) for item in ordered]
    caption = f"{path_name(row)} cut: the expected answer's log-probability, and what is answered"
    return Table(caption, ["question", "change (nats)", "answer", "with the path cut"], cells, names=4)


def _cells(item: PathItemRecord, baseline: Outcome | None) -> list[str]:
    question = shorten(baseline.question, _MOST_TEXT) if baseline is not None else item["item"]
    answer = "-" if baseline is None else _answer(baseline.answer, correct=baseline.correct)
    cut = "-" if item["correct"] is None else _answer(item["answer"], correct=item["correct"])
    return [
        question,
        minus(nats(item["change"])),
        answer,
        cut if item["changed"] or item["correct"] is None else "the same",
    ]


def _answer(answer: str | None, *, correct: bool) -> str:
    return f"{shorten(answer, 40) if answer is not None else 'none'} ({'right' if correct else 'wrong'})"


def _table(rows: Sequence[PathRecord]) -> Table:
    cells = [
        [
            path_name(row),
            minus(nats(row["median_change"])) + "*" * named(row),
            minus(nats(row["change"])),
            nonbreaking(f"{row['falls']} / {row['rises']} of {row['items']}"),
            nonbreaking(p_value(row["p_adjusted"])),
            "-" if row["answers"] is None else nonbreaking(f"{row['answers_changed']} of {row['answers']}"),
        ]
        for row in rows
    ]
    caption = "The expected answer's log-probability with each path cut; * is significant of all paths"
    head = ["path", "median (nats)", "mean (nats)", "falls / rises", "p", "answers changed"]
    return Table(caption, head, cells)
