"""The cards of a run's heads as reports show them: their sentences, and the heads across datasets and ablations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reasoning_probe.report.format import points
from reasoning_probe.results.cards.card import HeadCard, card_of
from reasoning_probe.results.cards.sentence import particular_behaviour, particular_mistakes
from reasoning_probe.results.naming import significant_on_page
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise

MOST_SENTENCES = 8
"""Sentences of cards in the terminal, at most."""


def cards_of(run: Run) -> list[HeadCard]:
    """Return the cards of *run* whose targets it measured, in its order."""
    measured = {(row["target"], row["dataset"], row["ablation"]) for row in run.summary["targets"]}
    records = run.summary.get("heads") or ()
    return [card_of(one) for one in records if (one["target"], one["dataset"], one["ablation"]) in measured]


def shows_role(card: HeadCard) -> bool:
    """Whether anything on the card is particular to its head."""
    return bool(particular_behaviour(card) or particular_mistakes(card) or card.labels)


def card_sentences(run: Run, *, with_role: bool = False) -> list[str]:
    """Return a sentence for each head and dataset, that of the ablation under which the head has the largest effect.

    Heads without a particular role are left out *with_role*.
    """
    cards = cards_of(run)
    effects = {(row["target"], row["dataset"], row["ablation"]): abs(row["delta"]) for row in run.summary["targets"]}
    largest: dict[tuple[str, str], HeadCard] = {}
    for card in cards:
        known = largest.setdefault((card.target, card.dataset), card)
        if _effect(card, effects) > _effect(known, effects):
            largest[card.target, card.dataset] = card
    datasets = len({card.dataset for card in cards}) > 1
    ablations = len({card.ablation for card in cards}) > 1
    chosen = [card for card in largest.values() if shows_role(card) or not with_role]
    return [_placed(card, datasets, ablations) for card in chosen]


def card_lines(run: Run, most: int, *, without_role: bool = True) -> list[str]:
    """Return a line for each head with a role, at most *most*, and one that names the heads *without_role*."""
    roles = card_sentences(run, with_role=True)
    lines = roles[:most]
    if len(roles) > most:
        lines.append(f"{pluralise(len(roles) - most, 'more head')} with a particular role: the page has the cards.")
    with_role = {card.target for card in cards_of(run) if shows_role(card)}
    without = dict.fromkeys(card.target for card in cards_of(run) if card.target not in with_role)
    if without and without_role:
        lines.append(f"No particular role shown: {join_names(list(without), most)}.")
    return lines


def _effect(card: HeadCard, effects: dict[tuple[str, str, str | None], float]) -> float:
    return effects[card.target, card.dataset, card.ablation]


def _placed(card: HeadCard, datasets: bool, ablations: bool) -> str:
    """Return the sentence of *card* with its dataset and its ablation, where the run has several."""
    places = [*([card.dataset] if datasets else []), *([f"{card.ablation} ablation"] if ablations else [])]
    return f"{card.sentence.removesuffix('.')} ({', '.join(places)})." if places else card.sentence


# -- a head across datasets and ablations -------------------------------------------------------------------------


def matrix(run: Run, targets: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Return the effects of *targets* as a table, a column a dataset and ablation: (head, rows); ○ is significant.

    Its last column says under which ablations an effect holds, where there are several.
    """
    rows = run.summary["targets"]
    columns = list(dict.fromkeys((row["dataset"], row["ablation"]) for row in rows))
    several = len({ablation for _, ablation in columns}) > 1
    by_key = {(row["target"], row["dataset"], row["ablation"]): row for row in rows}
    names = [f"{dataset}, {ablation}" if several else dataset for dataset, ablation in columns]
    table = []
    for target in targets:
        cells = [by_key.get((target, *column)) for column in columns]
        measured = [row for row in cells if row is not None]
        last = [holds(measured)] if several else []
        table.append([target, *map(_cell, cells), *last])
    return ["head", *names, *(["holds"] if several else [])], table


def _cell(row: EffectRecord | None) -> str:
    return "-" if row is None else points(row["delta"]) + " ○" * significant_on_page(row)


def holds(rows: Sequence[EffectRecord]) -> str:
    """Say of one target under which ablations its effect on each dataset is significant.

    ``arithmetic: under zero and mean; logic: under zero alone``
    """
    by_dataset: dict[str, list[EffectRecord]] = {}
    for row in rows:
        by_dataset.setdefault(row["dataset"], []).append(row)
    parts = []
    for dataset, of_dataset in by_dataset.items():
        losing, gaining = (
            [str(row["ablation"]) for row in of_dataset if significant_on_page(row) and (row["delta"] < 0) is loses]
            for loses in (True, False)
        )
        if losing or gaining:
            named = max(losing, gaining, key=len)
            alone = " alone" if len(named) == 1 < len(of_dataset) else ""
            parts.append(f"{dataset}: under {join_names(named)}{alone}")
    return "; ".join(parts) or "under none"
