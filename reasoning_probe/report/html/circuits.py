"""The sets of heads that were scored as circuits, in a table of the page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasoning_probe.report.circuits import chosen_by, circuits_of
from reasoning_probe.report.effects import EffectGroup
from reasoning_probe.report.format import p_value, percent
from reasoning_probe.report.html.rendering import nonbreaking, render
from reasoning_probe.report.html.tables import Table
from reasoning_probe.results.circuits import largest_difference
from reasoning_probe.results.record import RecoveredRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names


def circuits_html(run: Run, group: EffectGroup) -> Markup:
    """Return the scored sets of *group*; empty where there are none."""
    rows = [
        [f"{join_names(row['heads'], 12)} ({chosen_by(row)})", measure, *_cells(recovered)]
        for row in circuits_of(run, group.dataset, group.ablation)
        for measure, recovered in (("log-prob.", row["logprob"]), ("answers", row["answers"]))
        if recovered is not None
    ]
    caption = (
        "Of what all heads do, the share that a set alone keeps and that is lost without it, on items that did not"
        " choose it; bootstrap intervals over items, and the best of as large random sets. With random parts of the set"
        " off: the largest difference between what its rest alone keeps and what all other heads keep"
    )
    head = [
        "set",
        "by",
        "items",
        "kept alone",
        "best random",
        "p",
        "lost without it",
        "most random",
        "p",
        "parts differ",
    ]
    return render("circuits", table=Table(caption, head, rows)) if rows else Markup()


def _cells(recovered: RecoveredRecord) -> list[str]:
    return [
        f"{recovered['items']:,}",
        _share(recovered["faithfulness"], recovered["faithfulness_ci95"]),
        nonbreaking(percent(max(recovered["random_faithfulness"]))),
        nonbreaking(p_value(recovered["faithfulness_p"])),
        _share(recovered["completeness"], recovered["completeness_ci95"]),
        nonbreaking(percent(max(recovered["random_completeness"]))),
        nonbreaking(p_value(recovered["completeness_p"])),
        nonbreaking(percent(largest_difference(recovered))),
    ]


def _share(share: float, ci95: Sequence[float]) -> str:
    return nonbreaking(f"{percent(share)} ({percent(ci95[0])} to {percent(ci95[1])})")
