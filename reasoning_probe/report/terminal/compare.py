"""Two runs side by side in the terminal: settings, accuracies, the answers and the effects that changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_probe.report.format import nats, p_value, percent, points
from reasoning_probe.report.sentences import accuracy_sentence
from reasoning_probe.report.terminal.tables import table
from reasoning_probe.results.compare import Comparison, DatasetChange, TargetChange
from reasoning_probe.results.confirmation import Confirmation
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import is_significant
from reasoning_probe.utils.text import join_names, pluralise, shorten

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
    head = ["dataset", "A", "B", "points", "95 % interval", "lost", "won", "p", "p (discrete Holm)", "nats"]
    if comparison.datasets:
        title = "Accuracy, B against A over the same items"
        console.print(table(title, head, map(_accuracy, comparison.datasets), spare=[7, 9, 4, 6, 5]))
    if comparison.changed:
        ranked = sorted(comparison.changed, key=lambda change: ("lost", "won", "other").index(change.what))
        rows = [
            (
                change.what,
                f"{shorten(change.first.dataset, 20)} {shorten(change.first.item, 30)}",
                shorten(change.first.question, 60),
                shorten(change.first.expected, 20),
                _answer(change.first.answer),
                _answer(change.second.answer),
            )
            for change in ranked[:most]
        ]
        title = f"Answers that changed{_cut(len(ranked), most)}"
        console.print(table(title, ["", "item", "question", "expected", "A", "B"], rows, texts=6))
    if comparison.targets:
        head = [
            "target",
            "dataset",
            "points, A",
            "B",
            "change",
            "95 % interval",
            "p (discrete Holm)",
            "nats, A",
            "B",
            "change",
        ]
        title = f"Effects, the clearest changes first{_cut(len(comparison.targets), most)}; * is significant"
        rows_of_targets = map(_target, comparison.targets[:most])
        console.print(table(title, head, rows_of_targets, texts=2, spare=[5, 8, 7, 9, 4]))
    if comparison.confirmations:
        head = ["target", "dataset", "points, A", "B", "lost", "won", "items", "p (discrete Holm)"]
        title = f"What A names, on items that only B asked{_cut(len(comparison.confirmations), most)}; * is confirmed"
        console.print(table(title, head, map(_confirmation, comparison.confirmations[:most]), texts=2, spare=[6, 5, 4]))


def sentences(comparison: Comparison) -> list[str]:
    """Return a sentence for each dataset, and one about the targets whose effects changed."""
    notes = []
    for change in comparison.datasets:
        effect = change.effect
        by = f"{points(effect.delta)} points" if effect.delta else "no change"
        chance = ", which may be chance" if effect.delta and not is_significant(effect.p_discrete) else ""
        notes.append(
            f"{change.dataset}: {effect.flips_to_wrong:,} lost and {effect.flips_to_right:,} won of"
            f" {pluralise(effect.items, 'item')}, {by}{chance}"
            f" (p {p_value(effect.p_discrete)})."
        )
    if comparison.targets:
        clear_targets = [target for target in comparison.targets if target.significant]
        names = [f"{target.target} on {target.dataset}" for target in clear_targets]
        what = pluralise(len(comparison.targets), "effect")
        if names:
            notes.append(f"{len(names):,} of {what} changed significantly: {join_names(names, 4)}.")
        else:
            notes.append(f"None of {what} changed significantly.")
    if comparison.confirmations:
        confirmed = [f"{each.target} on {each.dataset}" for each in comparison.confirmations if each.confirmed]
        which = f": {join_names(confirmed, 4)}" if confirmed else ""
        notes.append(
            f"New items in B confirm {len(confirmed):,} of {pluralise(len(comparison.confirmations), 'effect')} that A"
            f" names{which}."
        )
    elif comparison.targets:
        notes.append("B asked no new items: what A names is not confirmed by naming it again.")
    return notes


def _confirmation(each: Confirmation) -> tuple[str, ...]:
    return (
        each.target + (" *" if each.confirmed else ""),
        f"{each.dataset}, {each.ablation}",
        points(each.first),
        points(each.second),
        f"{each.flips_to_wrong:,}",
        f"{each.flips_to_right:,}",
        f"{each.items:,}",
        p_value(each.p_adjusted),
    )


def _cut(there: int, most: int) -> str:
    return f", {most:,} of {there:,}" if there > most else ""


def _accuracy(change: DatasetChange) -> tuple[str, ...]:
    effect = change.effect
    return (
        change.dataset,
        percent(change.first_correct / effect.items),
        percent(effect.correct / effect.items),
        points(effect.delta),
        _interval(effect.delta_ci95),
        f"{effect.flips_to_wrong:,}",
        f"{effect.flips_to_right:,}",
        p_value(effect.p_value),
        p_value(effect.p_discrete),
        nats(effect.delta_logprob),
    )


def _target(change: TargetChange) -> tuple[str, ...]:
    return (
        change.target + (" *" if change.significant else ""),
        f"{change.dataset}, {change.ablation}",
        points(change.first),
        points(change.second),
        points(change.change.mean or 0.0),
        _interval(change.change.ci95),
        p_value(change.p_adjusted),
        nats(change.first_logprob),
        nats(change.second_logprob),
        nats(change.change_logprob.mean),
        p_value(change.logprob_p_adjusted),
    )


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def _answer(answer: str | None) -> str:
    return "(none)" if answer is None else shorten(answer, 30)
