"""Several runs in their order as sentences and tables of plain text: terminal, page and Markdown show the same ones."""

from __future__ import annotations

from reasoning_probe.report.comparison import ComparisonTable
from reasoning_probe.report.format import percent, points
from reasoning_probe.results.history import AccuracyPoint, History
from reasoning_probe.utils.text import pluralise, shorten

MOST_HEADS = 40


def run_names(view: History) -> list[str]:
    """Return a short name for each run: its folder from where the folders differ."""
    parts = [folder.parts for folder in view.folders]
    common = 0
    while all(len(part) > common + 1 for part in parts) and len({part[common] for part in parts}) == 1:
        common += 1
    return [shorten("/".join(part[common:]), 24) for part in parts]


def accuracy_history(view: History) -> ComparisonTable:
    """Return each dataset's accuracy with what is right of what was asked, a column a run."""
    rows = [[name, *map(_accuracy, line)] for name, line in view.accuracies.items()]
    return ComparisonTable("Accuracy by run", ["dataset", *run_names(view)], rows)


def head_history(view: History) -> ComparisonTable:
    """Return the accuracy changes of the heads that any run names, in points, a column a run."""
    listed_heads = view.heads[:MOST_HEADS]
    rows = [
        [
            head.target,
            f"{head.dataset}, {head.ablation}",
            *(
                "-" if delta is None else points(delta) + (" *" if named else "")
                for delta, named in zip(head.deltas, head.named, strict=True)
            ),
        ]
        for head in listed_heads
    ]
    cut = f", {len(listed_heads)} of {len(view.heads):,}" if len(view.heads) > len(listed_heads) else ""
    title = f"Accuracy change in points of what any run names{cut}; * is named by that run"
    return ComparisonTable(title, ["target", "dataset", *run_names(view)], rows, texts=2)


def history_sentences(view: History) -> list[str]:
    """Return a sentence for each dataset that several runs asked, and one on the heads that every run names."""
    names = run_names(view)
    sentences = []
    for dataset, line in view.accuracies.items():
        measured = [(name, point) for name, point in zip(names, line, strict=True) if point is not None]
        if len(measured) < 2:
            continue
        (first_name, first), (last_name, last) = measured[0], measured[-1]
        highest_name, highest = max(measured, key=lambda entry: entry[1].accuracy)
        between = highest.accuracy > max(first.accuracy, last.accuracy)
        peak = f", highest {percent(highest.accuracy)} in {highest_name}" if between else ""
        sentences.append(
            f"{dataset}: {percent(first.accuracy)} in {first_name}, {percent(last.accuracy)} in {last_name}{peak}."
        )
    if view.heads:
        always = [head for head in view.heads if all(head.named)]
        targets = ", ".join(f"{head.target} on {head.dataset}" for head in always[:6])
        more = f" and {len(always) - 6} more" if len(always) > 6 else ""
        every = f"all {pluralise(len(view.folders), 'run')} name"
        sentences.append(
            f"Of {pluralise(len(view.heads), 'effect')} that any run names, {every} {len(always):,}"
            + (f": {targets}{more}." if always else ".")
        )
    return [*sentences, *(f"{note}." for note in view.notes)]


def _accuracy(point: AccuracyPoint | None) -> str:
    return "-" if point is None else f"{percent(point.accuracy)} ({point.correct:,} of {point.items:,})"
