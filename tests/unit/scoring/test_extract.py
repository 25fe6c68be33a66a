"""The answer that is extracted from a response: that of a careful reader who does not know the expected one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.extract import extract_answer, is_correct
from reasoning_probe.scoring.lm_eval_filters import flexible_match, same_number, strict_match
from reasoning_probe.utils.numbers import render_number
from tests.helpers.judge_cases import (
    ALICE,
    CAT,
    MAX,
    NEMO,
    PARIS,
    SUM,
    TOM,
)

REX = Item(question="All birds have wings. Rex is not a bird. Does Rex have wings?", answer="Unknown")


def read(item: Item, response: str, truncated: bool = False) -> str | None:
    """Return the extracted answer, or None."""
    extracted = extract_answer(item, response, truncated)
    return extracted.answer if extracted else None


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("8", "8"),
        (" 18", "18"),
        (" 8.", "8"),
        ("$1,000.00", "1000"),
        ("-3", "-3"),
        (" eight", "8"),
        ("(8)", "8"),
        ('"8"', "8"),
        ("= 8", "8"),
        ("8 (eight)", "8"),
        ("A) 8", "8"),
        ("A: 8", "8"),
        ("It is 8.", "8"),
        ("8, because 5 plus 3 makes 8", "8"),
        ("1/2", "1/2"),
        ("8.0", "8"),
        ("None.", "0"),
        ("8\n8\n8", "8"),
    ],
)
def test_a_bare_number(response: str, answer: str) -> None:
    assert read(SUM, response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (" 8\n\nThe answer is: 8", "8"),
        (" 7\n\nThe answer is: 8", "8"),
        ("The answer is:\n\n8", "8"),
        ("Sure, the answer to 5 + 3 is 8!", "8"),
        ("5 + 3 = 9.\n#### 8", "8"),
        (r"The final answer is $\boxed{8}$.", "8"),
        ("The answer is **8**.", "8"),
        ("The answer is 8 (5 + 3 = 9)", "9"),
        ("The answer is 9. Wait, the correct answer is 8.", "8"),
        ("The answer is not 9, it is 8.", "8"),
        ("Let me think. 5 + 3 = 7. So the answer is 8.", "8"),
        ("1. The answer is 5.\n2. The answer is 3.\n3. The answer is", "5"),
    ],
)
def test_an_explicit_answer_comes_first(response: str, answer: str) -> None:
    assert read(SUM, response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("5 + 3 = 8", "8"),
        ("5+3=8", "8"),
        ("8 = 5 + 3", "8"),
        (r"\(5 + 3 = 8\)", "8"),
        ("5 plus 3 equals eight.", "8"),
        ("The sum of 5 and 3 is 8.", "8"),
        ("5 + 3 = 5 + 3 = 8.", "8"),
        ("<<5+3=8>>8", "8"),
        ("To add 5 and 3, you add them together: 5 + 3 = 8.", "8"),
        ("To calculate 5 + 3, you add 5 to 3, which gives you 8. This is a fundamental operation.", "8"),
        ("5 + 3 equals 8, which is the result of 5 + 3.", "8"),
        ("Step 1: Start with 5.\nStep 2: Add 3.\nStep 3: 5 + 3 = 8.", "8"),
        ("1. Start with 5\n2. Add 3\n3. The total is 8", "8"),
        ("5 * 5 = 25. So, 5 + 3 equals 8.", "8"),
    ],
)
def test_the_result_of_a_calculation(response: str, answer: str) -> None:
    assert read(SUM, response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Alice has 6 dollars left.", "6"),
        ("Six dollars.", "6"),
        ("$6.00 is left.", "6"),
        ("6 dollars, not 4.", "6"),
        ("Alice has $6 left after spending $4.", "6"),
        ("Alice spends 4 dollars, so she has 6 dollars left.", "6"),
        ("If Alice has 10 dollars and spends 4, she will have 6 dollars left.", "6"),
        ("Alice has 10 dollars. She spends 4. So she has 10 - 4 = 6 dollars left.", "6"),
        ("Alice has 10 dollars and spends 4 dollars, so she has 10 - 4 = 4 dollars left.", "4"),
        ("The amount left is 10 dollars minus 4 dollars, which is 6 dollars.", "6"),
        ("Alice has 10 dollars, spends 4. How much left?\n\nAlice has 6 dollars left.", "6"),
    ],
)
def test_a_number_in_a_sentence(response: str, answer: str) -> None:
    assert read(ALICE, response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("5 + 7 = 12, 12 - 3 = 9", "9"),
        ("5 + 7 = 12 - 3 = 9", "9"),
        ("Tom has 5 + 7 = 12 apples. After eating 3, he has 9 apples left.", "9"),
        (
            "Tom has 5 apples. He buys 7 more, giving him a total of 12 apples. He eats 3, leaving him with 9 apples.",
            "9",
        ),
        ("1. Tom starts with 5 apples.\n2. 5 + 7 = 12.\n3. 12 - 3 = 9.\n\nTherefore, Tom has 9 apples.", "9"),
        ("He has 9 apples.\n\nTom has 5 apples and buys 7 more.", "9"),
        ("12 apples\n\nTom has 12 apples after buying 7 more, and 3 pears.", "12"),
    ],
)
def test_the_end_of_a_worked_solution(response: str, answer: str) -> None:
    assert read(TOM, response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (" 8\n\nQuestion: What is 6 + 3?\nAnswer: 9", "8"),
        (" 8\nQ: What is 6 + 3?\nA: The answer is 9.", "8"),
        (" 8\n\n5 + 4 = 9", "8"),
        ("5 + 3 = 8\n5 + 4 = 9\n5 + 5 = 10\nAnd so on", "8"),
        ("Question: What is 5 + 3?\nAnswer: 8", "8"),
        (" 8<|im_end|>\n<|im_start|>user\nWhat is 6 + 3? 9", "8"),
    ],
)
def test_what_follows_a_first_answer_is_not_read(response: str, answer: str) -> None:
    assert read(SUM, response) == answer


@pytest.mark.parametrize(
    ("item", "response", "answer"),
    [
        (SUM, " 1", None),
        (SUM, " 18", None),
        (SUM, "1,", None),
        (SUM, "5 + 3 = 8", None),
        (SUM, "5 + 3 = 8.", None),
        (SUM, "5 + 3 = 8\n", "8"),
        (SUM, " 8\n\nThe answer is: 1", "8"),
        (SUM, " 8\n\nThe answer is: 8", "8"),
        (SUM, "The answer is", None),
        (ALICE, "Alice has 6", None),
        (ALICE, "Alice has 6 dollars", "6"),
        (ALICE, " 10 - 4 = 6 dollars\n\nThis is a classic example of a lateral thinking puzzle that requires", "6"),
        (TOM, "First, he buys 7 more, so he has 5 + 7 = 12 apples. Then he eats 3", None),
        (TOM, "Let's solve this step by step:\n\n1. Tom has 5 apples.\n2. He buys 7", None),
        (TOM, "Tom has 5 + 7 = 12 apples. So, he has 12 - 3 = 9 apples.", "9"),
        (MAX, "The answer is: Max is not an", None),
        (MAX, "Yes", "yes"),
    ],
)
def test_a_number_cut_by_the_token_limit_is_not_read(item: Item, response: str, answer: str | None) -> None:
    assert read(item, response, truncated=True) == answer


@pytest.mark.parametrize(
    "response",
    ["", " \n", "...", "What is 5 + 3?", " 5 + 3", "5 + 3 =", "8 8 8 8 8 8 8 8", "To calculate 5 + 3, you add 5 to 3.",
     "I'm sorry, I cannot help.", "Yes.", "16 - 3 = 13 - 4", "Question: How old is Ann?\nAnswer: 8"],
)  # fmt: skip
def test_no_definite_number(response: str) -> None:
    assert read(SUM, response) is None


@pytest.mark.parametrize(
    ("item", "response", "label"),
    [
        (MAX, " Yes.", "yes"),
        (MAX, "YES!", "yes"),
        (MAX, "**Yes**", "yes"),
        (MAX, "True", "yes"),
        (MAX, "The correct answer is B) Yes.", "yes"),
        (MAX, "Max is an animal.", "yes"),
        (MAX, "It is an animal.", "yes"),
        (MAX, "He is.", "yes"),
        (MAX, "All dogs are animals, and Max is a dog, so Max is an animal.", "yes"),
        (MAX, " No.\n\nThe answer is: Max is not an animal.", "no"),
        (MAX, "Max isn't an animal.", "no"),
        (MAX, "It is not true that Max is an animal.", "no"),
        (MAX, "Yes\n\nQuestion: Is Max a cat?\nAnswer: No", "yes"),
        (MAX, "Max is a dog, but not an animal.", "no"),
        (NEMO, "Nemo cannot fly.", "no"),
        (NEMO, "No he can't", "no"),
        (NEMO, "No, no fish can fly.", "no"),
        (NEMO, "No fish can fly, so Nemo cannot fly.", "no"),
        (NEMO, "It is impossible for Nemo to fly.", "no"),
        (NEMO, "Nemo can fly.", "yes"),
        (REX, "Rex does not have wings.", "no"),
        (REX, "Rex has wings.", "yes"),
        (CAT, "Unknown.", "unknown"),
        (CAT, "Cannot be known", "unknown"),
        (CAT, "The answer is: cannot be known.", "unknown"),
        (CAT, "There is not enough information to tell.", "unknown"),
        (CAT, "No. There is not enough information.", "unknown"),
        (CAT, "No, it cannot be determined from this.", "unknown"),
        (CAT, "It is impossible to tell.", "unknown"),
        (CAT, "No information is given about Tom's color.", "unknown"),
        (CAT, "The information is not sufficient.", "unknown"),
        (CAT, "We don't know if Tom is black.", "unknown"),
        (CAT, "I can't say.", "unknown"),
        (CAT, "Not necessarily.", "unknown"),
        (CAT, "Tom might be black.", "unknown"),
        (CAT, "Maybe.", "unknown"),
        (MAX, "Yes and no.", "yes and no"),
        (MAX, "Yes. No. Yes. No.", "yes and no"),
        (MAX, "Yes, Max is not an animal.", "yes and no"),
        (MAX, "Max is a dog.", None),
        (MAX, "Is Max an animal?", None),
        (MAX, "If Max is an animal, it means that Max is an animal.", None),
        (NEMO, "No fish can fly.", None),
    ],
)
def test_yes_no_and_unknown(item: Item, response: str, label: str | None) -> None:
    assert read(item, response) == label


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        (" Paris.", "Paris", True),
        ("paris\n\nParis is big.", "paris", True),
        ("It is Paris.", "Paris", True),
        ("The capital of France is Paris.", "Paris", True),
        ("The capital is big.\n\nThe answer is: the Paris!", "the Paris", True),
        ("The answer is: London.", "London", False),
        ("Paris or London", "Paris or London", False),
    ],
)
def test_free_text_is_compared_in_normal_form(response: str, answer: str, right: bool) -> None:
    extracted = extract_answer(PARIS, response)
    assert extracted is not None
    assert (extracted.answer, is_correct(PARIS, extracted)) == (answer, right)


def test_a_bare_number_answers_a_number_with_its_unit() -> None:
    item = Item(question="How many apples are left?", answer="8 apples")
    for response, right in (("8", True), ("8 apples.", True), ("18", False), ("18 apples", False)):
        extracted = extract_answer(item, response)
        assert extracted is not None
        assert is_correct(item, extracted) is right


@pytest.mark.parametrize(
    ("response", "strict", "flexible"),
    [
        ("9 * 2 = 18\n#### 18", "18", "18"),
        ("#### 5 then #### 6", "5", "6"),
        ("The answer is 18.", None, "18."),
        ("She makes $1,000.00 a day", None, "$1,000.00"),
        ("72 in total...", None, "..."),
        ("####18", None, "18"),
        ("#### -3", "-3", "-3"),
        ("none", None, None),
    ],
)
def test_the_filters_of_lm_eval(response: str, strict: str | None, flexible: str | None) -> None:
    assert (strict_match(response), flexible_match(response)) == (strict, flexible)


@pytest.mark.parametrize(
    ("extracted", "expected", "same"),
    [
        ("$1,000.00", "1000", True),
        ("18.", "18", True),
        ("8", "18", False),
        ("0.10", "0.1", True),
        ("1/2", "0.5", True),
        ("...", "8", False),
        (None, "8", False),
        ("1" * 10**6, "8", False),
        ("1e999999999", "8", False),
    ],
)
def test_extracted_numbers_are_compared_as_exact_decimals(extracted: str | None, expected: str, same: bool) -> None:
    assert same_number(extracted, expected) is same


PHRASES = [
    "{}", " {}\n\nThe answer is: {}", "The answer is {}.", "#### {}", "It is {}.", "Answer: {}", "{} dollars.",
    "So the final answer is {}.", "{}\n\nQuestion: What is 2 + 2?\nAnswer: 4", "Let's see. The result is {}",
]  # fmt: skip


@given(st.fractions(max_denominator=50), st.sampled_from(PHRASES))
def test_a_right_answer_is_right_in_many_phrasings(value: Fraction, phrase: str) -> None:
    item = Item(question="How much is it?", answer=render_number(value))
    extracted = extract_answer(item, phrase.replace("{}", item.answer))
    assert extracted is not None
    assert is_correct(item, extracted)


@given(st.text(max_size=80), st.sampled_from([SUM, MAX, PARIS]), st.booleans())
def test_the_expected_answer_plays_no_part_in_the_reading(response: str, item: Item, truncated: bool) -> None:
    other = Item(question=item.question, answer={"8": "41", "Yes": "No", "Paris": "Rome"}[item.answer])
    assert extract_answer(item, response, truncated) == extract_answer(other, response, truncated)
