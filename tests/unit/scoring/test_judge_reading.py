"""Readings of answers as models write them: units, number formats, results, thoughts, and text with signs."""

from __future__ import annotations

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.extraction.choices import read_choice
from reasoning_probe.scoring.extraction.markup import THOUGHTS, without_thoughts
from reasoning_probe.scoring.judge import judge


def answer(question: str, expected: str, response: str) -> str | None:
    """Return the answer that is read from *response*; it has to be right if it is the expected one."""
    judgement = judge(Item(question=question, answer=expected), response)
    assert judgement.correct == (judgement.answer is not None and judgement.answer == expected)
    return judgement.answer


WEEK = "Each dog takes 0.5 hours a day. Joan walks 10 dogs. How many hours a week does she walk dogs?"
LESSON = "A lesson lasts 90 minutes. There is one on each of 4 days. How long do they last in a week?"
BAGS = "Ann buys 3 bags of 16 kilograms, and 500 grams of salt. How many kilograms of potatoes does she buy?"
EGGS = "Lori bakes 3 cakes with 8 eggs each. How many dozens of eggs does she need?"
PEN = "A pen costs $0.50. How much do 5 pens cost?"
TIME = "A bus takes 20 minutes for one trip. It makes 9 trips. How many hours does that take?"


@pytest.mark.parametrize(
    ("question", "expected", "response"),
    [
        (WEEK, "35", "She walks 10 * 0.5 = 5 hours a day, so she walks 5 * 7 = 35 hours a week.\nA: 35"),
        (WEEK, "35", "She walks 5 hours a day, so it is 35 hours a week"),
        (WEEK, "35", "35 hours a week"),
        (WEEK, "35", "35 hours per week."),
        (LESSON, "360", "There are lessons on 4 days, so they last 4 * 90 = 360 minutes."),
        (LESSON, "360", "360 minutes"),
        (BAGS, "48", "3 bags of 16 kilograms weigh 3 * 16 = 48, so it is 48 kilograms."),
        (BAGS, "48", "48 kg"),
        (BAGS, "48", "She buys 48000 grams."),
        (BAGS, "48", "3 kg * 16 = 48 kg, or, as a careless writer says, 48 grams"),
        (EGGS, "2", "She needs 3 * 8 = 24 eggs. 24 / 12 = 2 dozen eggs."),
        (EGGS, "2", "2 dozens"),
        (EGGS, "2", "2"),
        (PEN, "2.5", "250 cents"),
        (PEN, "2.5", "5 * 50 = 250 cents, so they cost $2.50."),
        (TIME, "3", "180 minutes"),
        (TIME, "3", "It takes 3 hours."),
        (TIME, "3", "It takes 3 hours, so that is 180 minutes."),
        ("How many milliliters of tea does Ann drink in 2 days, with 3 liters a day?", "6000", "6 liters"),
        ("How many thousands of people live there, if 4 towns have 3000 each?", "12", "It is 12 thousand people."),
        ("How many pages does Ann read in two weeks if she reads 3 a day?", "42", "She reads 42 pages in 14 days."),
        ("How many hours are 210 minutes?", "3.5", "210 minutes is 3 hours and 30 minutes."),
        ("What is the total length in feet of 2 ropes of 36 inches?", "6", "72 inches"),
    ],
)
def test_a_unit_is_converted_only_to_the_one_that_is_asked_for(question: str, expected: str, response: str) -> None:
    assert answer(question, expected, response) == expected


