"""What the page's script reads: for each map the effect of each target in words, and the items that it flipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from reasoning_probe.report.effects import EffectGroup, answer_changed, groups, significant
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.html.diff import split_at_difference
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape_control_characters, shorten

MOST_CHARACTERS = 1_500_000
"""Size of the flipped items in all; every target gets its first ones before any gets its next."""
MOST_TEXT = 1200
"""Characters shown of one response."""

_KINDS = ("right to wrong", "wrong to right", "still wrong")

Flip = tuple[int, Outcome, Outcome]  # its kind, the baseline, the ablated case


def script_data(run: Run) -> str:
    """Return the JSON that stands in a ``<script type="application/json">`` of the page.

    Nothing in it can end that element or open a comment: ``<``, ``>`` and ``&`` are written as escapes.

    ``texts`` holds each text once, and the rest refers to it by number. A map is {``dataset``, ``ablation``,
    ``targets``: {target: {``effect``: lines, ``flips``: [[kind, question, expected, answers of the baseline and of the
    target, both responses in three parts]], ``more``: how many flips are left out}}}.
    """
    texts, shown = _Texts(), groups(run)
    targets: list[dict[str, dict[str, Any]]] = [
        {
            escape_control_characters(row["target"]): {"effect": effect_lines(row), "flips": [], "more": 0}
            for row in group.rows
        }
        for group in shown
    ]
    listed = 0
    for at, target, flip in _in_turn(run, shown):
        entry = targets[at][escape_control_characters(target)]
        if texts.characters + 60 * listed > MOST_CHARACTERS:
            entry["more"] += 1
            continue
        listed += 1
        entry["flips"].append(_flip(flip, texts))
    maps = [
        {
            "dataset": escape_control_characters(group.dataset),
            "ablation": escape_control_characters(group.ablation),
            "targets": mine,
        }
        for group, mine in zip(shown, targets, strict=True)
    ]
    data = {"kinds": _KINDS, "texts": list(texts.numbers), "maps": maps}
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return written


class _Texts:
    """Numbers texts in the order in which they came, each once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.characters = 0

    def number(self, text: str) -> int:
        shown = escape_control_characters(text)
        if shown not in self.numbers:
            self.numbers[shown] = len(self.numbers)
            self.characters += len(shown) + 3
        return self.numbers[shown]


def effect_lines(row: EffectRecord) -> list[str]:
    """Return a target's effect: the change with its interval, the flips, the tests."""
    low, high = row["delta_ci95"]
    mark = ", significant" if significant(row) else ""
    return [
        f"accuracy {points(row['delta'])} points ({points(low)} to {points(high)})",
        f"{row['flips_to_wrong']:,} right to wrong, {row['flips_to_right']:,} wrong to right of {row['items']:,}",
        f"adjusted p {p_value(row['p_adjusted'])}{mark}",
        f"log-probability {nats(row['delta_logprob'])} nats",
    ]


def _in_turn(run: Run, shown: Sequence[EffectGroup]) -> Iterator[tuple[int, str, Flip]]:
    """Yield every target's first flip, then every target's second, and so on."""
    flips = _flips(run.outcomes)
    mine = [
        (index, str(row["target"]), flips.get((group.dataset, group.ablation, str(row["target"])), []))
        for index, group in enumerate(shown)
        for row in group.rows
    ]
    for turn in zip_longest(*(found for _, _, found in mine)):
        for (index, target, _), flip in zip(mine, turn, strict=True):
            if flip is not None:
                yield index, target, flip


def _flips(outcomes: Sequence[Outcome]) -> Mapping[tuple[str, str, str], list[Flip]]:
    baselines = {outcome.item_key: outcome for outcome in outcomes if outcome.target == BASELINE}
    found: dict[tuple[str, str, str], list[Flip]] = {}
    for outcome in outcomes:
        baseline = baselines.get(outcome.item_key)
        if outcome.target != BASELINE and baseline is not None and answer_changed(outcome, baseline):
            kind = 2 if outcome.correct == baseline.correct else int(outcome.correct)
            key = (outcome.dataset, str(outcome.ablation), outcome.target)
            found.setdefault(key, []).append((kind, baseline, outcome))
    for flips in found.values():
        flips.sort(key=lambda flip: flip[0])
    return found


def _flip(flip: Flip, texts: _Texts) -> list[Any]:
    kind, baseline, outcome = flip
    both = ((baseline.response, outcome.response), (outcome.response, baseline.response))
    parted = [[texts.number(piece) for piece in split_at_difference(text, other, MOST_TEXT)] for text, other in both]
    said = (shorten(baseline.question, 400), shorten(baseline.expected, 60), _answer(baseline), _answer(outcome))
    return [kind, *map(texts.number, said), *parted]


def _answer(outcome: Outcome) -> str:
    mistake = "right" if outcome.correct else shorten(outcome.category or "wrong", 60)
    return f"{'nothing' if outcome.answer is None else shorten(outcome.answer, 60)} ({mistake})"
