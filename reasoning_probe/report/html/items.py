"""The items as HTML: each question with its answer, and the ablated cases that changed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from reasoning_probe.report.effects import answer_changed
from reasoning_probe.report.format import percent
from reasoning_probe.report.html.diff import Excerpt, fold_blanks, split_at_difference
from reasoning_probe.report.html.rendering import anchor, render
from reasoning_probe.report.sampling import samples_phrase
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import AnchoredSentenceRecord, ThoughtAnchorsRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise, shorten

MOST_ITEMS = 1000
"""Items listed a dataset; the wrong and the changed ones come first where there are more."""
MOST_CHANGES = 10
"""Different changed answers listed an item."""
MOST_CHARACTERS = 2_500_000
"""Size of the list in all, whatever the items hold."""
MOST_TEXT = 4000
"""Characters shown of one prompt or response."""


@dataclass
class _ItemOutcomes:
    """An item's outcomes: the baseline and the ablated cases, of which some changed."""

    baseline: Outcome
    ablated: int = 0
    changed: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class _Change:
    """An answer that differs from the baseline's, with all targets that led to it."""

    targets: str
    response: Excerpt | None
    extracted: str | None
    correct: bool
    mistake: str


@dataclass(frozen=True)
class _Item:
    """An item under the baseline; texts are ``None`` where there is nothing, and cut where they are long."""

    correct: bool
    headline: str
    facts: str
    name: str
    anchor: str
    question: str
    prompt: Excerpt | None
    expected: str
    truncated: bool
    thought: Excerpt | None
    sentences: Sequence[tuple[str, float | None, str]]
    readers_note: str
    response: Excerpt | None
    extracted: str | None
    choices: Sequence[tuple[str, float | None]]
    mistake: str
    changes_caption: str
    changes: Sequence[_Change]


@dataclass(frozen=True)
class _Dataset:
    """A dataset's items, as HTML, and the number of those for which there is no room."""

    name: str
    facts: str
    items: Sequence[Markup]
    left_out: int


def items_html(run: Run) -> Markup:
    """Return the items by dataset, and how many ablated cases are not listed because nothing changed."""
    outcomes = _by_item(run.outcomes)
    ablated = sum(item.ablated for items in outcomes.values() for item in items)
    unchanged = ablated - sum(len(item.changed) for items in outcomes.values() for item in items)
    note = f"{pluralise(ablated, 'ablated case')}, {unchanged:,} unchanged (not listed)." if ablated else ""
    targets = {outcome.target for outcome in run.outcomes}
    anchors = {(row["dataset"], row["item"]): row for row in run.summary.get("thought_anchors") or ()}
    datasets, room = [], MOST_CHARACTERS
    for dataset, items in outcomes.items():
        wrong = sum(not item.baseline.correct for item in items)
        moved = sum(bool(item.changed) for item in items)
        facts = f"{pluralise(len(items), 'item')}, {wrong:,} wrong" + (
            f", {moved:,} changed by a target" if moved else ""
        )
        fragments: list[Markup] = []
        for item in _most_telling(items):
            anchored = anchors.get(item.baseline.item_key)
            fragments.append(render("item", item=_item(item, anchored, is_target=item.baseline.item in targets)))
            room -= len(fragments[-1])
            if room < 0:
                break
        datasets.append(_Dataset(dataset, facts, fragments, len(items) - len(fragments)))
    return render("items", note=note, datasets=datasets)


def _by_item(outcomes: Sequence[Outcome]) -> dict[str, list[_ItemOutcomes]]:
    """Return the items that have a baseline, by dataset, in the order in which the outcomes name them."""
    items: dict[str, dict[str, _ItemOutcomes | None]] = {}
    for outcome in outcomes:
        dataset = items.setdefault(outcome.dataset, {})
        dataset.setdefault(outcome.item, None)
        if outcome.target == BASELINE:
            dataset[outcome.item] = _ItemOutcomes(outcome)
    for outcome in outcomes:
        item = items[outcome.dataset][outcome.item]
        if outcome.target != BASELINE and item is not None:
            item.ablated += 1
            if answer_changed(outcome, item.baseline):
                item.changed.append(outcome)
    return {name: [item for item in dataset.values() if item is not None] for name, dataset in items.items()}


