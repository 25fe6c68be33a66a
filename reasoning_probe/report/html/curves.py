"""The cumulative curve on the page, with its numbers and notes."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.format import nats, percent
from reasoning_probe.report.html.rendering import inline_svg, minus, nonbreaking, render
from reasoning_probe.report.html.tables import Picture, Table
from reasoning_probe.report.sentences import curve_notes
from reasoning_probe.results.record import CurveRecord
from reasoning_probe.utils.text import join_names, pluralise


def curve_html(figures: GroupFigures) -> Markup:
    """Return the curve of a dataset under one ablation with its numbers; empty where there is none."""
    curve = figures.curve()
    if curve is None:
        return Markup()
    rows = [
        (
            label,
            f"{point['heads']:,}",
            nonbreaking(f"{point['correct']:,} of {point['items']:,}"),
            nonbreaking(percent(point["accuracy"])),
            nonbreaking(f"{percent(point['ci95'][0])} to {percent(point['ci95'][1])}"),
            minus(nats(point.get("mean_answer_logprob"))),
            minus(nats(point.get("if_added"))),
        )
        for label, points in figures.lines.items()
        for point in points
    ]
    head = ["line", "heads", "right", "accuracy", "95 % interval", "log-prob. (nats)", "if effects added up"]
    caption = "Accuracy as heads are switched off, or kept, one after the other, the strongest first; bands at 95 %."
    by_kind = {str(entry["kind"]): entry for entry in figures.curves}
    return render(
        "curves",
        picture=Picture(inline_svg(curve), caption),
        notes=[*curve_notes(by_kind, figures.group.dataset), *_order_notes(figures.curves[0]), *_area_notes(by_kind)],
        numbers=Table(curve.title, head, rows),
    )


def _order_notes(entry: CurveRecord) -> list[str]:
    """Return how the order came about, and what it is worth."""
    orders = entry.get("orders", 1)
    order = f"Order (approximate: each of {orders} parts of the run used its own)" if orders > 1 else "Order"
    notes = [f"{order}: {join_names([str(target) for target in entry['order']], 12)}."]
    if entry.get("held_out"):
        ranked = pluralise(entry["ranked_on"], "item")
        notes.append(f"The order was chosen on {ranked}, by the log-probability lost; the curve is measured on others.")
    elif "held_out" in entry:
        notes.append(
            "The order was chosen on the same items, by the log-probability lost: the strongest heads look stronger"
            " than they are."
        )
    return notes


def _area_notes(curves: Mapping[str, CurveRecord]) -> list[str]:
    """Return CPR and CMD of the kept heads, in both orders."""
    areas = curves["kept"].get("areas") if "kept" in curves else None
    if not areas:
        return []
    orders = {"in this order": areas["signed"], "in the order of the size of effects": areas["by_size"]}
    parts = [
        f"{order} CPR is {area['cpr']:.2f} ({area['cpr_ci95'][0]:.2f} to {area['cpr_ci95'][1]:.2f}) and CMD"
        f" {area['cmd']:.2f} ({area['cmd_ci95'][0]:.2f} to {area['cmd_ci95'][1]:.2f})"
        for order, area in orders.items()
        if area is not None
    ]
    return [f"By the log-probability of the expected answer, {'; '.join(parts)}. Intervals at 95 %."]