HOW_MANY = "How many people live in the town?"


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ("-0.75", r"\boxed{\frac{-3}{4}}"),
        ("-0.75", r"The answer is $-\frac{3}{4}$."),
        ("-0.75", r"$\boxed{\dfrac{3}{-4}}$"),
        ("0.5", r"\frac12"),
        ("0.5", r"So it is $\tfrac{1}2$."),
        ("2.5", r"\boxed{2\frac{1}{2}}"),
        ("-2.5", r"The answer is $-2 \frac12$"),
        ("8", r"$\frac{12 + 4}{2} = 8$"),
        ("250", r"\boxed{\frac{1,000}{4}}"),
        ("150000", "The answer is 1,50,000."),
        ("12345678", "1,23,45,678 people"),
        ("150000", "1.5 lakh"),
        ("250000", "There are two lakh fifty thousand people."),
        ("30000000", "Rs. 3 crore"),
        ("30000000", "3 crores"),
        ("3000000", "There are 3M people."),
        ("2500000000", "It is worth $2.5B."),
        ("2500000000", "2.5bn"),
        ("7000", "7K"),
        ("120000", "1.2 × 10^5"),
        ("120000", r"It is $1.2 \times 10^{5}$ people."),
        ("120000", "The answer is 1.2 x 10⁵."),
        ("0.005", r"$5 \times 10^{-3}$"),
        ("0.005", "5·10⁻³"),
        ("300", "3 * 10^2 = 300"),
        ("18.9", r"It costs \$18.90"),
        ("18.9", r"\boxed{\$18.90}"),
        ("12", r"12\%"),
        ("10000", r"\boxed{10{,}000}"),
        ("10000", r"\boxed{10,\!000}"),
        ("17815", "It is 17'815."),
    ],
)
def test_numbers_in_the_formats_that_models_write(expected: str, response: str) -> None:
    assert answer(HOW_MANY, expected, response) == expected


@pytest.mark.parametrize(
    ("number", "response"),
    [
        ("4", "4π"),
        ("4", r"4\pi"),
        ("4", "The area is 4 π."),
        ("4", "The answer is 4pi."),
        ("4", "4 sqrt(2)"),
        ("4", r"\boxed{4\sqrt{2}}"),
        ("2", r"\boxed{4\sqrt{2}}"),
        ("2", "It is √2."),
        ("3", r"$\frac{\pi}{3}$"),
        ("2", r"$\boxed{\frac{\sqrt{3}}{2}}$"),
        ("3", "4π/3"),
        ("2", "2 + √3"),
        ("4", "4i"),
        ("4", "4x"),
        ("3", "3²"),
        ("3", "The answer is 3^2."),
        ("2", r"\boxed{n^{2}}"),
        ("2", "x_2"),
    ],
)
def test_a_number_that_goes_on_is_not_the_answer(number: str, response: str) -> None:
    judgement = judge(Item(question="What is the result?", answer=number), response)
    assert (judgement.answer, judgement.correct) == (None, False)


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ("12.57", "It is 4π ≈ 12.57"),
        ("4", "sqrt(16) = 4"),
        ("25", "3² + 4² = 25"),
        ("5", "5x as many"),
        ("8", "8 pies"),
        ("50", "50 m²"),
        ("7", "Flat 7B"),
        ("5", "5 is it."),
    ],
)
def test_a_number_beside_symbols_is_read(expected: str, response: str) -> None:
    assert answer("What is the result?", expected, response) == expected


PROFIT = "A house costs $80,000. Repairs cost $50,000. Its value rises by 150%. How much profit is made?"
LOAVES = "Sam had seventy loaves. A bakery has 40 less than seven times as many. How many loaves does the bakery have?"
DEER = "Half of 50 deer are bucks, and 20% of the bucks are 8 points. How many deer are 8 points?"


