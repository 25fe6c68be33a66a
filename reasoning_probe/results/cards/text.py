"""A card as lines of text: for Python, and for the terminal where there is room."""

from __future__ import annotations

from collections.abc import Iterator

from reasoning_probe.results.cards.card import HeadCard
from reasoning_probe.results.cards.sentence import overlap_sentence, value_words
from reasoning_probe.results.stats import is_significant
from reasoning_probe.scoring.deviations import WORDS


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
        yield f"Direct logit attribution: {card.direct.mean:+.2f} in the mean, rank {card.direct.rank:,}"


def _mark(p_adjusted: float | None) -> str:
    return "* " if is_significant(p_adjusted) else "  "
