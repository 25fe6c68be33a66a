"""Cards in reports: their sentences with their places, the heads across ablations, the page, the terminal."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import pytest
from matplotlib.image import imread

from reasoning_probe.report.cards import card_lines, card_sentences, cards_of, holds, matrix
from reasoning_probe.report.figures.pattern import pattern_picture
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.cards.card import Direct, Example, HeadCard, card_of
from reasoning_probe.results.cards.describe import with_cards
from reasoning_probe.results.cards.sentence import sentence_of
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run
from tests.helpers.planted_losses import CUTS, NOISY, SUBTRACTS, planted
from tests.helpers.terminal_lines import summary_lines


def kept(outcomes: list[Outcome], target: str) -> list[Outcome]:
    """Return *outcomes* in which *target* loses nothing."""
    return [replace(each, correct=True, answer=each.expected) if each.target == target else each for each in outcomes]


@pytest.fixture(scope="module")
def run() -> Run:
    """Two datasets under two ablations; under mean the second head loses nothing."""
    arithmetic = [*planted(), *kept(planted(ablations=("mean",)), CUTS)]
    other = [replace(each, dataset="sums") for each in planted() if each.target in (BASELINE, SUBTRACTS)]
    return as_run(list({each.key: each for each in [*arithmetic, *other]}.values()))


def test_a_head_has_one_sentence_a_dataset_with_its_place(run: Run) -> None:
    sentences = card_sentences(run)
    assert len(sentences) == 5
    (first,) = (each for each in sentences if each.startswith("L0H0: loses subtraction") and "sums" in each)
    assert first.endswith("(sums, zero ablation).")
    assert sentences[0].endswith("(arithmetic, zero ablation).")
    assert [each[:4] for each in card_sentences(run, with_role=True)].count(NOISY) == 0


def test_one_dataset_and_ablation_need_no_place() -> None:
    assert card_sentences(as_run(planted()))[0].endswith("(0 of 60).")


def test_the_matrix_says_under_which_ablations_an_effect_holds(run: Run) -> None:
    head, rows = matrix(run, [SUBTRACTS, CUTS, "L9H9"])
    assert head == ["head", "arithmetic, zero", "arithmetic, mean", "sums, zero", "holds"]
    assert rows[0] == [SUBTRACTS, "-38 ○", "-38 ○", "-38 ○", "arithmetic: under zero and mean; sums: under zero"]
    assert rows[1] == [CUTS, "-33 ○", "0", "-", "arithmetic: under zero alone"]
    assert rows[2] == ["L9H9", "-", "-", "-", "under none"]
    assert matrix(as_run(planted()), [CUTS]) == (["head", "arithmetic"], [[CUTS, "-33 ○"]])


def test_an_effect_that_turns_round_does_not_hold_under_both(run: Run) -> None:
    rows = [row for row in run.summary["targets"] if row["target"] == SUBTRACTS and row["dataset"] == "arithmetic"]
    turned = [row | {"delta": -row["delta"]} if row["ablation"] == "mean" else row for row in rows]
    assert holds(turned) == "arithmetic: under zero alone"


def test_the_page_holds_the_cards_and_the_box_the_roles(run: Run) -> None:
    page = standalone_page(run)
    assert page.count('<details class="rp-card"') == len(cards_of(run)) == 9
    box = re.search(r'<ul class="rp-verdict">(.*?)</ul>', page, re.DOTALL)
    assert box is not None
    assert "L0H0: loses subtraction (45 of 60)" in box[1]
    assert "no particular role shown" not in box[1]
    assert "It shares more lost items than expected by chance with" in page
    assert "Cards: which answers each head loses, and how" not in standalone_page(with_cards(run, "0"))


def test_the_terminal_has_a_line_for_each_head_with_a_role(run: Run) -> None:
    lines = summary_lines(run, 200)
    (first,) = (line for line in lines if line.startswith("L0H0: loses") and "sums" in line)
    assert first == "L0H0: loses subtraction (45 of 60) rather than the rest (0 of 60) (sums, zero ablation)."
    assert f"No particular role shown: {NOISY}." not in lines  # but with -v
    assert card_lines(run, 1)[1:] == [
        "3 more heads with a particular role: the page has the cards.",
        f"No particular role shown: {NOISY}.",
    ]


def test_cards_of_targets_that_the_run_did_not_measure_are_passed_over(run: Run) -> None:
    records = [one | {"target": "L9H9"} for one in run.summary["heads"] or ()]
    assert "L9H9" not in standalone_page(Run(run.summary | {"heads": records}, run.outcomes))


def test_the_page_shades_the_tokens_that_a_head_reads_and_has_the_numbers(run: Run) -> None:
    tokens, attention = ("What", " is", " <5>", " + ", "3", "?"), (0.004, 0.004, 0.62, 0.002, 0.32, 0.05)
    parts = {"first token": 0.004, "operands": 0.94, "operand_1": 0.62}
    example = Example("i7", 5, "8", "9", tokens, attention, 1.5, {"sink": 0.02}, parts)
    scores = {"induction": 0.81, "previous_token": 0.25}
    card = HeadCard(SUBTRACTS, "arithmetic", "zero", "", scores=scores, labels=("induction",), examples=(example,))
    card = replace(card, direct=Direct(-1.5, 12), note="x is left out")
    records = [
        card.record() | {"sentence": record["sentence"]} if record["target"] == SUBTRACTS else record
        for record in run.summary["heads"] or ()
    ]
    page = standalone_page(replace(run, summary=run.summary | {"heads": records}))
    (text,) = {match[1] for match in re.finditer(r'<p class="rp-attention" dir="auto">(.*?)</p>', page)}
    assert text == (
        'What is<span class="rp-token rp-share-62" title="62 %"> &lt;5&gt;</span> + '
        '<span class="rp-token rp-share-32" title="32 %">3</span>'
        '<span class="rp-token rp-share-5" title="5 %">?</span>'
    )
    assert ">operand 1<" in page
    assert ">62\xa0%<" in page or ">62 %<" in page
    assert "Not measured: x is left out" in page
    assert "induction" in page


def test_a_card_says_what_its_head_reads(run: Run) -> None:
    example = Example("i7", 5, "8", "9", ("a", "b"), (0.3, 0.7), 1.5, {}, {"operands": 0.8, "operand_2": 0.7})
    other = replace(example, parts={"operands": 0.6, "operand_2": 0.54})
    card = HeadCard(SUBTRACTS, "arithmetic", "zero", examples=(example, other), labels=("induction",))
    assert sentence_of(card) == (
        "L0H0: scores as induction; where it changes answers it reads operand 2 (62 % of its attention)."
    )
    diffuse = replace(card, examples=(replace(example, parts={"operands": 0.5}),))
    assert sentence_of(diffuse) == "L0H0: scores as induction."
    assert card_of(card.record()) == card
    (line,) = (line for line in card.describe().splitlines() if line.startswith("  i7") and "70 %" in line)
    assert line == "  i7: '9' in place of '8'; it attends to the operands 80 %, operand 2 70 %; it writes +1.50"


def test_the_whole_pattern_is_a_picture_of_its_own(run: Run) -> None:
    pattern = ((100,), (25, 75), (0, 4, 96))
    example = Example("i7", 2, "8", "9", ("a", "b", "c"), (0.0, 0.04, 0.96), pattern=pattern)
    card = HeadCard(SUBTRACTS, "arithmetic", "zero", examples=(example,))
    assert card_of(card.record()) == card
    records = [
        card.record() | {"sentence": record["sentence"]} if record["target"] == SUBTRACTS else record
        for record in run.summary["heads"] or ()
    ]
    page = standalone_page(replace(run, summary=run.summary | {"heads": records}))
    pictures = re.findall(r'<img class="rp-pattern" src="data:image/png;base64,([^"]+)" alt="Where L0H0 attends', page)
    (address,) = set(pictures)
    opacity = imread(io.BytesIO(base64.b64decode(address)))[:, :, 3]  # (queries, keys)
    assert opacity.shape == (3, 3)
    assert (opacity[0, 1:] == 0).all()
    assert opacity[0, 0] == 1
    assert 0 < opacity[2, 0] < opacity[2, 1] < opacity[1, 0] < opacity[1, 1] < opacity[2, 2] < 1


def test_a_picture_has_the_last_tokens_of_a_long_pattern() -> None:
    pattern = [[100] + [0] * query for query in range(90)]
    address = pattern_picture(pattern).partition("base64,")[2]
    opacity = imread(io.BytesIO(base64.b64decode(address)))[:, :, 3]
    assert opacity.shape == (64, 64)
    assert opacity.max() < 0.1  # the first token, which has all the attention, is not among them
