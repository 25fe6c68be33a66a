"""The cumulative curve on the page, with its numbers and notes."""

from __future__ import annotations

from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.format import nats, percent
from reasoning_probe.report.html.elements import details, figure, minus, note, row, table, whole
from reasoning_probe.report.sentences import curve_notes
from reasoning_probe.results.record import CurveRecord
from reasoning_probe.utils.text import escape, join_names, pluralise


def curve_html(pictures: GroupFigures) -> str:
    """Return the curve of a dataset under one ablation with its numbers; empty where there is none."""
    picture, found = pictures.curve(), {str(entry["kind"]): entry for entry in pictures.curves}
    if picture is None:
        return ""
    rows = [
        row(
            escape(label),
            f"{point['heads']:,}",
            whole(f"{point['correct']:,} of {point['items']:,}"),
            whole(percent(point["accuracy"])),
            whole(f"{percent(point['ci95'][0])} to {percent(point['ci95'][1])}"),
            minus(nats(point.get("mean_answer_logprob"))),
            minus(nats(point.get("if_added"))),
        )
        for label, points in pictures.lines.items()
        for point in points
    ]
    head = ["line", "heads", "right", "accuracy", "95 % interval", "log-prob. (nats)", "if effects added up"]
    caption = "Accuracy as heads are switched off, or kept, one after the other, the strongest first; bands at 95 %."
    notes = [*curve_notes(found, pictures.group.dataset), *_notes(pictures.curves[0])]
    body = figure(picture.svg(), caption) + "".join(map(note, notes))
    return details("Cumulative curve", body + details("Numbers of the curve", table(picture.title, head, rows)))


def _notes(entry: CurveRecord) -> list[str]:
    """Return how the order came about, and what it is worth."""
    orders = entry.get("orders", 1)
    order = f"In about this order, each of {orders} parts of the run by its own" if orders > 1 else "In this order"
    said = [f"{order}: {join_names([str(target) for target in entry['order']], 12)}."]
    if entry.get("held_out"):
        chose = pluralise(entry["ranked_on"], "item")
        said.append(f"{chose} chose the order, by the log-probability lost; others are measured here.")
    elif "held_out" in entry:
        said.append(
            "The items that are measured here chose the order, too, by the log-probability lost: the strongest heads"
            " look stronger than they are."
        )
    return said
