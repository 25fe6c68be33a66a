"""Questions, categories and the check that the tests of the judge share.

A case is an item, a response, the answer that a careful reader takes from it (``None`` if there is no definite one),
its category (``None`` if it is right), and ``CUT`` where the token limit ended the response.
"""

from __future__ import annotations

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.judge import judge

SUM = Item(question="What is 5 + 3?", answer="8")
LESS = Item(question="What is 10 - 4?", answer="6")
BIG = Item(question="What is 52 - 27?", answer="25")
HALF = Item(question="What is half of 18?", answer="9")
WORDS = Item(question="What is twelve divided by four?", answer="3")
ALICE = Item(question="Alice has 10 dollars, spends 4. How much left?", answer="6")
TOM = Item(question="Tom has 5 apples and buys 7 more. He eats 3. How many apples does he have?", answer="9")
MAX = Item(question="All dogs are animals. Max is a dog. Is Max an animal?", answer="Yes")
CAT = Item(question="Some cats are black. Tom is a cat. Is Tom black?", answer="Unknown")
NEMO = Item(question="No fish can fly. Nemo is a fish. Can Nemo fly?", answer="No")
PARIS = Item(question="What is the capital of France?", answer="Paris")

RIGHT = None
INCOMPLETE = "incomplete"
WRONG_LABEL = "wrong_label"
OFF_BY_ONE = "off_by_one"
WRONG_OPERATION = "wrong_operation"
HALLUCINATION = "hallucination"

CUT = True

JudgeCase = tuple[Item, str, str | None, str | None] | tuple[Item, str, str | None, str | None, bool]


def case_id(case: JudgeCase) -> str:
    """Return the beginning of the response, which names the test."""
    return repr(case[1])[:60]


def check_case(case: JudgeCase) -> None:
    """Assert that the response of *case* is judged as its label says."""
    item, response, answer, category = case[:4]
    judgement = judge(item, response, len(case) > 4)
    assert (judgement.answer, judgement.category) == (answer, category), judgement.reason
    assert judgement.correct is (category is None)
