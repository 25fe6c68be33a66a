"""The sentence that a card opens with: what is significant on it, and nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from reasoning_probe.results.cards.card import Behaviour, HeadCard, Mistake
from reasoning_probe.results.control import guesses_plain_text, harms_plain_text
from reasoning_probe.results.patching import shows_answer
from reasoning_probe.results.record import ControlRecord, PatchRecord
from reasoning_probe.results.stats import is_significant
from reasoning_probe.scoring.deviations import WORDS
from reasoning_probe.utils.text import join_names, shorten

MOST_PARTS = 2
"""Contrasts, and kinds of mistakes, in a sentence."""

_MOST_TEXT = 40
_MOST = 0.5
_ORDINAL = re.compile(r"operand_\d+")
_PARTS = {"instruction": "the words around the question", "answer": "the answer so far", "units": "the operands' units"}
_OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}


def sentence_of(card: HeadCard, control: ControlRecord | None = None, patched: PatchRecord | None = None) -> str:
    """Return what is significant on *card*, and whether plain text suffers without the head, too.

    *patched* is what patching the head does, where the card is of that ablation.

    ``L1H0: loses subtraction (54 of 80) rather than the rest (11 of 112); removing it barely affects plain text.``
    """
    role = [*_contrasts(card), *_mistakes(card), *_labels(card)] or ["no particular role shown"]
    return f"{card.target}: {'; '.join([*role, *_patched(patched), *_reading(card), *_plain_text(card, control)])}."


def _patched(row: PatchRecord | None) -> Iterator[str]:
    if row is not None and shows_answer(row):
        yield (
            f"patched, it makes the other question's answer on {row['became']:,} of {row['items']:,} items (control"
            f" {row['control_became']:,})"
        )


def particular_behaviour(card: HeadCard) -> list[Behaviour]:
    """Return the contrasts that show what the head loses rather than the rest, the clearest first, one of each tag."""
    losing = [
        contrast
        for contrast in card.behaviour
        if is_significant(contrast.p_adjusted)
        and contrast.lost * contrast.others_right > contrast.others_lost * contrast.right
    ]
    clearest: dict[str, Behaviour] = {}
    for contrast in sorted(losing, key=lambda contrast: contrast.p_adjusted):
        clearest.setdefault(contrast.tag, contrast)
    return list(clearest.values())


def particular_mistakes(card: HeadCard) -> list[tuple[str, Mistake]]:
    """Return the kinds of mistakes that the head's losses hold more often than the other heads', the clearest first."""
    kinds = [
        (kind, mistake)
        for kind, mistake in card.mistakes.items()
        if is_significant(mistake.p_adjusted)
        and mistake.count * mistake.others_lost > mistake.others_count * mistake.lost
    ]
    return sorted(kinds, key=lambda entry: entry[1].p_adjusted or 0.0)


def overlap_sentence(card: HeadCard) -> str:
    """Say with which heads the head loses the same items, or that nothing shows one circuit; empty without others."""
    if not card.overlap:
        return ""
    words = {
        pair.target: f"{pair.target} ({pair.shared:,}, by chance {pair.expected:.0f})"
        for pair in sorted(card.overlap, key=lambda pair: pair.p_adjusted)
    }
    marked = [pair for pair in card.overlap if is_significant(pair.p_adjusted)]
    together = [words[pair.target] for pair in marked if pair.shared > pair.expected]
    apart = [words[pair.target] for pair in marked if pair.shared < pair.expected]
    parts = []
    if together:
        parts.append(f"it shares more lost items than expected by chance with {join_names(together, 4)}")
    if apart:
        parts.append(f"it shares fewer lost items than expected by chance with {join_names(apart, 4)}")
    if not parts:
        listed = join_names(list(words.values()), 4)
        return f"No sign of one circuit: it shares about as many lost items as expected by chance with {listed}."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def value_words(tag: str, value: str) -> str:
    """Return a tag's value in words.

    >>> value_words("operation", "-"), value_words("carries", "2")
    ('subtraction', 'carries 2')
    """
    if tag == "operation":
        return _OPERATIONS.get(value, shorten(value, _MOST_TEXT))
    return f"{shorten(tag, _MOST_TEXT)} {shorten(value, _MOST_TEXT)}"


def _contrasts(card: HeadCard) -> Iterator[str]:
    divisions: set[tuple[int, ...]] = set()
    for contrast in particular_behaviour(card):
        counts = (contrast.lost, contrast.right, contrast.others_lost, contrast.others_right)
        if counts in divisions or len(divisions) == MOST_PARTS:  # another tag that divides the items alike
            continue
        divisions.add(counts)
        questions = "" if contrast.tag == "operation" else "questions with "
        yield (
            f"loses {questions}{value_words(contrast.tag, contrast.value)} ({contrast.lost:,} of {contrast.right:,})"
            f" rather than the rest ({contrast.others_lost:,} of {contrast.others_right:,})"
        )


def _mistakes(card: HeadCard) -> Iterator[str]:
    for kind, mistake in particular_mistakes(card)[:MOST_PARTS]:
        others = f"{100 * mistake.others_count / mistake.others_lost:.0f} %"
        yield f"{mistake.count:,} of {mistake.lost:,} lost answers are {WORDS[kind]} ({others} of other heads')"


def _labels(card: HeadCard) -> Iterator[str]:
    if card.labels:
        yield f"scores as {join_names([label.replace('_', ' ') for label in card.labels], 4)}"


def read_part(card: HeadCard) -> tuple[str, float] | None:
    """Return the part of the prompt that most of the head's attention lies on in its examples, with the share.

    Of parts that overlap it is one of the operands before all of them. ``None`` where no part has most of it.
    """
    examples = card.examples or ()
    names = [name for name in (examples[0].parts if examples else ()) if all(name in one.parts for one in examples)]
    means = {name: math.fsum(one.parts[name] for one in examples) / len(examples) for name in names}
    most = {name: mean for name, mean in means.items() if mean > _MOST}
    if not most:
        return None
    name = max(most, key=lambda name: (_ORDINAL.fullmatch(name) is not None, most[name]))
    return name, most[name]


def part_words(name: str) -> str:
    """Return the name of a part of the prompt in words.

    >>> part_words("operand_2"), part_words("first token"), part_words("claim")
    ('operand 2', 'the first token', 'the claim')
    """
    if _ORDINAL.fullmatch(name):
        return name.replace("_", " ")
    return _PARTS.get(name, f"the {shorten(name.replace('_', ' '), _MOST_TEXT)}")


def _reading(card: HeadCard) -> Iterator[str]:
    part = read_part(card)
    if part is not None:
        yield f"where it changes answers it reads {part_words(part[0])} ({100 * part[1]:.0f} % of its attention)"


def _plain_text(card: HeadCard, control: ControlRecord | None) -> Iterator[str]:
    if control is None or guesses_plain_text(control):
        return
    for row in control["targets"]:
        if (row["target"], row["ablation"]) == (card.target, card.ablation):
            yield f"removing it {'also harms' if harms_plain_text(row) else 'barely affects'} plain text"
