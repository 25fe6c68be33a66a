"""More of what a careful reader says of a response: forms in which models write, labelled before they were judged."""

from __future__ import annotations

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.judge import judge
from reasoning_probe.utils.numbers import parse_number

SUB = Item(question="What is 52 - 27?", answer="25")
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

CUT = True
INCOMPLETE, LABEL, ONE, OPERATION, OTHER = (
    "incomplete",
    "wrong_label",
    "off_by_one",
    "wrong_operation",
    "hallucination",
)

CASES: list[tuple[Item, str, str | None, str | None] | tuple[Item, str, str | None, str | None, bool]] = [
    (SUB, "52\u00a0\u2212\u00a027\u00a0=\u00a024", "24", ONE),
    (SUB, "24. Wait, that's wrong. It's 25.", "25", None),
    (SUB, "52 - 27 is 25 because 25 + 27 = 52.", "25", None),
    (SUB, "1. The answer is 5.\n2. The answer is 3.\n3. The answer is", "5", OTHER, CUT),
    (SUB, "The answer is 2", None, INCOMPLETE, CUT),
    (SUB, "52 - 27 = 26", "26", ONE),
    (SUB, "52 + 27 = 80", "80", OPERATION),
    (SUB, "It is either 25 or 26.", None, INCOMPLETE),
    (SUB, "1. 2. 20.1.1.\n\n", None, INCOMPLETE, CUT),
    (SUB, "20s.Add.\n\n1.1.\n2.", None, INCOMPLETE, CUT),
    (ADD, "  347\n+ 285\n-----\n  632", "632", None),
    (ADD, "347 + 285 = 622", "622", OTHER),
    (ADD, "347 + 285 = 632. 632 - 347 = 2", "632", None, CUT),
    (PENCILS, "20 pencils. Oh wait, I made a mistake. 48 - 30 = 18. So 18 pencils.", "18", None),
    (PENCILS, "| Item | Pencils |\n|---|---|\n| Start | 48 |\n| Given | 30 |\n| Left | 18 |", "18", None),
    (PENCILS, "The teacher has none left.", "0", OTHER),
    (PENCILS, "There are 20 students, 20 * 6 = 120 pencils.", "120", OTHER),
    (PENCILS, "18, because 48 - 30 = 18.", "18", None),
    (PENCILS, "Great question! Let me work through this carefully.", None, INCOMPLETE, CUT),
    (PENCILS, "6 * 5 = 30. So the rest is 48 - 30", None, INCOMPLETE, CUT),
    (COOKIES, "(60 + 4) / 7 = 9.14", "9.14", OPERATION),
    (COOKIES, "60 / 7 = 8.57, so she fills 8 boxes.", "8", None),
    (COOKIES, "60 - 4 = 54, 54 / 7 = 7.7", "7.7", OTHER),
    (SEATS, "6,000", "6000", OPERATION),
    (SEATS, "three quarters of the seats are taken", None, INCOMPLETE),
    (SEATS, "18,0", None, INCOMPLETE, CUT),
    (JACKET, "The new price is 75% of the old price.", None, INCOMPLETE),
    (JACKET, "75% of the $80 is $60.", "60", None),
    (FILM, "An hour and a half", "1.5", None),
    (FERRY, "The ferry takes 36 cars in 3 days.", "36", OPERATION),
    (RUNS, "3 * 5 = 15 miles", "15", OPERATION),
    (CUPS, "18 cups", "18", OPERATION),
    (AGES, "Quentin is 12. Wait, let me check: 12 * 2 = 24, 24 + 12 = 36. Yes.", "12", None),
    (AGES, "36 + 2 = 40. 36 + 2 = 40. 4", "40", OPERATION, CUT),
    (PACE, " 10 * 5 * 30 = 1000 minutes\nThe answer is 10", "1000", OPERATION, CUT),
    (GRADE, "100%", "100", OTHER),
    (LEGS, "The answer is A) 36.", "36", OTHER),
    (PRIME, "A) 21\nB) 23\nC) 25\nD) 27", None, INCOMPLETE),
    (TALL, "Cara is the shortest of the three.", "no", None),
    (TALL, "Ann is taller.", "no", None),
    (TALL, "Cara is taller.", "yes", LABEL),
    (TALL, "Bob is taller.", None, INCOMPLETE),
    (ROSES, "It doesn't follow that all roses fade quickly.", "unknown", None),
    (ROSES, "This is not something we can know.", "unknown", None),
    (PETS, "Some pets are not mammals.", "no", None),
    (HUNTERS, "Some animals are not hunters.", None, INCOMPLETE),
    (HUNTERS, "Lll", None, INCOMPLETE),
    (RAIN, "It rained.", "yes", LABEL),
    (RAIN, "Either is possible.", "unknown", None),
    (KEYS, "They're in the car.", "yes", None),
    (KEYS, "The keys could be anywhere.", "unknown", LABEL),
    (BAKERY, "It is not open on Monday.", "no", None),
    (BAKERY, "The bakery is open from Tuesday to Saturday.", None, INCOMPLETE),
    (POWER, "2^5 = 64", "64", OTHER),
    (POWER, "2**5 = 32", "32", None),
    (POWER, "$2^{5} = 32$", "32", None),
    (SPIDERS, "**44 legs**\n\n- 5 spiders × 8 legs = 40\n- 2 birds × 2 legs = 4", "44", None),
    (TRIPS, "4 * 13 = 51.", "51", OTHER),
    (TRIPS, "4 * 13 = 52.", "52", OPERATION),
    (TRIPS, "4 + 13 = 18.", "18", OPERATION),
    (SUGAR, "3/4 ÷ 2 = 3/2 = 1.5 cups of sugar.", "1.5", OTHER),
    (CHANGE, "7 + 52 = 108 - 108 = 10\n\n\n\n\n", "10", OPERATION, CUT),
    (CHANGE, "7 + 52 = 108 - 108 = 10", None, INCOMPLETE, CUT),
    (
        BOWLS,
        "We need to calculate 9 * 5 = 45. This is the total number of bowls she makes in 5 days.\n\nSo, 45",
        "45",
        OPERATION,
        CUT,
    ),
    (MUGS, "Answer: (A) Yes (B) No", None, INCOMPLETE),
    (ARRIVED, "The answer is: Jan\n\nWhat is the answer to", "Jan", OTHER, CUT),
    (EVEN, "The sum of 17 and 25 is 42, which is an even number.", "yes", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[1])[:60])
def test_a_response_is_read_as_its_label_says(case: tuple[Item, str, str | None, str | None, bool]) -> None:
    item, response, answer, category = case[:4]
    judgement = judge(item, response, len(case) > 4)
    assert (judgement.answer, judgement.category) == (answer, category), judgement.reason
    assert judgement.correct is (category is None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("two and a half million", 2_500_000), ("2 500 000", 2_500_000), ("1 500 000 000", 1_500_000_000)],
)
def test_millions_in_words_and_groups(text: str, value: int) -> None:
    assert parse_number(text) == value
