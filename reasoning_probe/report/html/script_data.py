"""The data of the page's script: for each map the effect of each target in words, and the items that it flipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TypedDict

from reasoning_probe.report.effects import EffectGroup, answer_changed, groups
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.html.diff import fold_blanks, split_at_difference
from reasoning_probe.report.ranking import p_discrete
from reasoning_probe.results.naming import significant
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape_control_characters, shorten

MOST_CHARACTERS = 1_500_000
"""Size of the flipped items in all; every target gets its first ones before any gets its next."""
MOST_TEXT = 1200
"""Characters shown of one response."""

_KINDS = ("right to wrong", "wrong to right", "still wrong")

Flip = tuple[int, Outcome, Outcome]
"""The number of its kind, the baseline, the ablated case."""


class _TargetData(TypedDict):
    """What the script shows of one target."""

    effect: list[str]
    flips: list[list[int | list[int]]]
    more: int


class _MapData(TypedDict):
    """What the script shows of one map."""

    dataset: str
    ablation: str
    targets: dict[str, _TargetData]


def script_data(run: Run) -> str:
    """Return the JSON that stands in a ``<script type="application/json">`` of the page.

    Nothing in it can end that element or open a comment: ``<``, ``>`` and ``&`` are written as escapes.

    ``texts`` holds each text once, and the rest refers to it by number. A map is {``dataset``, ``ablation``,
    ``targets``: {target: {``effect``: lines, ``flips``: [[kind, question, expected, answers of the baseline and of the
    target, both responses in three parts]], ``more``: how many flips are left out}}}.
    """
    texts, effect_groups = _Texts(), groups(run)
    maps = [_map_data(group) for group in effect_groups]
    flips = 0
    for index, target, flip in _in_turn(run, effect_groups):
        entry = maps[index]["targets"][escape_control_characters(target)]
        if texts.characters + 60 * flips > MOST_CHARACTERS:
            entry["more"] += 1
            continue
        flips += 1
        entry["flips"].append(_flip(flip, texts))
    data = {"kinds": _KINDS, "texts": list(texts.numbers), "maps": maps}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _map_data(group: EffectGroup) -> _MapData:
    """Return a map's targets before any flip is listed."""
    return {
        "dataset": escape_control_characters(group.dataset),
        "ablation": escape_control_characters(group.ablation),
        "targets": {
            escape_control_characters(row["target"]): {"effect": effect_lines(row), "flips": [], "more": 0}
            for row in group.rows
        },
    }


class _Texts:
    """Texts by number, each once and in the order in which they came; ``characters`` is their size in the JSON."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.characters = 0

    def number(self, text: str) -> int:
        """Return the number of *text*, a new one where it has none."""
        escaped = escape_control_characters(text)
        if escaped not in self.numbers:
            self.numbers[escaped] = len(self.numbers)
            self.characters += len(escaped) + 3
        return self.numbers[escaped]


def effect_lines(row: EffectRecord) -> list[str]:
    """Return a target's effect: the change with its interval, the flips, the tests."""
    low, high = row.get("delta_ci_simultaneous") or row["delta_ci95"]
    mark = ", significant" if significant(row) else ""
    return [
        f"accuracy {points(row['delta'])} points ({points(low)} to {points(high)})",
        f"{row['flips_to_wrong']:,} right to wrong, {row['flips_to_right']:,} wrong to right of {row['items']:,}",
        f"adjusted p {p_value(p_discrete(row))}{mark}",
        f"log-probability {nats(row['delta_logprob'])} nats",
    ]


def _in_turn(run: Run, effect_groups: Sequence[EffectGroup]) -> Iterator[tuple[int, str, Flip]]:
    """Yield every target's first flip, then every target's second, and so on, with the number of its map."""
    flips = _flips(run.outcomes)
    targets = [
        (index, str(row["target"]), flips.get((group.dataset, group.ablation, str(row["target"])), []))
        for index, group in enumerate(effect_groups)
        for row in group.rows
    ]
    for turn in zip_longest(*(target_flips for _, _, target_flips in targets)):
        for (index, target, _), flip in zip(targets, turn, strict=True):
            if flip is not None:
                yield index, target, flip


def _flips(outcomes: Sequence[Outcome]) -> Mapping[tuple[str, str, str], list[Flip]]:
    """Return the changed answers by dataset, ablation and target, those from right to wrong first."""
    baselines = {outcome.item_key: outcome for outcome in outcomes if outcome.target == BASELINE}
    flips: dict[tuple[str, str, str], list[Flip]] = {}
    for outcome in outcomes:
        baseline = baselines.get(outcome.item_key)
        if outcome.target != BASELINE and baseline is not None and answer_changed(outcome, baseline):
            kind = 2 if outcome.correct == baseline.correct else int(outcome.correct)
            key = (outcome.dataset, str(outcome.ablation), outcome.target)
            flips.setdefault(key, []).append((kind, baseline, outcome))
    for target_flips in flips.values():
        target_flips.sort(key=lambda flip: flip[0])
    return flips


def _flip(flip: Flip, texts: _Texts) -> list[int | list[int]]:
    kind, baseline, outcome = flip
    before, after = fold_blanks(baseline.response), fold_blanks(outcome.response)
    pairs = ((before, after), (after, before))
    excerpts = [[texts.number(part) for part in split_at_difference(text, other, MOST_TEXT)] for text, other in pairs]
    facts = (shorten(baseline.question, 400), shorten(baseline.expected, 60), _answer(baseline), _answer(outcome))
    return [kind, *map(texts.number, facts), *excerpts]


def _answer(outcome: Outcome) -> str:
    mistake = "right" if outcome.correct else shorten(outcome.category or "wrong", 60)
    return f"{'nothing' if outcome.answer is None else shorten(outcome.answer, 60)} ({mistake})"
