"""The cards of a run's heads, made from its outcomes alone: behaviour, mistakes, overlap and the sentence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

from reasoning_probe.results import stats
from reasoning_probe.results.cards.card import Behaviour, HeadCard, Mistake, Overlap, card_of
from reasoning_probe.results.cards.choice import AUTO, described, named_targets
from reasoning_probe.results.cards.contrasts import ContrastTest, contrasts_of, tags_or_form, tested
from reasoning_probe.results.cards.losses import Group, Losses, losses_by_group
from reasoning_probe.results.cards.mistakes import LostAnswers, MistakeTest
from reasoning_probe.results.cards.sentence import sentence_of
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import ControlRecord, EffectRecord, HeadRecord, PatchRecord
from reasoning_probe.results.run import Run, RunError
from reasoning_probe.utils.text import OneLineError, join_names, shorten

Test = TypeVar("Test")
_Key = tuple[str, str, str | None]
"""Target, dataset, ablation."""


def head_cards(
    outcomes: Sequence[Outcome],
    rows: Sequence[EffectRecord],
    describe: str,
    control: ControlRecord | None = None,
    measured: Iterable[HeadRecord] = (),
    patching: Iterable[PatchRecord] = (),
) -> list[HeadRecord]:
    """Return the card of each head that *describe* asks for, on each dataset and under each ablation of *rows*.

    A head that matters under one ablation has a card under every ablation, to be compared. The p-values of each of the
    three sorts of tests are adjusted over all cards (Holm 1979). Given how much each head loses, which chooses the
    heads, the tests ask which items it loses and how: so the choice costs none of their validity. What the model itself
    *measured* of these heads, scores, labels and examples, is kept; *patching* is what patching them does.
    """
    chosen = described(rows, describe)
    keys = [
        (target, dataset, ablation)
        for dataset, targets in chosen.items()
        for target in targets
        for ablation in dict.fromkeys(row["ablation"] for row in rows if row["dataset"] == dataset)
        if any((row["target"], row["dataset"], row["ablation"]) == (target, dataset, ablation) for row in rows)
    ]
    losses = losses_by_group(outcomes, {key[1:] for key in keys}) if keys else {}
    behaviour, mistakes, overlap = _behaviour(keys, losses), _mistakes(keys, losses), _overlap(keys, losses)
    earlier = {(one["target"], one["dataset"], one["ablation"]): card_of(one) for one in measured}
    cards = [
        replace(
            earlier.get(key) or HeadCard(*key),
            behaviour=tuple(behaviour[key]),
            mistakes=mistakes[key],
            overlap=tuple(overlap[key]),
        )
        for key in keys
    ]
    patched = {(row["target"], row["dataset"], row["ablation"]): row for row in patching}
    sentences = [
        sentence_of(card, control, patched.get((card.target, card.dataset, str(card.ablation)))) for card in cards
    ]
    return [replace(card, sentence=sentence).record() for card, sentence in zip(cards, sentences, strict=True)]


def with_cards(run: Run, describe: str = AUTO) -> Run:
    """Return *run* with the cards that *describe* asks for, made from its outcomes.

    Raises :class:`~reasoning_probe.results.run.RunError`, one line, for a target that was not switched off.
    """
    rows = run.summary["targets"]
    measured = {row["target"] for row in rows}
    for name in named_targets(describe) or ():
        if name not in measured:
            raise RunError(f"{name[:60]} was not switched off: {_targets_of(rows)}")
    summary = run.summary
    cards = head_cards(
        *(run.outcomes, rows, describe, summary.get("control"), summary.get("heads") or ()),
        patching=summary.get("patching") or (),
    )
    return replace(run, summary=run.summary | {"describe": describe, "heads": cards})


def card_for(run: Run, target: str, dataset: str | None = None, ablation: str | None = None) -> HeadCard:
    """Return the card of *target*; of several that of the dataset and ablation on which it has the largest effect.

    A target without a card in *run* gets one by itself. Raises ``ValueError``, one line, for one that was not switched
    off, or not there.
    """

    def matches(row: HeadRecord | EffectRecord) -> bool:
        return row["target"] == target and dataset in (None, row["dataset"]) and ablation in (None, row["ablation"])

    effects = {(row["dataset"], row["ablation"]): abs(row["delta"]) for row in run.summary["targets"] if matches(row)}
    if not effects:
        named = (("on", dataset), ("under", ablation))
        where = "".join(f" {word} {shorten(str(name), 40)}" for word, name in named if name)
        raise OneLineError(
            f"{shorten(str(target), 60)} was not switched off{where}: {_targets_of(run.summary['targets'])}"
        )
    cards = [one for one in run.summary.get("heads") or () if matches(one)]
    if not cards:
        cards = [one for one in with_cards(run, target).summary.get("heads") or () if matches(one)]
    return card_of(max(cards, key=lambda one: effects.get((one["dataset"], one["ablation"]), -1.0)))


def _targets_of(rows: Sequence[EffectRecord]) -> str:
    """Say which targets a run switched off."""
    names = [shorten(name, 40) for name in dict.fromkeys(row["target"] for row in rows)]
    return f"this run has {join_names(names, 8)}" if names else "this run switched nothing off"


def _behaviour(keys: Sequence[_Key], losses: Mapping[Group, Losses]) -> dict[_Key, list[Behaviour]]:
    contrasts = {
        group: contrasts_of([tags_or_form(baseline) for baseline in of_group.baselines])
        for group, of_group in losses.items()
    }
    tests = {key: tested(losses[key[1:]], key[0], contrasts[key[1:]]) for key in keys}
    adjusted = _adjusted(tests, lambda test: test.contrast.division, lambda test: test.p)
    return {
        key: [_as_behaviour(test, adjusted[key, test.contrast.division]) for test in of_card]
        for key, of_card in tests.items()
    }


def _as_behaviour(test: ContrastTest, p_adjusted: float) -> Behaviour:
    counts = (test.lost, test.right, test.others_lost, test.others_right)
    return Behaviour(test.contrast.tag, test.contrast.value, *counts, p_adjusted)


def _mistakes(keys: Sequence[_Key], losses: Mapping[Group, Losses]) -> dict[_Key, dict[str, Mistake]]:
    answers = {group: LostAnswers(of_group) for group, of_group in losses.items()}
    tests = {key: answers[key[1:]].tested(key[0]) for key in keys}
    adjusted = _adjusted(tests, lambda test: test.kind, lambda test: test.p)
    return {
        key: {test.kind: _as_mistake(test, adjusted.get((key, test.kind))) for test in of_card}
        for key, of_card in tests.items()
    }


def _as_mistake(test: MistakeTest, p_adjusted: float | None) -> Mistake:
    return Mistake(test.count, test.lost, test.others_count, test.others_lost, p_adjusted)


def _overlap(keys: Sequence[_Key], losses: Mapping[Group, Losses]) -> dict[_Key, list[Overlap]]:
    """Return for each card the items that its head shares with each other one that has a card in its group."""
    pairs = [(one, other) for one, other in combinations(keys, 2) if one[1:] == other[1:]]
    shared = []
    for one, other in pairs:
        of_group = losses[one[1:]]
        both = of_group.measured[one[0]] & of_group.measured[other[0]]
        lost, lost_too = of_group.is_lost(one[0])[both], of_group.is_lost(other[0])[both]
        shared.append(stats.association(lost, lost_too, of_group.strata[both]))
    adjusted = stats.holm([each.p for each in shared])
    overlap: dict[_Key, list[Overlap]] = {key: [] for key in keys}
    for (one, other), each, p in zip(pairs, shared, adjusted, strict=True):
        for key, partner in ((one, other), (other, one)):
            overlap[key].append(Overlap(partner[0], each.count, each.expected, float(p)))
    return overlap


def _adjusted(
    tests: Mapping[_Key, Sequence[Test]],
    name: Callable[[Test], Hashable],
    p_value: Callable[[Test], float | None],
) -> dict[tuple[_Key, Hashable], float]:
    """Return Holm's p-values over all cards, by card and the test's *name*; tests of one name are one test."""
    p_values = {
        (key, name(test)): p for key, of_card in tests.items() for test in of_card if (p := p_value(test)) is not None
    }
    return dict(zip(p_values, map(float, stats.holm(list(p_values.values()))), strict=True))
