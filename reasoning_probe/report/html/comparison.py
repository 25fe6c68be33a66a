"""The page of two runs side by side, or of several in their order: one file that loads nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from reasoning_probe.report.comparison import (
    ComparisonTable,
    accuracy_table,
    confirmations_table,
    effects_table,
    ranked_answers,
    sentences,
)
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.measures import ACCURACY
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.history import accuracy_history, head_history, history_sentences, run_names
from reasoning_probe.report.html.content_policy import content_policy
from reasoning_probe.report.html.diff import Excerpt, split_at_difference
from reasoning_probe.report.html.rendering import inline_svg, minus, render
from reasoning_probe.report.html.tables import Picture, Table
from reasoning_probe.report.sentences import accuracy_sentence
from reasoning_probe.results.compare import Changed, Comparison, Named
from reasoning_probe.results.history import History
from reasoning_probe.results.record import EffectRecord

SHOWN_EFFECTS = 20
"""Rows of the table of effects that show before it is opened."""
MOST_ANSWERS, MOST_EFFECTS, MOST_RESPONSE = 300, 300, 600
"""Rows of the page's tables, and characters of a response: the runs' files have all of them."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_:=,.-]{1,24}")
"""A dataset's name that the figure may show: matplotlib gets no other text of others."""


@dataclass(frozen=True)
class _Side:
    """A run's letter, its folder and model, and its accuracies in a sentence."""

    letter: str
    folder: str
    accuracy: str


@dataclass(frozen=True)
class _Answer:
    """An item whose answer changed, with both responses parted at their first difference."""

    what: str
    item: str
    question: str
    expected: str
    responses: tuple[Excerpt, Excerpt]
    right: tuple[bool, bool]


@dataclass(frozen=True)
class _MapRow:
    """The maps of one dataset under one ablation: A's, B's and the difference, in one scale of colours."""

    title: str
    pictures: Sequence[Picture]


def comparison_page(comparison: Comparison, first: Named, second: Named) -> str:
    """Return the page of *comparison*: what differs, accuracies, maps side by side, changed effects and answers."""
    sides = [
        _Side(letter, str(folder), accuracy_sentence(run)) for letter, (folder, run) in (("A", first), ("B", second))
    ]
    answers = ranked_answers(comparison)
    return _page(
        "comparison",
        f"reasoning-probe: {second[1].summary['model']['name']} against {first[1].summary['model']['name']}",
        sides=sides,
        sentences=sentences(comparison),
        notes=comparison.notes,
        settings=Table("What differs between the runs", ["setting", "A", "B"], comparison.settings, names=3),
        accuracy=_table(accuracy_table(comparison)),
        maps=_maps(comparison, first, second),
        effects=_table(effects_table(comparison, SHOWN_EFFECTS)),
        all_effects=_table(effects_table(comparison, MOST_EFFECTS)),
        confirmations=_table(confirmations_table(comparison, MOST_EFFECTS)),
        answers=[_answer(change) for change in answers[:MOST_ANSWERS]],
        answers_left=max(0, len(answers) - MOST_ANSWERS),
    )


def history_page(view: History) -> str:
    """Return the page of several runs: accuracy by run, a line a dataset, and the heads that any of them names."""
    lines = {
        name: [None if point is None else (point.accuracy, *point.ci95) for point in line]
        for name, line in view.accuracies.items()
    }
    labels = [name if _PLAIN_NAME.fullmatch(name) else f"dataset {place}" for place, name in enumerate(lines, start=1)]
    figure = plots.history_lines(
        dict(zip(labels, lines.values(), strict=True)),
        [str(number + 1) for number in range(len(view.folders))],
        name="rp-history",
        title="Accuracy by run",
        description=" ".join(history_sentences(view)),
    )
    names = run_names(view)
    rows = [
        (str(number), name, str(folder), model)
        for number, (name, folder, model) in enumerate(zip(names, view.folders, view.models, strict=True), start=1)
    ]
    renamed = "".join(f"; {label} is {name}" for label, name in zip(labels, lines, strict=True) if label != name)
    caption = f"Right answers with nothing switched off, with 95 % intervals, by the number of the run{renamed}."
    return _page(
        "history",
        f"reasoning-probe: {len(view.folders)} runs",
        sentences=history_sentences(view),
        picture=Picture(inline_svg(figure), caption),
        runs=Table("The runs", ["number", "run", "folder", "model"], rows, names=4),
        accuracy=_table(accuracy_history(view)),
        heads=_table(head_history(view)),
    )


def _page(template: str, title: str, **values: object) -> str:
    return str(render(template, title=title, policy=content_policy(), **values)) + "\n"


def _table(view: ComparisonTable) -> Table:
    """Return *view* with real minus signs in its numbers."""
    rows = [[*row[: view.texts], *map(minus, row[view.texts :])] for row in view.rows]
    return Table(view.title, view.head, rows, names=view.texts)


def _answer(change: Changed) -> _Answer:
    one, other = change.first.response, change.second.response
    return _Answer(
        change.what,
        f"{change.first.dataset} {change.first.item}",
        change.first.question,
        change.first.expected,
        (split_at_difference(one, other, MOST_RESPONSE), split_at_difference(other, one, MOST_RESPONSE)),
        (change.first.correct, change.second.correct),
    )


def _maps(comparison: Comparison, first: Named, second: Named) -> list[_MapRow]:
    """Return the maps of what both runs measured, over their own items, and of the change over the shared ones."""
    of_second = {(group.dataset, group.ablation): group for group in groups(second[1])}
    rows = []
    for index, group in enumerate(groups(first[1])):
        other = of_second.get((group.dataset, group.ablation))
        changes = _changes(comparison, group)
        if other is None or not changes:
            continue
        figures = [
            GroupFigures(first[1], group, 3 * index),
            GroupFigures(second[1], other, 3 * index + 1),
            GroupFigures(first[1], replace(group, rows=changes), 3 * index + 2),
        ]
        limit = max([ACCURACY.narrowest, *(100 * abs(row["delta"]) for each in figures for row in each.group.rows)])
        captions = ("A", "B", "B less A, over the same items")
        pictures = [
            Picture(inline_svg(each.heatmap(measure, "d", 0.4, limit)), caption)
            for each, caption, measure in zip(figures, captions, (ACCURACY, ACCURACY, _DIFFERENCE), strict=True)
            if each.cells
        ]
        rows.append(_MapRow(f"{group.dataset}, {group.ablation}", pictures))
    return rows


_DIFFERENCE = replace(ACCURACY, name="Difference of the accuracy changes", marked=lambda row: bool(row.get("marked")))


def _changes(comparison: Comparison, group: EffectGroup) -> tuple[EffectRecord, ...]:
    """Return the changes of the targets of *group* as rows of a map; those that are significant are marked."""
    return tuple(
        cast(EffectRecord, {"target": change.target, "delta": change.change.mean or 0.0, "marked": change.significant})
        for change in comparison.targets
        if (change.dataset, change.ablation) == (group.dataset, group.ablation)
    )