@pytest.mark.parametrize(
    ("question", "expected", "response"),
    [
        (DEER, "5", "50 * 0.5 = 25 bucks. 25 * 0.20 = 5 deer that are 8 points"),
        (DEER, "5", "50 * 0.5 = 25 bucks, so 25 * 0.20 = 5 of the deer have 8 points or more."),
        (
            "5 pizzas have 3 slices. Ann eats 5 of 13. How many are left?",
            "8",
            "5 * 3 = 15 slices. 13 - 5 = 8 slices left",
        ),
        (
            "5 pizzas have 3 slices. How many are left?",
            "8",
            "So there are 15.\n13 - 5 = 8 slices left to share among 4",
        ),
        (
            "There were 36 guests, then 40. How many got no second?",
            "26",
            "40 x 2 = 80. So, 80 - 54 = 26 did not get 2.",
        ),
        (
            "She made 18 cards. How many are left to make?",
            "18",
            "18 + 36 = 54. 72 - 54 = 18 cards left to make the 72.",
        ),
        ("How many packs are there in two boxes?", "10", "80 / 8 = 10 packs that he can make with the two boxes."),
        (LOAVES, "450", "Seven times as many loaves as Sam had is 70*7=490.\nThe bakery has 490-40=450 loaves."),
        (LOAVES, "450", "7 times as many as Sam had is 70*7=490. It has 490-40=450 loaves of bread."),
        ("How many novels did she write?", "36", "There are 12 months in a year.\nShe wrote 3 * 12 = 36 novels."),
        ("How many months are in a year?", "12", "There are 12 months in a year. Each has about 30 days."),
        (PROFIT, "35", "80000 + 50000 = 130000\nSo the profit is 30.\nA: 35"),
        (PROFIT, "35", "The answer is 40, I think.\nA: 35"),
        (PROFIT, "35", "Result: 35"),
        (
            PROFIT,
            "70000",
            "So the new value is $200,000. He spent $80,000 + $50,000 = $130,000. "
            "His profit is $200,000 - $130,000 = $70,000. **$70,000**",
        ),
        (PROFIT, "70000", "So the value is $200,000.\n\nThe profit is $200,000 - $130,000 = $70,000.\n\n**$70,000**"),
        (PROFIT, "70000", "So the value is $200,000.\n\nThe profit comes to $70,000 then.\n\n$70,000."),
    ],
)
def test_the_result_is_read_not_the_last_number(question: str, expected: str, response: str) -> None:
    assert answer(question, expected, response) == expected


def test_the_last_line_gives_words_and_labels_too() -> None:
    assert answer("Who is the tallest?", "Ann", "Bob is taller than Cid.\nA: Ann") == "Ann"
    assert answer("Is Max a dog?", "no", "Max is a cat.\nA: No") == "no"


@pytest.mark.parametrize(
    ("expected", "response", "right"),
    [
        ("p - q", "The answer is p + q.", False),
        ("p - q", "The answer is p-q.", True),
        ("x + 1", "x+1", True),
        ("x + 1", "x - 1", False),
        ("x > 3", "x < 3", False),
        ("x > 3", "3", False),
        ("x >= 3", "The answer is $x \\geq 3$.", True),
        ("x = 5", "5", True),
        ("(1, 2]", "The answer is (1,2].", True),
        ("(1, 2]", "The answer is [1, 2).", False),
        ("f(x)", "f", False),
        ("f", "f(x)", False),
        ("2:3 mixture", "The answer is 3:2 mixture", False),
        ("2:3 mixture", "The answer is 2 : 3 mixture.", True),
        ("at 9:30", "The answer is at 9:30.", True),
        ("at 9:30", "The answer is at 93:0.", False),
        ("version 3.11", "The answer is version 311.", False),
        ("C#", "C", False),
        ("C#", "The answer is C#.", True),
        ("C++", "The answer is C.", False),
        ("C++", "c++", True),
        ("A and not B", "The answer is not A and B.", False),
        ("Paris", "the 'Paris'.", True),
        ("Paris", "Paris, in France", True),
        ("U.S.", "The answer is US.", True),
        (r"\text{Evelyn}", r"\boxed{\text{Evelyn}}", True),
        (r"\text{Evelyn}", "Evelyn", True),
        (r"$x + 1$", r"\boxed{x+1}", True),
        (r"\dfrac{\pi}{3}", r"$\boxed{\frac{\pi}{3}}$", True),
        (r"4\pi", "4π", True),
        (r"4\pi", "4", False),
        ("8 apples", "8", True),
        ("8 - a", "8", False),
    ],
)
def test_signs_count_where_words_are_expected(expected: str, response: str, right: bool) -> None:
    assert judge(Item(question="What comes out?", answer=expected, kind="text"), response).correct is right


ADD = Item(question="What is 5 + 3?", answer="8")


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_thoughts_are_not_read_in_whatever_they_are_wrapped(opening: str, closing: str) -> None:
    for thoughts in ("Is it 7? So the answer is 7.", "So 7.\n\nThe answer is: 7\n" * 400):
        assert judge(ADD, f"{opening}{thoughts}{closing}\n\n8").answer == "8"
        assert judge(ADD, f"{opening.upper()}{thoughts}{closing.upper()}The answer is 8.").correct
        assert judge(ADD, f"{opening}{thoughts}").category == "incomplete"
        assert judge(ADD, f"{opening}{thoughts}", truncated=True).category == "incomplete"


