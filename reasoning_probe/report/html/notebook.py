"""A run in a notebook's cell: what was found, the maps, the strongest targets.

It has no style sheet, since many viewers of notebooks drop those.
"""

from __future__ import annotations

from itertools import count as counter

from reasoning_probe.report.effects import EffectGroup, groups, significant
from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.html.elements import details, figure, minus, name, row, table
from reasoning_probe.report.sentences import accuracy_sentence, sentences
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape, pluralise

MOST_TARGETS = 10

MEASURES = {"accuracy": ACCURACY, "logprob": LOGPROB}

_numbers = counter()  # pictures of one notebook must not share their ids


def group_of(run: Run, ablation: str | None = None) -> EffectGroup:
    """Return the effects under *ablation* (the first there is); ``ValueError`` where nothing was switched off."""
    found = groups(run)
    if not found:
        raise ValueError("nothing was switched off: sweep with targets=None for every head, or name some")
    known = [group.ablation for group in found]
    if ablation is not None and ablation not in known:
        raise ValueError(f"no target was measured with the ablation {ablation!r}: use {' or '.join(known)}")
    return found[0 if ablation is None else known.index(ablation)]


def head_map(run: Run, group: EffectGroup, measure: str) -> SvgFigure:
    """Return the map of *measure*, ``accuracy`` or ``logprob``. Raises ``ValueError`` where there is no single head."""
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}: use {' or '.join(MEASURES)}")
    shown = GroupFigures(run, group, next(_numbers))
    if not shown.cells:
        raise ValueError("no single head was switched off: the map shows targets such as L3H7")
    return shown.heatmap(MEASURES[measure], measure)


def notebook_html(run: Run) -> str:
    """Return the run as one HTML element, everything in it escaped."""
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(run))
    parts = [f"<p><strong>{escape(accuracy_sentence(run))}</strong></p>", f"<ul>{said}</ul>" if said else ""]
    shown = groups(run)
    for group in shown:
        title = name(group.dataset if len(shown) == 1 else f"{group.dataset}, {group.ablation} ablation")
        pictures = GroupFigures(run, group, next(_numbers))
        body = ""
        if pictures.cells:
            measure = LOGPROB if group.finding == "floor" else ACCURACY
            caption = f"{measure.name} in {measure.unit}; red loses, blue gains, ○ is significant"
            body = figure(pictures.heatmap(measure, "n").svg(), caption)
        parts.append(details(title, body + _strongest(group), opened=True))
    return f"<div>{''.join(parts)}</div>"


def _strongest(group: EffectGroup) -> str:
    rows = [
        row(
            name(effect["target"]) + (" ○" if significant(effect) else ""),
            minus(points(effect["delta"])),
            f"{effect['flips_to_wrong']:,}",
            f"{effect['flips_to_right']:,}",
            escape(p_value(effect["p_adjusted"])),
            minus(nats(effect["delta_logprob"])),
        )
        for effect in group.rows[:MOST_TARGETS]
    ]
    head = [group.noun, "points", "right to wrong", "wrong to right", "p (Holm)", "log-prob. (nats)"]
    more = f"; the strongest {len(rows)}" if len(group.rows) > len(rows) else ""
    return table(f"{pluralise(len(group.rows), group.noun)} over {pluralise(group.items, 'item')}{more}", head, rows)
