"""The cards of heads as HTML: the sentence opens to what the head loses, how, and with whom; the dialog copies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning_probe.report.cards import cards_of, matrix
from reasoning_probe.report.effects import groups
from reasoning_probe.report.figures.pattern import pattern_picture
from reasoning_probe.report.format import p_value, percent
from reasoning_probe.report.html.rendering import minus, render
from reasoning_probe.report.html.tables import Table
from reasoning_probe.results.cards.card import Example, HeadCard
from reasoning_probe.results.cards.sentence import overlap_sentence, part_words, value_words
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import is_significant
from reasoning_probe.scoring.deviations import WORDS
from reasoning_probe.utils.text import shorten

MOST_ROWS = 8
"""Rows of a card's tables, the clearest; ``run.json`` has every one."""
MOST_CARDS = 200
FIRST_CARDS = 12
"""Cards of a page, and those of them that show before the rest is opened."""
LEAST_SHARE = 0.005
"""The least attention of a token that is shaded."""
MOST_TOKEN = 40


@dataclass(frozen=True)
class _Row:
    """What a head loses, or how, beside the rest: two counts of totals, and the adjusted p-value."""

    words: str
    count: int
    total: int
    others_count: int
    others_total: int
    p: float | None

    @property
    def significant(self) -> bool:
        """Whether the two shares differ."""
        return is_significant(self.p)

    @property
    def p_text(self) -> str:
        """The p-value as text."""
        return "-" if self.p is None else p_value(self.p)


@dataclass(frozen=True)
class _ExampleView:
    """A flipped item: what is said with and without the head, and the prompt with the head's attention on it."""

    item: str
    token_on: str
    token_off: str
    tokens: Sequence[tuple[str, float]]
    shares: Table
    pattern: Sequence[Sequence[int]]
    picture: str


@dataclass(frozen=True)
class _CardView:
    """A card; *index* is the number of its map, *across* the head on all datasets and under all ablations."""

    index: int
    target: str
    dataset: str
    ablation: str
    sentence: str
    behaviour: Sequence[_Row]
    mistakes: Sequence[_Row]
    overlap: str
    across: Table | None
    examples: Sequence[_ExampleView]
    mechanism: Table | None
    note: str


def cards_html(run: Run) -> Markup:
    """Return the heads across datasets and ablations, and a card for each; empty where there are none."""
    cards = cards_of(run)
    if not cards:
        return Markup()
    indices = {(group.dataset, group.ablation): index for index, group in enumerate(groups(run))}
    views = [_view(run, card, indices[card.dataset, str(card.ablation)]) for card in cards[:MOST_CARDS]]
    return render(
        "cards", cards=views, first=FIRST_CARDS, across=_across(run, list(dict.fromkeys(card.target for card in cards)))
    )


def _view(run: Run, card: HeadCard, index: int) -> _CardView:
    behaviour = [
        _Row(
            value_words(contrast.tag, contrast.value),
            *(contrast.lost, contrast.right, contrast.others_lost, contrast.others_right),
            contrast.p_adjusted,
        )
        for contrast in card.behaviour
    ]
    mistakes = [
        _Row(WORDS.get(kind, kind), *(each.count, each.lost, each.others_count, each.others_lost), each.p_adjusted)
        for kind, each in card.mistakes.items()
        if each.count or is_significant(each.p_adjusted)
    ]
    return _CardView(
        index,
        card.target,
        card.dataset,
        str(card.ablation),
        card.sentence,
        _clearest(behaviour),
        _clearest(mistakes),
        overlap_sentence(card),
        _across(run, [card.target]),
        [_example(example) for example in card.examples or ()],
        _mechanism(card),
        card.note,
    )


def _example(example: Example) -> _ExampleView:
    """Return an example to show: tokens with hardly any attention are joined to the text before them."""
    tokens: list[tuple[str, float]] = []
    for text, share in zip(example.tokens, example.attention, strict=True):
        if share < LEAST_SHARE and tokens and tokens[-1][1] < LEAST_SHARE:
            tokens[-1] = (tokens[-1][0] + text, 0.0)
        else:
            tokens.append((text, share))
    shares = {part_words(name): share for name, share in example.parts.items()} | dict(example.sinks)
    marked = [(f"token {place}: {text!r}", share) for place, (text, share) in _most(example)]
    rows = [[name, percent(share)] for name, share in [*sorted(shares.items(), key=lambda part: -part[1]), *marked]]
    caption = "The share of the head's attention on parts of the prompt, which may overlap, and on single tokens"
    return _ExampleView(
        example.item,
        shorten(example.token_on, MOST_TOKEN),
        shorten(example.token_off, MOST_TOKEN),
        [(text, share if share >= LEAST_SHARE else 0.0) for text, share in tokens],
        Table(caption, ["part", "attention"], rows, names=1),
        example.pattern,
        pattern_picture(example.pattern) if example.pattern else "",
    )


def _most(example: Example) -> list[tuple[int, tuple[str, float]]]:
    """Return the tokens with the most attention, by their places."""
    pairs = zip(example.tokens, example.attention, strict=True)
    return sorted(enumerate(pairs), key=lambda entry: -entry[1][1])[:MOST_ROWS]


def _mechanism(card: HeadCard) -> Table | None:
    """Return the head's scores and its direct attribution as a table; ``None`` where neither was measured."""
    rows = [
        [name.replace("_", " "), f"{score:.2f}", "label" if name in (card.labels or ()) else "-"]
        for name, score in (card.scores or {}).items()
    ]
    if card.direct is not None:
        rows.append(["direct effect on the logit", minus(f"{card.direct.mean:+.2f}"), f"rank {card.direct.rank}"])
    caption = "Scores with a known meaning, from 0 to 1; a label passes 0.5 and 99 % of heads with permuted weights"
    return Table(caption, ["score", "value", "label or rank"], rows, names=1) if rows else None


def _clearest(rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows with the smallest p-values, and of equal ones those with the largest counts first."""
    return sorted(rows, key=lambda row: (1.0 if row.p is None else row.p, -row.count))[:MOST_ROWS]


def _across(run: Run, targets: Sequence[str]) -> Table | None:
    """Return the effects of *targets* on all datasets and under all ablations; ``None`` where there is one only."""
    head, rows = matrix(run, targets)
    if len(head) < 3:
        return None
    caption = "Accuracy change in points, by dataset and ablation; ○ is significant of all tests of the page"
    return Table(caption, head, [[minus(cell) for cell in row] for row in rows], names=1)
