"""Cards: heads that were planted are described by what they do, and heads that do nothing particular are not."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy.behaviour_contrasts import Setting, cards_of, count, outcomes_of
from reasoning_probe.results.cards.card import HeadCard, card_of
from reasoning_probe.results.cards.choice import described, parse_describe
from reasoning_probe.results.cards.contrasts import contrasts_of
from reasoning_probe.results.cards.describe import head_cards, with_cards
from reasoning_probe.results.cards.sentence import overlap_sentence, sentence_of
from reasoning_probe.results.merge import merge_runs
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run, RunError, read_run, write_run
from reasoning_probe.results.schema import RUN, checker
from tests.helpers.fake_runs import as_run, outcome
from tests.helpers.planted_losses import COPIES, CUTS, NOISY, SUBTRACTS, planted


@pytest.fixture(scope="module")
def run() -> Run:
    return as_run(planted())


def cards(run: Run) -> dict[str, HeadCard]:
    return {one["target"]: card_of(one) for one in run.summary["heads"] or ()}


def test_a_head_that_loses_subtractions_is_described_by_them(run: Run) -> None:
    card = cards(run)[SUBTRACTS]
    (contrast,) = (each for each in card.behaviour if each.value == "-")
    assert (contrast.lost, contrast.right, contrast.others_lost, contrast.others_right) == (45, 60, 0, 60)
    assert contrast.p_adjusted < 1e-6
    assert card.sentence == "L0H0: loses subtraction (45 of 60) rather than the rest (0 of 60)."


def test_a_head_that_writes_the_last_digit_is_described_by_it(run: Run) -> None:
    card = cards(run)[CUTS]
    mistake = card.mistakes["units_digit"]
    assert (mistake.count, mistake.lost, mistake.others_count) == (40, 40, 0)
    assert card.sentence == "L0H1: 40 of 40 lost answers are wrong in the units digit alone (0 % of other heads')."


def test_two_heads_that_lose_the_same_answers_are_told_from_those_that_do_not(run: Run) -> None:
    overlap = {pair.target: pair for pair in cards(run)[SUBTRACTS].overlap}
    assert overlap[COPIES].shared == 45
    assert overlap[COPIES].expected < 25
    assert overlap[COPIES].p_adjusted < 1e-6
    assert overlap_sentence(cards(run)[SUBTRACTS]).startswith(
        "It shares more lost items than expected by chance with L0H2 (45, by chance "
    )
    assert overlap[NOISY].p_adjusted > 0.1


def test_a_head_that_loses_anything_has_no_role(run: Run) -> None:
    card = cards(run)[NOISY]
    assert [contrast.p_adjusted for contrast in card.behaviour] == [1.0] * 4
    assert sentence_of(replace(card, mistakes={})) == "L0H3: no particular role shown."


def test_heads_that_do_nothing_particular_are_rarely_described() -> None:
    """The rate of 2,000 sweeps is in docs/measurements; with Fisher's test nearly every sweep would name a head."""
    counts = count(25, Setting(heads=8))
    assert counts.behaviour + counts.mistakes + counts.overlap <= 6
    assert counts.fisher > counts.behaviour + 5


def test_a_head_that_takes_something_from_subtractions_alone_is_found_beside_unequal_ceilings() -> None:
    setting = Setting(heads=8, shift=3.0)
    found = 0
    for number in range(5):
        first, *others = cards_of(outcomes_of(setting, np.random.default_rng(number)), setting.heads)
        found += "loses subtraction" in first.sentence
        assert not [card.sentence for card in others if "loses" in card.sentence]
    assert found >= 4


# -- which heads, and which contrasts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "usual"),
    [("auto", "auto"), (" 3 ", "3"), ("0", "0"), ("L3H1, L5KV0", "L3H1,L5KV0"), ("L2-L4", "L2,L3,L4")],
)
def test_what_can_be_described(text: str, usual: str) -> None:
    assert parse_describe(text) == usual


@pytest.mark.parametrize("text", ["", "-1", "L3.1", "head 3", "L3H1,,L2", "L4-L2", "baseline", "L0-L9999", "³"])
def test_what_cannot_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"write auto|at most") as error:
        parse_describe(text)
    assert "\n" not in str(error.value)


def test_the_strongest_significant_heads_are_chosen_or_those_that_are_named(run: Run) -> None:
    rows = run.summary["targets"]
    assert described(rows, "auto")["arithmetic"][:2] == [SUBTRACTS, COPIES]
    assert described(rows, "1") == {"arithmetic": [SUBTRACTS]}
    assert described(rows, "0") == {"arithmetic": []}
    assert described(rows, "L0H3,L7H7") == {"arithmetic": [NOISY]}


def test_where_nothing_is_significant_there_are_no_cards() -> None:
    run = as_run([outcome(), outcome(target="L0H0")])
    assert run.summary["heads"] == []
    assert run.summary["describe"] == "auto"


