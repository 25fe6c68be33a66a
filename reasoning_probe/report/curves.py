"""The cumulative curve, as a picture and in sentences: how few heads carry a task, and whether they back each other up.

And what a screening may have missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasoning_probe.report.figures.run_figures import GroupPictures
from reasoning_probe.report.html.elements import details, figure, minus, note, row, table, whole
from reasoning_probe.report.text import count, escape, listed, nats, percent
from reasoning_probe.results.run import Run

CARRY = 0.9
"""Heads carry a task where, with all others off, so large a part of the baseline's accuracy is left."""

BACKS_UP = 1.0
"""Nats by which heads must cost more together than one by one for a sentence."""

Entry = Mapping[str, Any]


def curve_html(pictures: GroupPictures) -> str:
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
    notes = [*_told(found, pictures.group.dataset), *_notes(pictures.curves[0])]
    body = figure(picture.svg(), caption) + "".join(map(note, notes))
    return details("Cumulative curve", body + details("Numbers of the curve", table(picture.title, head, rows)))


def _notes(entry: Entry) -> list[str]:
    """Return how the order came about, and what it is worth."""
    orders = entry.get("orders", 1)
    order = f"In about this order, each of {orders} parts of the run by its own" if orders > 1 else "In this order"
    said = [f"{order}: {listed([str(target) for target in entry['order']], 12)}."]
    if entry.get("held_out"):
        chose = count(entry["ranked_on"], "item")
        said.append(f"{chose} chose the order, by the log-probability lost; others are measured here.")
    elif "held_out" in entry:
        said.append(
            "The items that are measured here chose the order, too, by the log-probability lost: the strongest heads"
            " look stronger than they are."
        )
    return said


def curve_sentences(run: Run) -> list[str]:
    """Return how few heads carry each task, and which heads cost more together than their single effects add up to."""
    said = []
    keys = dict.fromkeys((str(entry["dataset"]), str(entry["ablation"])) for entry in run.summary.get("curves") or ())
    several = len({ablation for _, ablation in keys}) > 1
    for dataset, ablation in keys:
        found = _of(run, dataset, ablation)
        under = f" ({ablation} ablation)" if several else ""
        said += _told(found, dataset + under)
    return said


def _told(found: Mapping[str, Entry], on: str) -> list[str]:
    return [sentence for sentence in (_carried(found, on), _backed_up(found, on)) if sentence]


def _of(run: Run, dataset: str, ablation: str) -> dict[str, Entry]:
    return {
        str(entry["kind"]): entry
        for entry in run.summary.get("curves") or ()
        if (entry["dataset"], str(entry["ablation"])) == (dataset, ablation) and entry["points"]
    }


def _carried(found: Mapping[str, Entry], on: str) -> str:
    if "kept" not in found:
        return ""
    entry = found["kept"]
    points: Sequence[Mapping[str, Any]] = entry["points"]
    whole, heads = points[-1], len(entry["order"])
    enough = next((point for point in points if point["accuracy"] >= CARRY * whole["accuracy"]), whole)
    if not whole["correct"] or enough is whole:
        return ""
    if not enough["heads"]:
        return f"With every head off {percent(enough['accuracy'])} of {on} stay right: it needs no attention."
    return (
        f"{enough['heads']} of {count(heads, 'head')} carry {on}: with all others off {percent(enough['accuracy'])} are"
        f" right, of {percent(whole['accuracy'])} ({count(whole['items'], 'item')})."
    )


def _backed_up(found: Mapping[str, Entry], on: str) -> str:
    """Say where the fewest heads cost more together than one by one, which is what backing each other up looks like."""
    candidates = []
    for kind, entry in found.items():
        heads = len(entry["order"])
        start = entry["points"][0 if kind == "off" else -1].get("mean_answer_logprob")
        for point in entry["points"]:
            together, added = point.get("mean_answer_logprob"), point.get("if_added")
            if None in (start, together, added):
                continue
            off = point["heads"] if kind == "off" else heads - point["heads"]
            if off > 1 and start - together >= max(BACKS_UP, 2 * (start - added)):
                candidates.append((off, kind, start - together, start - added))
    if not candidates:
        return ""
    off, kind, together, added = min(candidates)
    which = "strongest" if kind == "off" else "weakest"
    return (
        f"Off together, the {off} {which} heads cost {on} {together:.2f} nats, where their single effects add up to"
        f" {added:.2f}: heads back each other up."
    )


def screening_sentences(run: Run) -> list[str]:
    """Return what was measured of the heads that were ranked, and how many of the others may matter all the same."""
    said = []
    for entry in run.summary.get("screening") or ():
        chosen = (
            f"Screening of {entry['dataset']} ({entry['ablation']} ablation): of {count(entry['candidates'], 'head')}"
            f" the first {entry['ranked']:,} by first-order attribution were measured"
        )
        if not entry["rest"]:
            said.append(f"{chosen}: all of them.")
        elif entry["sampled"] == entry["rest"]:
            matter = "matters" if entry["missed"] == 1 else "matter"
            said.append(f"{chosen}, and all {entry['rest']:,} others, of which {entry['missed']:,} {matter}.")
        elif entry["miss_rate"] is None:
            said.append(f"{chosen}, and none of the other {entry['rest']:,}: how many of these matter is not known.")
        else:
            matter = "matters" if entry["missed"] == 1 else "matter"
            low, high = map(percent, entry["ci95"])
            said.append(
                f"{chosen}. Of {entry['sampled']:,} of the other {entry['rest']:,}, drawn at random,"
                f" {entry['missed']:,} {matter}: a miss rate of {percent(entry['miss_rate'])} ({low} to {high})."
            )
    return said
