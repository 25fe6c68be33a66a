"""What patching shows, as reports say it: the sentences, the ranking's column, and the map's measure."""

from __future__ import annotations

from collections.abc import Mapping

from reasoning_probe.report.effects import EffectGroup
from reasoning_probe.report.figures.measures import Measure
from reasoning_probe.report.format import percent, points
from reasoning_probe.results.patching import shows_answer
from reasoning_probe.results.record import EffectRecord, PatchRecord, RestoredRecord
from reasoning_probe.results.restored import brings_back
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise, shorten

_MOST_SENTENCES, _MOST_NAME = 4, 60


def by_target(run: Run) -> dict[tuple[str, str, str], PatchRecord]:
    """Return what patching each target does, by dataset, ablation and target; empty where nothing was patched."""
    return {(row["dataset"], row["ablation"], row["target"]): row for row in run.summary.get("patching") or ()}


def patch_sentences(run: Run) -> list[str]:
    """Say which patched targets make the other question's answer, the strongest first: those that are significant."""
    rows = [row for row in run.summary.get("patching") or () if shows_answer(row)]
    rows.sort(key=lambda row: (row["p_adjusted"] or 0.0, -row["became"]))
    sentences = [
        f"Patching {row['target']} on {shorten(row['dataset'], _MOST_NAME)} makes the answer the other question's on"
        f" {row['became']:,} of {pluralise(row['items'], 'item')}; the same-answer control does so on"
        f" {row['control_became']:,} and changes {row['control_changed']:,}{_dealt(row)}."
        for row in rows[:_MOST_SENTENCES]
    ]
    if len(rows) > _MOST_SENTENCES:
        more = pluralise(len(rows) - _MOST_SENTENCES, "more target")
        verb = "makes" if len(rows) == _MOST_SENTENCES + 1 else "make"
        sentences.append(f"When patched, {more} {verb} the other question's answer more often than the control does.")
    return sentences


def restored_sentences(run: Run) -> list[str]:
    """Say which sets of heads bring the items' own answers back, and of which it is not shown, beside random sets."""
    return [_restored_sentence(row) for row in run.summary.get("restored") or () if row["items"]]


def _restored_sentence(row: RestoredRecord) -> str:
    restoring = f"Restoring {shorten(row['target'], _MOST_NAME)} on {shorten(row['dataset'], _MOST_NAME)}"
    sets = f"random sets of {pluralise(row['heads'], 'head')}"
    if not brings_back(row):
        return (
            f"{restoring} is not shown to bring answers back more often than {sets} do: {row['became']:,} against"
            f" {row['random_became']:,} of {pluralise(row['items'], 'counterfactual question')}."
        )
    low, high = map(points, row["effect_ci95"])
    return (
        f"{restoring} brings the item's own answer back on {row['became']:,} of"
        f" {pluralise(row['items'], 'counterfactual question')}, {sets} do so on {row['random_became']:,}"
        f" ({points(row['effect'])} points, 95 % interval {low} to {high})."
    )


def _dealt(row: PatchRecord) -> str:
    """Return what dealt counterfactuals give; nothing where they tell nothing, or an earlier version did not ask."""
    expected = row.get("dealt_became")
    return "" if expected is None else f"; with shuffled counterfactuals it would match on {expected:.1f}"


def levels_note(run: Run) -> str:
    """Say at which level patching is tested beside the page's other tests; empty where it was not."""
    if not any(row["p_adjusted"] is not None for row in run.summary.get("patching") or ()):
        return ""
    return (
        "Patching is tested on its own, at 2.5 % over all targets of the page. Where nothing has an effect, the page"
        " names a target by the accuracy, the log-probability or patching with a chance of at most 7.5 %."
    )


def patch_text(row: PatchRecord) -> str:
    """Return how many answers became the other question's, and in the control: ``38 of 40 (2)``."""
    control = "" if row["control_became"] is None else f" ({row['control_became']:,})"
    return f"{row['became']:,} of {row['items']:,}{control}"


def patch_measure(run: Run, group: EffectGroup) -> Measure | None:
    """Return the share of answers that became the other question's as a map's measure; ``None`` where none is known."""
    rows = {key[2]: row for key, row in by_target(run).items() if key[:2] == (group.dataset, group.ablation)}
    if not any(row["items"] for row in rows.values()):
        return None
    return Measure(
        "Answers that became the other question's",
        "% of the items answered right",
        lambda effect: _share(rows, effect),
        lambda effect: effect["target"] in rows and shows_answer(rows[effect["target"]]),
        lambda effect: percent(None if (share := _share(rows, effect)) is None else share / 100),
        narrowest=5.0,
    )


def _share(rows: Mapping[str, PatchRecord], effect: EffectRecord) -> float | None:
    row = rows.get(effect["target"])
    return None if row is None or not row["items"] else 100 * row["became"] / row["items"]
