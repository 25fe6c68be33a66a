"""Two runs side by side, or several in their order, as Markdown for the comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.report.ci.markdown import MOST_BYTES, plain, table, within
from reasoning_probe.report.comparison import (
    ComparisonTable,
    accuracy_table,
    answers_table,
    confirmations_table,
    effects_table,
    sentences,
)
from reasoning_probe.report.history import accuracy_history, head_history, history_sentences
from reasoning_probe.results.compare import Comparison, Named
from reasoning_probe.results.history import History

MOST_ROWS = 20


def comparison_markdown(comparison: Comparison, first: Named, second: Named) -> str:
    """Return *comparison* as GitHub's Markdown, under 60 kB: sentences, what differs, accuracies, effects, answers."""
    names = [plain(run.summary["model"]["name"]) for _, run in (first, second)]
    parts = [
        f"## reasoning-probe: {names[1]} against {names[0]}",
        f"A is {plain(str(first[0]), 200)}, B is {plain(str(second[0]), 200)}.",
        _bullets([*sentences(comparison), *(f"{note}." for note in comparison.notes)]),
        _bullets([f"{name}: {one} in A, {other} in B" for name, one, other in comparison.settings[:MOST_ROWS]]),
        *map(
            _table,
            (
                accuracy_table(comparison),
                effects_table(comparison, MOST_ROWS),
                confirmations_table(comparison, MOST_ROWS),
                answers_table(comparison, MOST_ROWS),
            ),
        ),
    ]
    return "\n\n".join(within([part for part in parts if part], MOST_BYTES)) + "\n"


def history_markdown(view: History) -> str:
    """Return *view* as GitHub's Markdown, under 60 kB."""
    parts = [
        f"## reasoning-probe: {len(view.folders)} runs",
        _bullets(history_sentences(view)),
        _table(accuracy_history(view)),
        _table(head_history(view)),
    ]
    return "\n\n".join(within([part for part in parts if part], MOST_BYTES)) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {plain(line, 600)}" for line in lines)


def _table(view: ComparisonTable) -> str:
    if not view.rows:
        return ""
    rows = [[plain(cell) for cell in row] for row in view.rows]
    return f"**{plain(view.title, 200)}**\n\n{table([plain(name) for name in view.head], rows)}"