def test_thoughts_in_other_words() -> None:
    assert without_thoughts("(7)8", [("(", ")")]) == "8"
    assert judge(ADD, "analysis of this: 5 + 3 = 8").correct
    assert judge(ADD, "7</think>8").correct
    assert judge(ADD, "<|channel|>analysis<|message|>7?<|end|><|start|>assistant<|channel|>final<|message|>8").correct


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (" 8\n\nWhat is 9 + 1?\nAnswer: 10", "8"),
        (" 8\nWhat is 9 + 1?\nA: 10", "8"),
        (" 8\n\nWhat is 9 + 1?\n10", "8"),
        ("5 + 3 = 8\n\nTom has 4 pens and buys 6. How many pens has he?\nAnswer: 4 + 6 = 10", "8"),
        ("8\n\nWho is the king of France?\n\nAnswer: Nobody, since 1848", "8"),
        ("What is 5 + 3?\nAnswer: 8", "8"),
        ("We add 5 and 3.\n\nWhat is 5 + 3?\nAnswer: 8", "8"),
        ("First add 5 and 3.\nSo what is the sum?\n5 + 3 = 8", "8"),
    ],
)
def test_another_question_without_a_heading_ends_the_answer(response: str, expected: str) -> None:
    assert judge(ADD, response).answer == expected


WET = "Which is wet?\nA. sand\nB. rain\nC. a stone\nD. light rain clothes"
COUNT = "How many legs has a man?\n1. 2\n2. 1\n3. 4\n4. 3"


@pytest.mark.parametrize(
    ("response", "label"),
    [
        ("**B**", "B"),
        ("**B.** rain", "B"),
        ("**B. rain**", "B"),
        (r"\boxed{B}", "B"),
        (r"$\boxed{\text{B}}$", "B"),
        (r"\boxed{\textbf{(B)}}", "B"),
        ("#### B", "B"),
        ("The answer is option B.", "B"),
        ("The correct option is (B).", "B"),
        ("The correct answer is **B**.", "B"),
        ("The answer is: B) rain", "B"),
        ("Answer:\nB", "B"),
        ("Answer: B", "B"),
        ("Answer\n\nB", "B"),
        ("<answer>B</answer>", "B"),
        ("The answer is rain.", "B"),
        ("The answer is A STONE.", "C"),
        ("It is rain, because it falls.", "B"),
        ("It is not sand. It is rain.", "B"),
        ("rain", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("b) rain", "B"),
        ("Option B", "B"),
        ("I choose B.", "B"),
        ("Sand is dry. So B.", "B"),
        ("Sand is dry. Therefore, B is correct.", "B"),
        ("B because it falls", "B"),
        ("B - rain", "B"),
        ("<think>A? The answer is A.</think>B", "B"),
        ("[THINK]The answer is A.[/THINK]\n\nThe answer is B.", "B"),
        ("<think>The answer is A.", None),
        ("A. sand\nB. rain\nC. a stone\nD. light rain clothes\n\nAnswer: B", "B"),
        ("A. sand\nB. rain\nC. a stone\nD. light rain clothes\n\nB", "B"),
        ("A) sand\nB) rain\nC) a stone\nD) light rain clothes\nIt is rain.", "B"),
        ("A. sand\nB. rain\nC. a stone\nD. light rain clothes", None),
        ("The answer is A. No, the answer is B.", "B"),
        ("A. sand", "A"),
        ("A: sand", "A"),
        ("A stone is dry.", "C"),
        ("A cloud is wet.", None),
        ("The answer is E.", None),
        ("B\n\nQuestion: Which is dry?\nAnswer: A", "B"),
    ],
)
def test_which_choice_a_response_gives(response: str, label: str | None) -> None:
    assert read_choice(response, WET, "ABCD") == label


@pytest.mark.parametrize(
    ("response", "label"),
    [("2", "2"), ("The answer is 2.", "2"), ("1. 2", "1"), (r"\boxed{3}", "3"), ("(4)", "4"), ("Answer: 1) 2", "1")],
)
def test_labels_count_before_the_texts_of_choices(response: str, label: str) -> None:
    assert read_choice(response, COUNT, "1234") == label
