"""What the models of several processes measured of the same heads, put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reasoning_probe.results.cards.card import Direct, HeadCard, card_of
from reasoning_probe.results.record import HeadRecord

MOST_EXAMPLES = 3
"""Flipped items of a card, at most."""


def merged_measured(parts: Sequence[Sequence[HeadRecord] | None]) -> list[HeadRecord]:
    """Return one record for each head, dataset and ablation of *parts*: the examples of all, the scores of the first.

    Direct attribution is the mean over the examples; its rank is that of the part with the most.
    """
    by_card: dict[tuple[str, str, str | None], list[HeadCard]] = {}
    for record in (record for part in parts for record in part or ()):
        key = (record["target"], record["dataset"], record["ablation"])
        by_card.setdefault(key, []).append(card_of(record))
    return [_merged(cards).record() for cards in by_card.values()]


def _merged(cards: Sequence[HeadCard]) -> HeadCard:
    scored = next((card for card in cards if card.scores is not None), cards[0])
    measured = [card for card in cards if card.examples is not None]
    examples = tuple(example for card in measured for example in card.examples or ())[:MOST_EXAMPLES]
    with_direct = [card for card in measured if card.direct is not None]
    direct = None
    if with_direct:
        most = max(with_direct, key=lambda card: len(card.examples or ()))
        counts = [max(1, len(card.examples or ())) for card in with_direct]
        total = math.fsum(
            count * card.direct.mean for count, card in zip(counts, with_direct, strict=True) if card.direct is not None
        )
        assert most.direct is not None
        direct = Direct(total / sum(counts), most.direct.rank) if len(with_direct) > 1 else most.direct
    notes = dict.fromkeys(card.note for card in cards if card.note)
    return replace(scored, direct=direct, examples=examples if measured else None, note="; ".join(notes))
