"""Simulates how often cards say something particular of heads that do nothing particular.

    python -m benchmarks.accuracy.behaviour_contrasts
    python -m benchmarks.accuracy.behaviour_contrasts --sweeps 200 --shift 1.5    # one head that is particular

Each sweep asks additions, subtractions, products and divisions, of which the model is unequally sure, and switches off
heads that disturb every answer alike: each adds noise of its own size to the margin of every item, and an answer whose
margin falls below zero is lost. A lost answer is wrong in a way that depends on the item and its margin, not on the
head. :func:`reasoning_probe.results.cards.describe.head_cards` makes the cards as in a run. A sweep is a false alarm
where any card shows a contrast, a kind of mistake or an overlap; beside it stands what Fisher's exact test, without
strata, would have named over the same contrasts and heads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from reasoning_probe.results import stats
from reasoning_probe.results.cards.card import Behaviour, HeadCard, card_of
from reasoning_probe.results.cards.describe import head_cards
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import EffectRecord

HEADS = 16
OPERATIONS = {"+": (16, 3.6), "-": (16, 1.2), "*": (3, 2.0), "/": (5, 2.0)}
"""How many of 40 items ask each operation, and the mean margin of its answers."""


@dataclass(frozen=True)
class Setting:
    """The parameters of simulated sweeps; with a *shift* the first head lowers the margins of all subtractions."""

    items: int = 200
    heads: int = HEADS
    shift: float = 0.0
    seed: int = 0


@dataclass
class Counts:
    """Sweeps, those in which any card shows something, the heads that Fisher's test names, and true findings."""

    sweeps: int = 0
    behaviour: int = 0
    mistakes: int = 0
    overlap: int = 0
    fisher: int = 0
    fisher_heads: int = 0
    heads: int = 0
    first_head: int = 0


def outcomes_of(setting: Setting, rng: np.random.Generator) -> list[Outcome]:
    """Return the outcomes of a sweep."""
    block = [sign for sign, (share, _) in OPERATIONS.items() for _ in range(share)]
    signs = [block[place % len(block)] for place in range(setting.items)]
    margins = rng.normal([OPERATIONS[sign][1] for sign in signs], 1.2)
    expected = rng.integers(100, 1000, setting.items)
    usual_error = rng.integers(1, 10, setting.items)
    sizes = rng.gamma(2.0, 0.9, setting.heads)  # (heads,)
    outcomes = []
    for place, sign in enumerate(signs):
        logprob = -float(np.logaddexp(0.0, -margins[place]))
        tags = {"operation": sign, "carries": str(int(rng.random() < 0.5 - 0.1 * margins[place]))}
        values: dict[str, Any] = {"logprob": logprob, "tags": tags, "expected": int(expected[place])}
        outcomes.append(_outcome(place, BASELINE, margins[place] > 0, int(expected[place]) + 500, values))
        if margins[place] <= 0:
            continue  # nothing can be lost
        disturbed = margins[place] + sizes * rng.normal(size=setting.heads)
        if sign == "-":
            disturbed[0] -= setting.shift
        for head in range(setting.heads):
            answer = _wrong(int(expected[place]), int(usual_error[place]), margins[place], rng)
            outcomes.append(_outcome(place, f"L0H{head}", disturbed[head] > 0, answer, values))
    return outcomes


def _wrong(expected: int, usual_error: int, margin: float, rng: np.random.Generator) -> int:
    """Return a wrong answer: half of the time the item's usual one, the larger errors where the margin is large."""
    if rng.random() < 0.5:
        return expected - expected % 10 + (expected % 10 + usual_error) % 10
    if rng.random() < 0.3 + 0.1 * min(margin, 4.0):
        return expected * 10 + int(rng.integers(0, 10))
    return expected + int(rng.integers(1, 60))


def _outcome(place: int, target: str, correct: bool, answer: int, values: Mapping[str, Any]) -> Outcome:
    return Outcome(
        dataset="arithmetic",
        item=f"i{place}",
        target=target,
        ablation=None if target == BASELINE else "zero",
        question="",
        prompt="",
        response="",
        expected=str(values["expected"]),
        answer=str(values["expected"] if correct else answer),
        correct=bool(correct),
        category=None,
        kind=None,
        reason=None,
        answer_logprob=values["logprob"],
        truncated=False,
        tags=values["tags"],
    )


