"""A run in the terminal: its sentences and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_probe.report.cards import MOST_SENTENCES, card_lines
from reasoning_probe.report.circuits import circuit_sentences
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.format import percent
from reasoning_probe.report.mistakes import ablated_cases, mistake_changes
from reasoning_probe.report.patching import by_target
from reasoning_probe.report.paths import path_sentences
from reasoning_probe.report.ranking import TERMINAL_COLUMNS, ranking
from reasoning_probe.report.run_notes import remarks
from reasoning_probe.report.sentences import accuracy_sentence, control_sentences, sentences
from reasoning_probe.report.terminal.summary import engine_lines, gate_lines
from reasoning_probe.report.terminal.tables import bar, table
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise, shorten

if TYPE_CHECKING:
    from rich.console import Console
    from rich.console import Group as Renderable

MOST_TARGETS = 10
MOST_DATASETS = 50
SPARE = ("joint interval", "shrunken", "nats", "won", "lost")
"""Columns of the targets that a narrow terminal goes without, the first to go first."""
STYLES = {"good": "green", "bad": "red", "warning": "yellow"}


def print_run(run: Run, console: Console, most: int = MOST_TARGETS) -> None:
    """Print the results of *run*, with the *most* strongest targets of each dataset."""
    model = run.summary["model"]
    facts = [str(model.get(key)) for key in ("architecture", "dtype", "device") if model.get(key)]
    facts.append(f"{pluralise(model['layers'], 'layer')} of {pluralise(model['heads'], 'head')}")
    facts.append(pluralise(len(run.outcomes), "outcome"))
    console.print(shorten(accuracy_sentence(run), 400), style="bold")
    console.print(shorten(", ".join(facts), 400), style="dim")
    paths = [*path_sentences(run), *circuit_sentences(run)]
    for sentence in [*sentences(run), *card_lines(run, MOST_SENTENCES), *paths, *control_sentences(run)]:
        console.print(f"- {shorten(sentence, 1000)}")
    for line, style in gate_lines(run):
        console.print(line, style=STYLES.get(style))
    console.print()
    console.print(_accuracies(run))
    for group in groups(run)[:MOST_DATASETS]:
        console.print(_targets(run, group, most))
    mistakes = _mistakes(run)
    if mistakes is not None:
        console.print(mistakes)
    for remark in remarks(run):
        console.print(shorten(remark, 400))
    for skip in run.summary["skipped"][:most]:
        console.print(shorten(f"skipped: {skip['dataset']} {skip['item']}: {skip['reason']}", 400))
    if len(run.summary["skipped"]) > most:
        console.print(f"skipped: {pluralise(len(run.summary['skipped']) - most, 'more item')}")
    for line in engine_lines(run):
        console.print(line, style="dim")


def _accuracies(run: Run) -> Renderable:
    entries = run.summary["datasets"].items()
    rows = [
        (
            name,
            f"{entry['correct']:,} of {entry['items']:,}",
            percent(entry["accuracy"]),
            f"{percent(entry['ci95'][0])} to {percent(entry['ci95'][1])}",
            bar(entry["accuracy"] or 0.0),
        )
        for name, entry in list(entries)[:MOST_DATASETS]
    ]
    left = f", {pluralise(len(entries) - len(rows), 'more dataset')} in run.json" if len(entries) > len(rows) else ""
    return table(
        f"Nothing switched off{left}", ["dataset", "right", "accuracy", "95 % interval", ""], rows, spare=[4, 3]
    )


def _targets(run: Run, group: EffectGroup, most: int) -> Renderable:
    ranked = ranking(group, TERMINAL_COLUMNS, most, patches=by_target(run))
    rows = [(row.target + (" *" if row.significant else ""), *row.cells.values()) for row in ranked.rows]
    cut = f", the strongest {len(rows)} of {len(group.rows):,}" if len(rows) < len(group.rows) else ""
    title = f"{shorten(group.dataset, 40)}, {shorten(group.ablation, 20)} ablation{cut}; * is significant"
    spare = [ranked.columns.index(name) for name in SPARE if name in ranked.columns]
    return table(title, ranked.columns, rows, spare=spare)


def _mistakes(run: Run) -> Renderable | None:
    changes = mistake_changes(run)
    swept = bool(ablated_cases(run))
    rows = [
        (dataset, category, f"{change.baseline:,}", *([f"{change.added:,}", f"{change.removed:,}"] if swept else []))
        for (dataset, category), change in changes.items()
    ]
    head = ["dataset", "category", "nothing off", *(["added", "removed"] if swept else [])]
    title = "Mistakes" + (", and the cases with a target off that add or remove one" if swept else "")
    return table(title, head, rows) if rows else None
