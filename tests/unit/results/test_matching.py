"""The test of matches, against the enumeration of all dealings; and what patched answers are matched with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.results import stats
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.patching import patch_records
from reasoning_probe.results.record import PatchRecord
from tests.helpers.fake_runs import outcome

TRIPLES = st.lists(
    st.tuples(st.sampled_from([None, 1, 2, 3]), st.sampled_from([1, 2, 3]), st.sampled_from("xy")),
    min_size=1,
    max_size=6,
)
"""Values, their partners and their strata."""


def counts_of_all_dealings(triples: list[tuple[int | None, int, str]]) -> list[int]:
    """Return how many values match in each dealing that leaves every partner in its stratum."""
    places = range(len(triples))
    return [
        sum(triples[place][0] == triples[other][1] for place, other in enumerate(dealing))
        for dealing in permutations(places)
        if all(triples[place][2] == triples[other][2] for place, other in enumerate(dealing))
    ]


@settings(deadline=None)
@given(TRIPLES)
def test_a_p_value_is_the_share_of_dealings_with_as_many_matches(triples: list[tuple[int | None, int, str]]) -> None:
    counts = counts_of_all_dealings(triples)
    matched = stats.matches(*zip(*triples, strict=True))
    assert matched.count == sum(value == partner for value, partner, _ in triples)
    assert matched.expected == pytest.approx(sum(counts) / len(counts))
    assert matched.p == pytest.approx(sum(count >= matched.count for count in counts) / len(counts))


@settings(deadline=None)
@given(TRIPLES)
def test_partners_that_are_alike_match_whatever_is_dealt(triples: list[tuple[int | None, int, str]]) -> None:
    everything = counts_of_all_dealings([(partner, partner, stratum) for _, partner, stratum in triples])
    _, partners, strata = zip(*triples, strict=True)
    share = sum(everything) / len(everything) / len(triples)
    assert stats.chance_share(partners, strata) == pytest.approx(share)


def test_sixty_cards_in_their_places_have_the_p_value_of_one_dealing() -> None:
    """So small a p-value is the difference of far larger terms."""
    cards = list(range(60))
    assert stats.matches(cards, cards, [0] * 60).p == pytest.approx(float(Fraction(1, 1) / _factorial(60)), rel=1e-12)


def _factorial(number: int) -> int:
    return number * _factorial(number - 1) if number else 1


# -- patched answers ----------------------------------------------------------------------------------------------


def patched(expected: list[str], others: list[str], answers: list[str | None], forms: list[str]) -> PatchRecord:
    """Return what a head does that gives these *answers*, with a control that changes nothing."""
    outcomes: list[Outcome] = []
    for n, (own, other, answer, form) in enumerate(zip(expected, others, answers, forms, strict=True)):
        alone = outcome(item=f"i{n}", expected=own, answer=own, form=form, counterfactual=other)
        control = replace(alone, target="L0H0", ablation="patch-same", became_counterfactual=False)
        became = replace(control, ablation="patch", answer=answer, correct=answer == own)
        outcomes += [alone, control, replace(became, became_counterfactual=answer == other)]
    (row,) = patch_records(outcomes)
    return row


def test_numbers_are_dealt_as_moves_from_the_items_answers_within_a_form_and_direction() -> None:
    """Of two upward moves and three downward ones each lies in its place in one of 2 * 6 dealings."""
    row = patched(
        ["10", "20", "30", "40", "50"], ["11", "22", "29", "38", "47"], ["11", "22", "29", "38", "47"], ["add"] * 5
    )
    assert row["dealt_p_value"] == pytest.approx(1 / 12)
    assert row["dealt_became"] == pytest.approx(2)  # 1 of 2 and 1 of 3, in the mean
    moves = ("11", "22", "33", "44", "55", "66")
    own = ["10", "20", "30", "40", "50", "60"]
    apart = patched(own, list(moves), list(moves), ["add"] * 3 + ["sub"] * 3)
    assert apart["dealt_p_value"] == pytest.approx(1 / 36)


def test_a_thousand_items_are_dealt_in_blocks() -> None:
    """A head that carries every answer has the chance of one dealing in each of four blocks, which is tiny."""
    expected = [str(100 * n) for n in range(1000)]
    others = [str(100 * n + 1 + n % 50) for n in range(1000)]
    row = patched(expected, others, list(others), ["add"] * 1000)
    assert row["dealt_became"] == pytest.approx(20)  # five of each move in a block of 250: 5 * 5 * 50 / 250 in each
    assert 0 <= (row["dealt_p_value"] or 0) < 1e-300


def test_the_larger_p_value_counts() -> None:
    """A head that adds one makes every third answer the other question's, and dealt ones as often."""
    items = 39
    expected = [str(10 * n) for n in range(items)]
    others = [str(10 * n + 1 + n % 3) for n in range(items)]
    row = patched(expected, others, [str(10 * n + 1) for n in range(items)], ["add"] * items)
    assert (row["became"], row["control_became"], row["dealt_became"]) == (13, 0, 13.0)
    assert (row["p_value"], row["dealt_p_value"]) == (pytest.approx(2 * 0.5**13), 1.0)
    assert row["p_adjusted"] == 1.0


@pytest.mark.parametrize("others", [["no"] * 8, ["no", "unknown"] * 4])
def test_labels_are_left_to_the_control(others: list[str]) -> None:
    """Of answers that all are the other label, half or more would match whatever is dealt."""
    row = patched(["yes"] * 8, others, list(others), ["syllogism"] * 8)
    assert (row["dealt_p_value"], row["dealt_became"]) == (None, None)
    assert row["p_adjusted"] == row["p_value"] == pytest.approx(2 * 0.5**8)


def test_runs_that_do_not_know_the_other_answers_have_the_control_alone() -> None:
    outcomes = [
        replace(outcome(item=f"i{n}"), target=target, ablation=ablation, became_counterfactual=ablation == "patch")
        for n in range(8)
        for target, ablation in (("baseline", None), ("L0H0", "patch"), ("L0H0", "patch-same"))
    ]
    (row,) = patch_records(outcomes)
    assert (row["dealt_became"], row["dealt_p_value"]) == (None, None)
    assert row["p_adjusted"] == row["p_value"] == pytest.approx(2 * 0.5**8)
