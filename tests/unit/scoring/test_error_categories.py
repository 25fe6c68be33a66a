"""The categories of wrong answers in their order, and the kinds within each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.error_categories import CATEGORIES, RULES
from reasoning_probe.scoring.extraction.equations import find_equations
from reasoning_probe.scoring.gold_solution import gold_solution_of
from reasoning_probe.scoring.judge import judge
from reasoning_probe.scoring.judgement import Judgement
from tests.helpers.judge_cases import (
    ALICE,
    BIG,
    CAT,
    HALF,
    LESS,
    MAX,
    PARIS,
    SUM,
    TOM,
    WORDS,
)

DUCKS = Item(
    question="Mara's hens lay 16 eggs per day. She eats three for breakfast and bakes muffins with four. She sells "
    "the rest for $2 per egg. How much does she make every day?",
    answer="18",
    solution="She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18",
)


def check(item: Item, response: str, category: str, kind: str, truncated: bool = False) -> Judgement:
    """Assert category and kind, and that the reason is one short line."""
    judgement = judge(item, response, truncated)
    assert (judgement.category, judgement.kind) == (category, kind), judgement
    assert judgement.reason
    assert "\n" not in judgement.reason
    assert len(judgement.reason) < 200
    assert not judgement.correct
    return judgement


@pytest.mark.parametrize(
    ("item", "response"),
    [(SUM, " 8\n\nThe answer is: 8"), (MAX, "Yes."), (CAT, "It cannot be known."), (PARIS, "paris"), (HALF, "nine")],
)
def test_a_right_answer_has_no_category(item: Item, response: str) -> None:
    judgement = judge(item, response)
    assert judgement.correct
    assert judgement.category is judgement.kind is judgement.reason is None


@pytest.mark.parametrize(
    ("item", "response", "kind", "truncated"),
    [
        (SUM, "", "empty", False),
        (SUM, " \n ", "empty", False),
        (MAX, "...", "empty", False),
        (SUM, "I'm sorry, I can't help with that.", "refusal", False),
        (ALICE, "I don't know.", "refusal", False),
        (SUM, "8 8 8 8 8 8 8 8 8 8", "loop", False),
        (MAX, "Max is a human. Max is a human. Max is a", "loop", True),
        (SUM, "The answer is: The answer is: The answer is: The answer", "loop", True),
        (SUM, "What is 5 + 3?", "restated", False),
        (ALICE, "Alice has 10 dollars, spends 4.", "restated", False),
        (MAX, "Max is a dog.", "restated", False),
        (MAX, "Max is a human.", "undecided", False),
        (SUM, " 1", "cut_off", True),
        (TOM, "First, Tom has 5 + 7 = 12 apples. Then", "cut_off", True),
        (SUM, "To calculate 5 + 3, you simply add 5 to 3.", "no_answer", False),
        (ALICE, "She has 10 - 4 dollars left.", "no_answer", False),
    ],
)
def test_incomplete(item: Item, response: str, kind: str, truncated: bool) -> None:
    assert check(item, response, "incomplete", kind, truncated).answer is None


@pytest.mark.parametrize(
    ("item", "response", "kind"),
    [
        (MAX, " No.\n\nThe answer is: Max is not an animal.", "no_for_yes"),
        (MAX, "It cannot be known.", "unknown_for_yes"),
        (CAT, "No, Tom is not black.", "no_for_unknown"),
        (CAT, "Tom is black.", "yes_for_unknown"),
    ],
)
def test_wrong_label(item: Item, response: str, kind: str) -> None:
    check(item, response, "wrong_label", kind)


@pytest.mark.parametrize(
    ("item", "response", "kind"),
    [
        (SUM, "9", "one_too_many"),
        (SUM, "5 + 3 = 7", "one_too_few"),
        (WORDS, "Four.", "one_too_many"),
        (TOM, "8", "one_too_few"),
    ],
)
def test_off_by_one_comes_before_operations(item: Item, response: str, kind: str) -> None:
    check(item, response, "off_by_one", kind)


@pytest.mark.parametrize(
    ("item", "response", "kind"),
    [
        (SUM, "5", "operand_echoed"),
        (HALF, "18", "operand_echoed"),
        (WORDS, "12", "operand_echoed"),
        (SUM, "15", "other_operation"),
        (SUM, "2", "other_operation"),
        (HALF, "36", "other_operation"),
        (LESS, "2.5", "other_operation"),
        (WORDS, "forty-eight", "other_operation"),
        (TOM, "15", "other_operation"),
        (TOM, "35", "other_operation"),
        (DUCKS, "12", "wrong_operand"),
        (TOM, "12", "step_left_out"),
        (DUCKS, "9", "step_left_out"),
        (DUCKS, "16 - 3 - 4 = 9", "step_left_out"),
        (LESS, "10 + 4 = 14", "wrong_chain"),
        (LESS, "10 + 4 = 15", "wrong_chain"),
        (HALF, "18 / 18 = 1", "wrong_chain"),
        (TOM, "5 + 7 + 3 = 15", "wrong_chain"),
        (TOM, "5 * 7 = 35", "wrong_chain"),
        (DUCKS, "16 * 2 = 32", "wrong_chain"),
        (ALICE, "10 + 4 = 14 cents", "wrong_chain"),
        (DUCKS, "First, 16 * 2 = 30. Then 30 - 3 = 27. #### 27", "wrong_chain"),
    ],
)
def test_wrong_operation(item: Item, response: str, kind: str) -> None:
    check(item, response, "wrong_operation", kind)


@pytest.mark.parametrize(
    ("item", "response", "kind"),
    [
        (LESS, " 10 - 4 = 4\n\nThe answer is: 4", "miscalculated"),
        (BIG, "52 - 27 = 23", "miscalculated"),
        (SUM, "You add 5 to 3, which gives you 12.", "miscalculated"),
        (TOM, "5 + 7 = 13. 13 - 3 = 11.", "miscalculated"),
        (DUCKS, "16 - 3 - 4 = 8. 8 * 2 = 16. #### 16", "miscalculated"),
        (HALF, "18 / 10 = 1.8", "foreign_numbers"),
        (Item(question="What is 10 + 4?", answer="14"), "10 / 4 = 3", "foreign_numbers"),
        (LESS, "-6", "sign"),
        (SUM, "80", "magnitude"),
        (BIG, "35", "place_value"),
        (SUM, "53", "concatenated"),
        (SUM, "117", "from_nowhere"),
        (SUM, "The answer is: Alice", "off_topic"),
        (SUM, "Yes.", "off_topic"),
        (MAX, "The answer is: 8", "off_topic"),
        (MAX, "Paris.", "off_topic"),
        (MAX, "Yes and no.", "yes_and_no"),
        (PARIS, "London", "wrong_text"),
    ],
)
def test_hallucination(item: Item, response: str, kind: str) -> None:
    check(item, response, "hallucination", kind)


def test_a_reference_takes_its_steps_from_the_solution() -> None:
    gold = gold_solution_of(DUCKS)
    assert [int(number) for number in gold.numbers] == [16, 3, 4, 2]
    assert {int(step) for step in gold.steps} == {9, 18}


def test_a_reference_without_a_solution_searches_for_its_steps() -> None:
    gold = gold_solution_of(TOM)
    assert {12, 9} <= {int(step) for step in gold.steps}
    assert {"+", "-"} <= gold.operators


def test_operands_and_operation_of_an_item_are_used() -> None:
    item = Item(question="Take four from ten.", answer="6", operands=("10", "4"), operation="-")
    assert gold_solution_of(item).operators == {"-"}
    check(item, "14", "wrong_operation", "other_operation")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10 - 4 = 5", [("6", "5")]),
        ("16 eggs - 3 eggs = 13 eggs", [("13", "13")]),
        ("(16 - 3 - 4) * $2 = $18", [("18", "18")]),
        ("16 - 3 = 13 - 4 = 9", [("13", "13"), ("9", "9")]),
        ("25% of $20 = 0.25 * 20 = $4", [("5", "4")]),
        ("83 - 6 = 83 - 6 = 72", [("77", "72")]),
        ("1/4 + 1/4 = 1/2", [("1/2", "1/2")]),
        ("12/4=3", [("3", "3")]),
        ("6 = 2 + 3", [("5", "6")]),
        ("multiply 3 by itself, which is 9", [("9", "9")]),
        ("86 + 76, which is 152", [("162", "152")]),
        ("5 / 0 = 3", [("None", "3")]),
        ("2 + 2", [("4", "None")]),
        ("Tom is 5 and Ann is 3", []),
    ],
)
def test_calculations_in_prose(text: str, found: list[tuple[str, str]]) -> None:
    assert [(str(equation.true), str(equation.stated)) for equation in find_equations(text)] == found


def test_every_rule_is_documented_with_an_example_and_a_counter_example() -> None:
    for _, _, rule in RULES:
        assert "Example: " in (rule.__doc__ or ""), rule
        assert "Counter-example" in (rule.__doc__ or ""), rule


PIECES = [
    "1", "8", "5 + 3", "=", " ", "\n", ".", ",", "$", "-", "The answer is", "So ", "which is", "Yes", "No", "not",
    "Max", "an animal", "####", "1.", "(", ")", "/", "%", "one", "twenty", "\\boxed{", "}", "**", "Question:", "add",
    "to", "itself", "1e9", "\u0663", "½", "\ud800", "\x00", "of", "<|a|>", "<<", ">>", "if", "?",
]  # fmt: skip
RESPONSES = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(RESPONSES, st.sampled_from([SUM, TOM, DUCKS, MAX, PARIS]), st.booleans())
def test_any_text_is_judged(response: str, item: Item, truncated: bool) -> None:
    judgement = judge(item, response, truncated)
    if judgement.correct:
        assert judgement.answer is not None
        assert judgement.category is None
    else:
        assert judgement.category in CATEGORIES
        assert judgement.kind
        assert judgement.reason
        assert (judgement.answer is None) is (judgement.category == "incomplete")


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 9999))
def test_a_bare_number_is_right_only_if_it_is_the_expected_one(a: int, b: int, answer: int) -> None:
    item = Item(question=f"What is {a} + {b}?", answer=str(a + b))
    judgement = judge(item, f" {answer}\n\nThe answer is: {answer}")
    assert judgement.answer == str(answer)
    assert judgement.correct is (answer == a + b)
    if abs(answer - a - b) == 1:
        assert judgement.category == "off_by_one"


NUMBERS = st.one_of(
    st.integers(-9999, 99999).map(str),
    st.integers(1000, 10**7).map("{:,}".format),
    st.integers(10, 99999).map(lambda cents: f"${cents / 100:,.2f}"),
    st.decimals(1, 999, places=2).map(str),
    st.integers(1, 999).map("{} 000".format),
    st.sampled_from(["twenty-one", "one hundred and five", "seventeen"]),
)
SAYINGS = ["{}", "The answer is {}", "So it is {}", "#### {}", "5 + 3 = {}", "**{}", "Tom has {}", "\\boxed{{{}"]


@settings(max_examples=1000)
@given(NUMBERS, st.sampled_from(SAYINGS), st.sampled_from([SUM, TOM, ALICE]), st.integers(0, 12))
def test_a_number_that_the_limit_cut_is_never_read(number: str, saying: str, item: Item, left: int) -> None:
    complete = saying.format(number)
    judgement = judge(item, complete[: len(complete) - min(left, len(number))], truncated=True)
    assert judgement.answer in (None, "5", "3"), judgement  # the operands of "5 + 3 =" are whole
    assert judgement.category == "incomplete" or "5 + 3" in complete


@given(RESPONSES, st.sampled_from([SUM, TOM, DUCKS, MAX, PARIS]), st.sampled_from([" ", "\n", " \n\n", "\t"]))
def test_white_space_around_a_finished_response_changes_nothing(response: str, item: Item, space: str) -> None:
    assert (
        judge(item, response.strip() + space) == judge(item, response.strip()) == judge(item, space + response.strip())
    )


@given(st.integers(0, 999), st.integers(0, 999), st.sampled_from("+-*"), st.integers(-2000, 10**6))
def test_a_stated_calculation_is_judged_by_its_operation(a: int, b: int, operator: str, stated: int) -> None:
    right = {"+": a + b, "-": a - b, "*": a * b}[operator]
    item = Item(question=f"What is {a} {operator} {b}?", answer=str(right))
    judgement = judge(item, f" {a} {operator} {b} = {stated}")
    assert judgement.answer == str(stated)
    if stated == right:
        assert judgement.correct
    elif abs(stated - right) == 1:
        assert judgement.category == "off_by_one"
    else:
        assert (judgement.category, judgement.kind) == ("hallucination", "miscalculated")


@pytest.mark.parametrize(
    "unit",
    [
        "1", "1,", "1 + ", "(", "a", " ", "\n", "answer is ", "The answer is 8. ", "= ", "one ", "\x00", "\ud800",
        "\u0663", "#### ", "Question: ", "<|", "<<", "\\boxed{", "**", "not enough ", "1/", "add 5 to 3 ", "- ",
        "1. a\n", "9*",
    ],
)  # fmt: skip
@pytest.mark.parametrize("item", [SUM, MAX, PARIS], ids=["number", "label", "text"])
def test_a_million_characters_are_judged(unit: str, item: Item) -> None:
    judgement = judge(item, unit * (10**6 // len(unit)), truncated=True)
    assert judgement.correct is (item is SUM and "8" in unit)


def test_judging_does_not_depend_on_what_was_judged_before() -> None:
    order = [(item, response) for item in (SUM, TOM, MAX) for response in ("8", "5 + 7 = 12", "Yes", "")]
    first = [judge(*pair) for pair in order]
    pairs = order.copy()
    random.Random(0).shuffle(pairs)
    again = {pair: judge(*pair) for pair in pairs}
    assert [again[(item, response)] for item, response in order] == first