def _most_telling(items: Sequence[_ItemOutcomes]) -> Sequence[_ItemOutcomes]:
    if len(items) <= MOST_ITEMS:
        return items
    return sorted(items, key=lambda item: (item.baseline.correct, not item.changed))[:MOST_ITEMS]


def _item(item: _ItemOutcomes, anchored: ThoughtAnchorsRecord | None, *, is_target: bool) -> _Item:
    """Return what the page shows of *item*, which has no address where one of the targets has its name.

    *anchored* has the sentences of its thought, where they were left out one by one.
    """
    outcome = item.baseline
    facts = [f"answered {shorten(outcome.answer, 40) if outcome.answer is not None else 'nothing'}"]
    if not outcome.correct:
        facts += [f"expected {shorten(outcome.expected, 40)}", outcome.category or "wrong"]
    if outcome.samples:
        facts.append(samples_phrase(outcome))
    if item.changed:
        facts.append(f"{len(item.changed):,} of {item.ablated:,} changed it")
    by_answer = _by_answer(item.changed)
    rest = sum(map(len, by_answer[MOST_CHANGES:]))
    several = len({changed.ablation for changed in item.changed}) > 1
    return _Item(
        correct=outcome.correct,
        headline=shorten(outcome.question, 140),
        facts=" · ".join(facts),
        name=outcome.item,
        anchor="" if is_target else anchor(outcome.dataset, outcome.item),
        question=_cut(outcome.question),
        prompt=_verbatim(outcome.prompt),
        expected=_cut(outcome.expected),
        truncated=outcome.truncated,
        thought=_verbatim(outcome.thought or ""),
        sentences=[
            (_cut(sentence["text"].strip()), sentence["change"], _readers(sentence))
            for sentence in (anchored["sentences"] if anchored else ())
        ],
        readers_note=_readers_note(anchored) if anchored else "",
        response=_verbatim(outcome.response),
        extracted=_extracted(outcome),
        choices=[(_cut(choice.text), choice.logprob) for choice in outcome.choices or ()],
        mistake=_mistake(outcome),
        changes_caption="Switched off, the answer changed"
        + (f"; {pluralise(rest, 'more case')} in outcomes.jsonl" if rest else ""),
        changes=[_change(outcomes, outcome.response, several) for outcomes in by_answer[:MOST_CHANGES]],
    )


def _readers(sentence: AnchoredSentenceRecord) -> str:
    """Return the heads that read *sentence*, each with its attention beside even attention."""
    return join_names(
        [
            f"{shorten(reader['target'], 20)} ({percent(reader['share'])}; {percent(reader['even'])})"
            for reader in sentence.get("readers", ())
        ]
    )


def _readers_note(anchored: ThoughtAnchorsRecord) -> str:
    """Return what is to be said of the heads that read the sentences of *anchored*, if these are few or unknown."""
    heads = [sentence.get("readers") for sentence in anchored["sentences"]]
    if "note" in anchored:
        return f"{anchored['note'][:1].upper()}{anchored['note'][1:]}."
    if any(heads) or None in heads:
        return ""
    return "No head attends to any of these sentences more than chance explains."


def _by_answer(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Return the outcomes that are alike together, the commonest first."""
    alike: dict[tuple[str | None, str, str | None, bool], list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault((outcome.ablation, outcome.response, outcome.answer, outcome.correct), []).append(outcome)
    return sorted(alike.values(), key=len, reverse=True)


def _change(outcomes: Sequence[Outcome], baseline: str, several: bool) -> _Change:
    """Return *outcomes*, which are alike, beside the *baseline*'s response; *several* ablations must be told apart."""
    first = outcomes[0]
    targets = join_names([outcome.target for outcome in outcomes], 12) + (f" ({first.ablation})" if several else "")
    response = (
        split_at_difference(fold_blanks(first.response), fold_blanks(baseline), MOST_TEXT) if first.response else None
    )
    return _Change(targets, response, _extracted(first), first.correct, _mistake(first))


def _extracted(outcome: Outcome) -> str | None:
    return None if outcome.answer is None else _cut(outcome.answer)


def _mistake(outcome: Outcome) -> str:
    words = " · ".join(part for part in (outcome.category or "wrong", outcome.kind) if part)
    return words + (f": {_cut(outcome.reason)}" if outcome.reason else "")


def _verbatim(text: str) -> Excerpt | None:
    return Excerpt(_cut(fold_blanks(text)), "", "") if text else None


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}... ({len(text) - MOST_TEXT:,} more characters)"
