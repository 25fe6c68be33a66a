"""Shapes in which models choose one of the choices that a prompt lists."""

from __future__ import annotations

import pytest

from reasoning_probe.scoring.extraction.choices import read_choice

WET = "Which is wet?\nA. sand\nB. rain\nC. a stone\nD. light rain clothes"
COUNT = "How many legs has a man?\n1. 2\n2. 1\n3. 4\n4. 3"

CHOOSE_B = [
    "B",
    "B.",
    "(B)",
    "(b)",
    "b)",
    "B)",
    "[B]",
    "*B*",
    "__B__",
    "`B`",
    "B: rain",
    "B - rain",
    "B \u2014 rain",
    "B, because it falls from clouds",
    "B is correct.",
    "B is the right answer",
    "Option B",
    "option b",
    "Choice B",
    "Letter B",
    "The correct choice is B",
    "The correct answer is: B",
    "Correct answer: B",
    "Answer - B",
    "answer is b",
    "**Answer: B**",
    "**Answer:** B",
    "**Answer:** **B**",
    "Answer: (B) rain",
    "ANSWER: B",
    "Final answer: B",
    "Final Answer: **B. rain**",
    "The final answer is $\\boxed{B}$.",
    "$\\boxed{\\text{B. rain}}$",
    "\\boxed{\\mathrm{B}}",
    "\\(\\boxed{B}\\)",
    "I choose B",
    "I would choose option B.",
    "I think it's B.",
    "It's B",
    "My answer is B.",
    "So, B.",
    "Therefore, the answer is B.",
    "Thus B is correct",
    "Hence (B).",
    "The best option is B",
    "B is wet because rain is water",
    "rain.",
    "Rain",
    "It's rain.",
    "The answer is 'rain'.",
    "Answer: rain",
    "**rain**",
    "rain is wet",
    "Rain is the wettest of these.",
    "A is dry. C is dry. D is dry. So B.",
    "A) sand is dry\nB) rain is wet\nC) stone is dry\nD) clothes are dry\n\nAnswer: B",
    "A. sand\nB. rain\nC. a stone\nD. light rain clothes\n\nB",
    "A. sand\nB. rain\nC. a stone\nD. light rain clothes\n\nThe answer is B.",
    "Let's look at each option:\nA. sand: dry.\nB. rain: wet.\nC. a stone: dry.\nD. light rain clothes: dry.\nThe correct answer is B.",  # noqa: E501
    "<think>A? C? The answer is C.</think>B",
    "<think>The answer is C.</think>\n\n**Answer:** B",
    "[THINK]A[/THINK]B",
    "analysisMaybe A.assistantfinalB",
    "A stone is dry, so it is B.",
    "At first I thought A, but the answer is B.",
    "The answer is not A. The answer is B.",
    "Not A. B.",
    "It can't be A, so B",
    "\n\nB\n\nQuestion: What is dry?\nA. x\nB. y\nAnswer: A",
    "B\nExplanation: A is dry.",
    "B) rain\n\nA is wrong because sand is dry.",
    "The answer is B, not A.",
    "Option B: rain",
    "Option (B) rain",
    "The answer is option (B): rain.",
    "The right letter is B.",
    "B<|im_end|>",
    "Answer: B</s>",
    '{"answer": "B"}',
    '{"answer": "rain"}',
    "Answer = B",
    "Answer is B",
    "=> B",
    "-> B",
    "> B",
    "- B",
    "\u2022 B",
    "1. B",
    "#### B",
    "###Answer: B",
    "### B",
    "## Answer\nB",
    "Solution: B",
    "Response: B",
    "The answer: B",
    "Selected: B",
    "Answer choice B",
    "The answer is choice B.",
    "the answer would be B",
    "It must be B.",
    "It should be (B).",
    "We conclude that B is right.",
    "B!",
    "B?",
    "\u201cB\u201d",
    "'B'",
    '"B"',
    "( B )",
    "\\text{B}",
    "$B$",
    "\\textbf{B}",
    "\\boxed{\\textbf{B}}",
    "\\boxed{rain}",
    "\\boxed{(B)}",
    "\\boxed{B. rain}",
    "\\boxed{B) rain}",
    "Among the options, B is the wet one.",
    "The wet one is B.",
    "The only wet thing is rain.",
]
CHOOSE_NONE = [
    "",
    "I don't know",
    "A cloud is",
    "None of these",
    "E",
    "The answer is E.",
    "A or B",
    "All of them are dry.",
    "Which is wet?",
    "<think>B",
    "snow",
]


@pytest.mark.parametrize("response", CHOOSE_B)
def test_a_choice_in_many_shapes(response: str) -> None:
    assert read_choice(response, WET, "ABCD") == "B"


@pytest.mark.parametrize("response", CHOOSE_NONE)
def test_no_choice(response: str) -> None:
    assert read_choice(response, WET, "ABCD") is None


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("2", "2"),
        ("1", "1"),
        ("2.", "2"),
        ("(3)", "3"),
        ("Answer: 4", "4"),
        ("The answer is 2.", "2"),
        ("2. 1", "2"),
        ("1) 2", "1"),
        ("Option 1", "1"),
        ("\\boxed{1}", "1"),
        ("**1**", "1"),
        ("The answer is option 3.", "3"),
        ("4. 3", "4"),
        ("5", None),
    ],
)
def test_labels_win_over_texts(response: str, label: str | None) -> None:
    assert read_choice(response, COUNT, "1234") == label


@pytest.mark.parametrize(
    ("question", "letters", "response", "label"),
    [
        ("Which is it?\nA. 7\nB. 8\nC. 9", "ABC", "The answer is 8.", "B"),
        ("Which is it?\nA. 7\nB. 8\nC. 9", "ABC", "5 + 3 = 8", "B"),
        ("Which is it?\nA. 7\nB. 8\nC. 9", "ABC", "8", "B"),
        ("Which is it?\nA. 7\nB. 8\nC. 9", "ABC", "5+3=8, so B", "B"),
        ("Which is it?\nA. $7\nB. $8\nC. $9", "ABC", "$8", "B"),
        ("Which is it?\nA. 1/2\nB. 2/3\nC. 3/4", "ABC", "\\boxed{\\frac{2}{3}}", "B"),
        ("Which is it?\nA. True\nB. False", "AB", "False", "B"),
        ("Which is it?\nA. Yes\nB. No", "AB", "No", "B"),
        ("Which is it?\nA. Yes\nB. No", "AB", "No, it is not.", "B"),
        ("Which is it?\nA. True\nB. False\nC. Unknown", "ABC", "The statement is unknown.", "C"),
    ],
)
def test_choices_that_are_numbers_or_truth_values(question: str, letters: str, response: str, label: str) -> None:
    assert read_choice(response, question, letters) == label
