"""A card as lines of text: for Python, and for the terminal where there is room."""

from __future__ import annotations

from collections.abc import Iterator

from reasoning_probe.results.cards.card import HeadCard
from reasoning_probe.results.cards.sentence import overlap_sentence, part_words, value_words
from reasoning_probe.results.stats import is_significant
from reasoning_probe.scoring.deviations import WORDS

MOST_PARTS = 4
"""Parts of the prompt that are named beside an example."""

_LEAST = 0.01  # attention on a part that is named


def lines_of(card: HeadCard) -> Iterator[str]:
    """Yield the sentence, then what stands behind it; ``*`` marks what is significant."""
    yield card.sentence
    yield f"On {card.dataset}, {card.ablation} ablation."
    if card.behaviour:
        yield "Right answers lost, by the questions' tags:"
    for contrast in card.behaviour:
        words = value_words(contrast.tag, contrast.value)
        rest = f"the rest {contrast.others_lost:,} of {contrast.others_right:,}"
        yield f"{_mark(contrast.p_adjusted)}{words}: {contrast.lost:,} of {contrast.right:,}, {rest}"
    if card.mistakes:
        yield "How lost answers are wrong:"
    for kind, mistake in card.mistakes.items():
        others = f"other heads' {mistake.others_count:,} of {mistake.others_lost:,}"
        words = WORDS.get(kind, kind)
        yield f"{_mark(mistake.p_adjusted)}{words}: {mistake.count:,} of {mistake.lost:,}, {others}"
    if overlap := overlap_sentence(card):
        yield overlap
    if card.scores:
        yield "Scores: " + ", ".join(f"{name.replace('_', ' ')} {score:.2f}" for name, score in card.scores.items())
    if card.direct is not None:
        yield f"Direct logit attribution: mean {card.direct.mean:+.2f}, rank {card.direct.rank:,}"
    for example in card.examples or ():
        parts = sorted(example.parts.items(), key=lambda part: -part[1])[:MOST_PARTS]
        shares = ", ".join(f"{part_words(name)} {100 * share:.0f} %" for name, share in parts if share >= _LEAST)
        direct = "" if example.direct is None else f"; it writes {example.direct:+.2f}"
        tokens = f"{example.token_off!r} in place of {example.token_on!r}"
        yield f"  {example.item}: {tokens}; it attends to {shares}{direct}"
    if card.note:
        yield f"Not measured: {card.note}."


def _mark(p_adjusted: float | None) -> str:
    return "* " if is_significant(p_adjusted) else "  "