def cards_of(outcomes: list[Outcome], heads: int) -> list[HeadCard]:
    """Return the cards of all heads."""
    names = [f"L0H{head}" for head in range(heads)]
    rows = [{"target": name, "dataset": "arithmetic", "ablation": "zero", "delta": -0.5} for name in names]
    return [card_of(card) for card in head_cards(outcomes, cast("list[EffectRecord]", rows), ",".join(names))]


def fisher_named(cards: list[HeadCard]) -> set[str]:
    """Return the heads of which Fisher's exact test, after Holm over the same contrasts, shows a contrast."""
    tests = [(card.target, contrast) for card in cards for contrast in card.behaviour]
    p_values = [_fisher(contrast).p for _, contrast in tests]
    adjusted = stats.holm(p_values)
    return {target for (target, _), p in zip(tests, adjusted, strict=True) if stats.is_significant(float(p))}


def _fisher(contrast: Behaviour) -> stats.Association:
    """Return Fisher's exact test of a contrast: that of the cards in one stratum."""
    sides = ((True, contrast.lost, contrast.right), (False, contrast.others_lost, contrast.others_right))
    group = [inside for inside, _, right in sides for _ in range(right)]
    lost = [place < lost for _, lost, right in sides for place in range(right)]
    return stats.association(group, lost, np.zeros(len(group), dtype=int))


def count(sweeps: int, setting: Setting, seconds: float = math.inf) -> Counts:
    """Return what the cards of *sweeps* sweeps show, or of those that the *seconds* allow."""
    end = time.monotonic() + seconds
    counts = Counts(heads=setting.heads)
    for number in range(sweeps):
        if time.monotonic() > end:
            break
        cards = cards_of(outcomes_of(setting, np.random.default_rng((setting.seed, number))), setting.heads)
        counts.sweeps += 1
        significant_kinds = [{kind for kind, p in _p_values(card) if stats.is_significant(p)} for card in cards]
        counts.behaviour += any("behaviour" in kinds for kinds in significant_kinds)
        counts.mistakes += any("mistakes" in kinds for kinds in significant_kinds)
        counts.overlap += any("overlap" in kinds for kinds in significant_kinds)
        counts.first_head += any(
            card.target == "L0H0" and "behaviour" in kinds for card, kinds in zip(cards, significant_kinds, strict=True)
        )
        named = fisher_named(cards)
        counts.fisher += bool(named)
        counts.fisher_heads += len(named)
    return counts


def _p_values(card: HeadCard) -> list[tuple[str, float | None]]:
    return [
        *(("behaviour", contrast.p_adjusted) for contrast in card.behaviour),
        *(("mistakes", mistake.p_adjusted) for mistake in card.mistakes.values()),
        *(("overlap", pair.p_adjusted) for pair in card.overlap),
    ]


def main() -> None:
    """Print the counts as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--shift", type=float, default=0.0, help="what the first head takes from subtractions' margins")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="time limit")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the counts here")
    options = parser.parse_args()
    setting = Setting(options.items, options.heads, options.shift, options.seed)
    counts = count(options.sweeps, setting, options.seconds)
    print("| what | sweeps in which any head is named |\n| --- | --- |")
    for name, words in (
        ("behaviour", "contrasts, within deciles"),
        ("mistakes", "kinds of mistakes"),
        ("overlap", "overlaps"),
        ("fisher", "contrasts, Fisher's test"),
    ):
        number = getattr(counts, name)
        low, high = stats.wilson(number, counts.sweeps)
        print(f"| {words} | {100 * number / counts.sweeps:.1f} % ({100 * low:.1f} to {100 * high:.1f}) |")
    print(
        f"\nFisher's test names {counts.fisher_heads / counts.sweeps:.1f} of {counts.heads} heads a sweep;"
        f" the first head is named in {counts.first_head} of {counts.sweeps} sweeps."
    )
    if options.save:
        options.save.write_text(json.dumps({"setting": asdict(setting), "counts": asdict(counts)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
