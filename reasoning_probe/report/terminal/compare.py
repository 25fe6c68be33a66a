"""Two runs side by side in the terminal: settings, accuracies, the answers and the effects that changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_probe.report.comparison import (
    ComparisonTable,
    accuracy_table,
    answers_table,
    confirmations_table,
    effects_table,
    sentences,
)
from reasoning_probe.report.history import accuracy_history, head_history, history_sentences
from reasoning_probe.report.sentences import accuracy_sentence
from reasoning_probe.report.terminal.tables import table
from reasoning_probe.results.compare import Comparison
from reasoning_probe.results.history import History
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import shorten

if TYPE_CHECKING:
    from rich.console import Console

MOST = 20


def show_comparison(
    comparison: Comparison, first: tuple[Path, Run], second: tuple[Path, Run], console: Console, most: int = MOST
) -> None:
    """Print *comparison*, with the *most* first of the changed answers and of the changed effects."""
    for letter, (folder, run) in (("A", first), ("B", second)):
        console.print(shorten(f"{letter} = {folder}: {accuracy_sentence(run)}", 400), style="bold")
    for name, one, other in comparison.settings:
        console.print(shorten(f"{name}: {shorten(one, 60)} in A, {shorten(other, 60)} in B", 200), style="dim")
    for note in comparison.notes:
        console.print(f"{note}.")
    for sentence in sentences(comparison):
        console.print(f"- {shorten(sentence, 1000)}")
    console.print()
    tables = (
        accuracy_table(comparison),
        answers_table(comparison, most),
        effects_table(comparison, most),
        confirmations_table(comparison, most),
    )
    for each in tables:
        print_table(each, console)


def show_history(view: History, console: Console) -> None:
    """Print the accuracies and the named heads of several runs in their order."""
    for sentence in history_sentences(view):
        console.print(f"- {shorten(sentence, 1000)}")
    console.print()
    for each in (accuracy_history(view), head_history(view)):
        print_table(each, console)


def print_table(view: ComparisonTable, console: Console) -> None:
    """Print a table that has rows."""
    if view.rows:
        console.print(table(view.title, view.head, view.rows, texts=view.texts, spare=view.spare))