def test_a_head_has_a_card_under_every_ablation(run: Run) -> None:
    both = as_run(planted(ablations=("zero", "mean")))
    keys = [(one["target"], one["ablation"]) for one in both.summary["heads"] or () if one["target"] == CUTS]
    assert keys == [(CUTS, "zero"), (CUTS, "mean")]


def test_contrasts_depend_on_the_right_answers_alone() -> None:
    tags = [{"kind": "a" if n < 10 else "b", "id": str(n), "rare": "yes" if n < 4 else "no"} for n in range(30)]
    assert [(each.tag, each.value) for each in contrasts_of(tags)] == [("kind", "a"), ("kind", "b")]
    one, other = contrasts_of(tags)
    assert one.division == other.division


def test_items_without_a_tag_are_not_the_rest() -> None:
    tags = [{"steps": str(n % 2)} if n < 20 else {} for n in range(40)]
    first = contrasts_of(tags)[0]
    assert first.tagged.sum() == 20
    assert first.inside.sum() == 10


# -- files --------------------------------------------------------------------------------------------------------


def test_cards_keep_the_schema_and_come_back_from_it(run: Run) -> None:
    checker(RUN)(run.summary, "run.json")
    for one in run.summary["heads"] or ():
        assert card_of(one).record() == one


def test_a_run_of_an_earlier_version_gets_cards_from_its_files(run: Run) -> None:
    old = Run({key: value for key, value in run.summary.items() if key not in ("heads", "describe")}, run.outcomes)  # type: ignore[arg-type]
    assert with_cards(old).summary["heads"] == run.summary["heads"]
    assert [one["target"] for one in with_cards(old, "L0H3").summary["heads"] or ()] == [NOISY]
    with pytest.raises(RunError, match="L9H9 was not switched off: this run has L0H0, "):
        with_cards(old, "L9H9")


def test_forms_stand_in_for_tags_of_earlier_versions() -> None:
    outcomes = [replace(each, form="add" if int(each.item[1:]) % 2 == 0 else "sub", tags=None) for each in planted()]
    contrasts = cards(as_run(outcomes))[SUBTRACTS].behaviour
    assert [(contrast.value, contrast.lost) for contrast in contrasts] == [("add", 0), ("sub", 45)]


def test_what_the_model_measured_of_a_head_is_kept(run: Run) -> None:
    first, *others = run.summary["heads"] or ()
    measured = first | {"scores": {"induction": 0.9}, "labels": ["induction"]}
    again = head_cards(run.outcomes, run.summary["targets"], "auto", None, [measured, *others])
    assert card_of(again[0]).labels == ("induction",)
    assert "; scores as induction" in again[0]["sentence"]


def test_shards_merged_have_the_cards_of_the_whole(run: Run, tmp_path: Path) -> None:
    parts = {}
    for part in range(2):
        half = [each for each in run.outcomes if int(each.item[1:]) % 2 == part]
        folder = tmp_path / str(part)
        write_run(folder, as_run(half, describe="4"))
        parts[folder] = read_run(folder)
    merged = merge_runs(parts)
    assert merged.summary["describe"] == "4"
    whole = {one["target"]: one for one in as_run(run.outcomes, describe="4").summary["heads"] or ()}
    for one in merged.summary["heads"] or ():
        assert one["behaviour"] == whole[one["target"]]["behaviour"]
        assert one["mistakes"].keys() == whole[one["target"]]["mistakes"].keys()
    assert len(whole) == 4


# -- Python -------------------------------------------------------------------------------------------------------


def test_any_target_that_was_switched_off_has_a_card(run: Run) -> None:
    none = with_cards(run, "0")
    card = none.head(SUBTRACTS)
    assert card.sentence.startswith("L0H0: loses subtraction (45 of 60)")
    lines = card.describe().splitlines()
    assert lines[0] == card.sentence
    assert "* subtraction: 45 of 60, the rest 0 of 60" in lines
    with pytest.raises(ValueError, match="L9 was not switched off: this run has L0H0"):
        none.head("L9")
    with pytest.raises(ValueError, match="L0H0 was not switched off under mean: "):
        none.head(SUBTRACTS, ablation="mean")


def test_of_several_cards_the_largest_effect_is_shown() -> None:
    weaker = [
        replace(each, ablation="mean", correct=each.correct or each.item < "i5")
        for each in planted()
        if each.target != BASELINE
    ]
    run = as_run([*planted(), *weaker])
    assert run.head(CUTS).ablation == "zero"
    assert run.head(CUTS, ablation="mean").ablation == "mean"


def test_what_a_later_version_adds_to_a_card_is_passed_over(run: Run) -> None:
    record = copy.deepcopy(next(card for card in run.summary["heads"] or () if card["behaviour"]))
    before = card_of(record)
    parts: list[Any] = [*record["behaviour"], *record["mistakes"].values(), *record["overlap"]]
    assert parts
    for part in parts:
        part["a field of tomorrow"] = "x"
    assert card_of(record) == before
