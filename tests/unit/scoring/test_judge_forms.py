"""Responses in more forms that models use, which were labelled before they were judged."""

from __future__ import annotations

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.utils.numbers import parse_number
from tests.helpers.judge_cases import (
    BIG,
    CUT,
    HALLUCINATION,
    INCOMPLETE,
    OFF_BY_ONE,
    RIGHT,
    WRONG_LABEL,
    WRONG_OPERATION,
    JudgeCase,
    case_id,
    check_case,
)

ADD = Item(question="What is 347 + 285?", answer="632")
PENCILS = Item(
    question="A teacher has 48 pencils and gives 6 pencils to each of 5 students. How many pencils does she have left?",
    answer="18",
    solution="6 * 5 = <<6*5=30>>30. 48 - 30 = <<48-30=18>>18.\n#### 18",
)
COOKIES = Item(
    question="Lily bakes 60 cookies. She eats 4 and packs the rest into boxes of 7. How many boxes does she fill?",
    answer="8",
    solution="60 - 4 = <<60-4=56>>56\n56 / 7 = <<56/7=8>>8\n#### 8",
)
SEATS = Item(
    question="A stadium has 24,000 seats. Three quarters of them are taken. How many seats are taken?", answer="18000"
)
JACKET = Item(question="A jacket costs $80. It is reduced by 25%. What is the new price in dollars?", answer="60")
FILM = Item(question="A film starts at 7:15 PM and lasts 90 minutes. How many hours does it last?", answer="1.5")
FERRY = Item(
    question="A ferry takes 36 cars on each trip and makes 5 trips a day. How many cars does it take in 3 days?",
    answer="540",
)
RUNS = Item(
    question="Omar runs 3 miles every weekday and twice as far on Saturday. How many miles does he run in a week?",
    answer="21",
)
CUPS = Item(
    question="A recipe needs 3/4 cup of flour for one cake. How many cups of flour are needed for 6 cakes?",
    answer="4.5",
)
PACE = Item(
    question="A runner needs 5 minutes and 30 seconds for each kilometer. How many minutes does she need for 10 "
    "kilometers?",
    answer="55",
)
AGES = Item(
    question="Paul is twice as old as Quentin. Together they are 36 years old. How old is Quentin?", answer="12"
)
GRADE = Item(question="A pupil answers 34 of 40 questions correctly. What percentage is that?", answer="85")
LEGS = Item(question="How many legs do 6 spiders have? A) 36 B) 42 C) 48 D) 54", answer="48")
PRIME = Item(question="Which number is a prime? A) 21 B) 23 C) 25 D) 27", answer="B")
TALL = Item(question="Ann is taller than Bob. Bob is taller than Cara. Is Cara taller than Ann?", answer="No")
ROSES = Item(question="All roses are flowers. Some flowers fade quickly. Do all roses fade quickly?", answer="Unknown")
PETS = Item(question="No fish are mammals. Some pets are fish. Are all pets mammals?", answer="No")
HUNTERS = Item(question="All reptiles are hunters. Some animals are reptiles. Are some animals hunters?", answer="Yes")
RAIN = Item(question="If it rains, the street is wet. The street is wet. Did it rain?", answer="Unknown")
KEYS = Item(
    question="Either the keys are in the drawer or they are in the car. They are not in the drawer. "
    "Are the keys in the car?",
    answer="Yes",
)
BAKERY = Item(
    question="The bakery is open from Tuesday to Saturday. Today is Monday. Is the bakery open today?", answer="No"
)
EVEN = Item(question="Is the sum of 17 and 25 an even number?", answer="Yes")
POWER = Item(question="What is 2 to the power of 5?", answer="32")
SPIDERS = Item(question="How many legs do 5 spiders and 2 birds have together?", answer="44")
TRIPS = Item(
    question="A bus makes 4 round trips a day between two villages that are 13 kilometres apart. How many kilometres "
    "does it drive a day?",
    answer="104",
    solution="13 * 2 = <<13*2=26>>26\n26 * 4 = <<26*4=104>>104\n#### 104",
)
SUGAR = Item(
    question="A recipe needs 3/4 cup of sugar. Nell makes half the recipe. How many cups of sugar does she need?",
    answer="3/8",
)
CHANGE = Item(
    question="A shop sells cards at 2 dollars each. Kate buys 7 and pays with 52 dollars. How many does she get back?",
    answer="38",
)
BOWLS = Item(
    question="A potter makes 9 bowls an hour and works 6 hours a day. How many bowls does she make in 5 days?",
    answer="270",
)
MUGS = Item(question="The red mug is left of the blue mug. Is the red mug left of the blue mug?", answer="Yes")
ARRIVED = Item(question="Jan arrived before Kim. Lou arrived after Jan. Did Lou arrive before Kim?", answer="Unknown")

