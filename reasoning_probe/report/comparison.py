"""Two runs side by side as sentences and tables of plain text: terminal, page and Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_probe.report.format import nats, p_value, percent, points
from reasoning_probe.results.compare import Changed, Comparison, DatasetChange, TargetChange
from reasoning_probe.results.confirmation import Confirmation
from reasoning_probe.results.stats import is_significant
from reasoning_probe.utils.text import join_names, pluralise, shorten


@dataclass(frozen=True)
class ComparisonTable:
    """A table; its first *texts* columns hold words, the others numbers.

    Where the terminal is too narrow, the columns of the indices *spare* go, in that order.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    spare: Sequence[int] = ()


def accuracy_table(comparison: Comparison) -> ComparisonTable:
    """Return the accuracies of both runs, a row a dataset."""
    head = ["dataset", "A", "B", "points", "95 % interval", "lost", "won", "p", "p (discrete Holm)", "nats"]
    rows = [_accuracy(change) for change in comparison.datasets]
    return ComparisonTable("Accuracy, B against A over the same items", head, rows, spare=[7, 9, 4, 6, 5])


def ranked_answers(comparison: Comparison) -> list[Changed]:
    """Return the answers that changed: those that B lost, those that it won, then others."""
    return sorted(comparison.changed, key=lambda change: ("lost", "won", "other").index(change.what))


def answers_table(comparison: Comparison, most: int) -> ComparisonTable:
    """Return the *most* first of the answers that changed."""
    changed = ranked_answers(comparison)
    rows = [
        (
            change.what,
            f"{shorten(change.first.dataset, 20)} {shorten(change.first.item, 30)}",
            shorten(change.first.question, 60),
            shorten(change.first.expected, 20),
            _answer(change.first.answer),
            _answer(change.second.answer),
        )
        for change in changed[:most]
    ]
    head = ["", "item", "question", "expected", "A", "B"]
    return ComparisonTable(f"Answers that changed{_cut(len(changed), most)}", head, rows, texts=6)


def effects_table(comparison: Comparison, most: int) -> ComparisonTable:
    """Return the *most* first of the effects that both runs measured, the clearest changes first."""
    head = ["target", "dataset", "points, A", "B", "change", "95 % interval", "p (discrete Holm)"]
    head += ["nats, A", "B", "change", "p (discrete Holm)"]
    title = f"Effects, the clearest changes first{_cut(len(comparison.targets), most)}; * is significant"
    rows = [_target(change) for change in comparison.targets[:most]]
    return ComparisonTable(title, head, rows, texts=2, spare=[10, 5, 8, 7, 9, 4])


def confirmations_table(comparison: Comparison, most: int) -> ComparisonTable:
    """Return what A names, measured on the items that only B asked."""
    head = ["target", "dataset", "points, A", "B", "lost", "won", "items", "p (discrete Holm)"]
    title = f"What A names, on items that only B asked{_cut(len(comparison.confirmations), most)}; * is confirmed"
    rows = [_confirmation(each) for each in comparison.confirmations[:most]]
    return ComparisonTable(title, head, rows, texts=2, spare=[6, 5, 4])


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
        notes.append("B asked no new items, so it cannot confirm what A names.")
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