CASES: list[JudgeCase] = [
    (BIG, "52\u00a0\u2212\u00a027\u00a0=\u00a024", "24", OFF_BY_ONE),
    (BIG, "24. Wait, that's wrong. It's 25.", "25", RIGHT),
    (BIG, "52 - 27 is 25 because 25 + 27 = 52.", "25", RIGHT),
    (BIG, "1. The answer is 5.\n2. The answer is 3.\n3. The answer is", "5", HALLUCINATION, CUT),
    (BIG, "The answer is 2", None, INCOMPLETE, CUT),
    (BIG, "52 - 27 = 26", "26", OFF_BY_ONE),
    (BIG, "52 + 27 = 80", "80", WRONG_OPERATION),
    (BIG, "It is either 25 or 26.", None, INCOMPLETE),
    (BIG, "1. 2. 20.1.1.\n\n", None, INCOMPLETE, CUT),
    (BIG, "20s.Add.\n\n1.1.\n2.", None, INCOMPLETE, CUT),
    (ADD, "  347\n+ 285\n-----\n  632", "632", RIGHT),
    (ADD, "347 + 285 = 622", "622", HALLUCINATION),
    (ADD, "347 + 285 = 632. 632 - 347 = 2", "632", RIGHT, CUT),
    (PENCILS, "20 pencils. Oh wait, I made a mistake. 48 - 30 = 18. So 18 pencils.", "18", RIGHT),
    (PENCILS, "| Item | Pencils |\n|---|---|\n| Start | 48 |\n| Given | 30 |\n| Left | 18 |", "18", RIGHT),
    (PENCILS, "The teacher has none left.", "0", HALLUCINATION),
    (PENCILS, "There are 20 students, 20 * 6 = 120 pencils.", "120", HALLUCINATION),
    (PENCILS, "18, because 48 - 30 = 18.", "18", RIGHT),
    (PENCILS, "Great question! Let me work through this carefully.", None, INCOMPLETE, CUT),
    (PENCILS, "6 * 5 = 30. So the rest is 48 - 30", None, INCOMPLETE, CUT),
    (COOKIES, "(60 + 4) / 7 = 9.14", "9.14", WRONG_OPERATION),
    (COOKIES, "60 / 7 = 8.57, so she fills 8 boxes.", "8", RIGHT),
    (COOKIES, "60 - 4 = 54, 54 / 7 = 7.7", "7.7", HALLUCINATION),
    (SEATS, "6,000", "6000", WRONG_OPERATION),
    (SEATS, "three quarters of the seats are taken", None, INCOMPLETE),
    (SEATS, "18,0", None, INCOMPLETE, CUT),
    (JACKET, "The new price is 75% of the old price.", None, INCOMPLETE),
    (JACKET, "75% of the $80 is $60.", "60", RIGHT),
    (FILM, "An hour and a half", "1.5", RIGHT),
    (FERRY, "The ferry takes 36 cars in 3 days.", "36", WRONG_OPERATION),
    (RUNS, "3 * 5 = 15 miles", "15", WRONG_OPERATION),
    (CUPS, "18 cups", "18", WRONG_OPERATION),
    (AGES, "Quentin is 12. Wait, let me check: 12 * 2 = 24, 24 + 12 = 36. Yes.", "12", RIGHT),
    (AGES, "36 + 2 = 40. 36 + 2 = 40. 4", "40", WRONG_OPERATION, CUT),
    (PACE, " 10 * 5 * 30 = 1000 minutes\nThe answer is 10", "1000", WRONG_OPERATION, CUT),
    (GRADE, "100%", "100", HALLUCINATION),
    (LEGS, "The answer is A) 36.", "36", HALLUCINATION),
    (PRIME, "A) 21\nB) 23\nC) 25\nD) 27", None, INCOMPLETE),
    (TALL, "Cara is the shortest of the three.", "no", RIGHT),
    (TALL, "Ann is taller.", "no", RIGHT),
    (TALL, "Cara is taller.", "yes", WRONG_LABEL),
    (TALL, "Bob is taller.", None, INCOMPLETE),
    (ROSES, "It doesn't follow that all roses fade quickly.", "unknown", RIGHT),
    (ROSES, "This is not something we can know.", "unknown", RIGHT),
    (PETS, "Some pets are not mammals.", "no", RIGHT),
    (HUNTERS, "Some animals are not hunters.", None, INCOMPLETE),
    (HUNTERS, "Lll", None, INCOMPLETE),
    (RAIN, "It rained.", "yes", WRONG_LABEL),
    (RAIN, "Either is possible.", "unknown", RIGHT),
    (KEYS, "They're in the car.", "yes", RIGHT),
    (KEYS, "The keys could be anywhere.", "unknown", WRONG_LABEL),
    (BAKERY, "It is not open on Monday.", "no", RIGHT),
    (BAKERY, "The bakery is open from Tuesday to Saturday.", None, INCOMPLETE),
    (POWER, "2^5 = 64", "64", HALLUCINATION),
    (POWER, "2**5 = 32", "32", RIGHT),
    (POWER, "$2^{5} = 32$", "32", RIGHT),
    (SPIDERS, "**44 legs**\n\n- 5 spiders × 8 legs = 40\n- 2 birds × 2 legs = 4", "44", RIGHT),
    (TRIPS, "4 * 13 = 51.", "51", HALLUCINATION),
    (TRIPS, "4 * 13 = 52.", "52", WRONG_OPERATION),
    (TRIPS, "4 + 13 = 18.", "18", WRONG_OPERATION),
    (SUGAR, "3/4 ÷ 2 = 3/2 = 1.5 cups of sugar.", "1.5", HALLUCINATION),
    (CHANGE, "7 + 52 = 108 - 108 = 10\n\n\n\n\n", "10", WRONG_OPERATION, CUT),
    (CHANGE, "7 + 52 = 108 - 108 = 10", None, INCOMPLETE, CUT),
    (
        BOWLS,
        "We need to calculate 9 * 5 = 45. This is the total number of bowls she makes in 5 days.\n\nSo, 45",
        "45",
        WRONG_OPERATION,
        CUT,
    ),
    (MUGS, "Answer: (A) Yes (B) No", None, INCOMPLETE),
    (ARRIVED, "The answer is: Jan\n\nWhat is the answer to", "Jan", HALLUCINATION, CUT),
    (EVEN, "The sum of 17 and 25 is 42, which is an even number.", "yes", RIGHT),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_response_is_read_as_its_label_says(case: JudgeCase) -> None:
    check_case(case)


@pytest.mark.parametrize(
    ("text", "value"),
    [("two and a half million", 2_500_000), ("2 500 000", 2_500_000), ("1 500 000 000", 1_500_000_000)],
)
def test_millions_in_words_and_groups(text: str, value: int) -> None:
    assert parse_number(text) == value
