"""What a response only begins to say, since the limit cut it, and what it says in its thoughts, is no answer."""

from __future__ import annotations

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.judge import judge

MINUTES = "A film lasts 210 minutes. How many hours is that?"


@pytest.mark.parametrize("question", ["How many hours are 210 minutes?", MINUTES])
@pytest.mark.parametrize(
    ("response", "cut", "whole"),
    [
        ("210 minutes is 3 hours and 3", None, "3"),
        ("210 minutes is 3 hours and 30", None, "3"),
        ("210 minutes is 3 hours and", None, "3"),
        ("210 minutes is 3 hours,", None, "3"),
        ("210 minutes = 3 hours and 3", None, "3"),
        ("210 minutes is", None, "3.5"),
        ("210 minutes is 3", None, "3"),
        ("210 minutes is equal to 3 ho", "3", "3"),
        ("210 minutes is 3 hours", "3", "3"),
        ("The answer is 3 hours and 3", None, "3"),
        ("3 hours and 30 mi", None, "3"),
        ("210 minutes is 3 hours and 30 minutes", "3.5", "3.5"),
        ("210 minutes is 3 hours and 30 min", "3.5", "3.5"),
        ("210 minutes is 3.5 hours. So", "3.5", "3.5"),
        ("It takes 3 h 30 min", "3.5", "3.5"),
    ],
)
def test_a_quantity_that_the_limit_cut_is_no_answer(
    question: str, response: str, cut: str | None, whole: str | None
) -> None:
    """Neither is the question's own quantity, which the response only began to convert."""
    item = Item(question=question, answer="3.5")
    assert (judge(item, response, truncated=True).answer, judge(item, response).answer) == (cut, whole)


@pytest.mark.parametrize(
    "response", ["<plan>It is 7.</plan> 8", "<PLAN>7</PLAN>\n\n8", "<think>7</think> <plan>6</plan> 8"]
)
def test_thoughts_between_marks_of_the_users_own(response: str) -> None:
    item = Item(question="What is 5 + 3?", answer="8")
    assert judge(item, response, think="<plan>,</plan>").answer == "8"


def test_thoughts_that_are_not_closed_are_no_answer() -> None:
    item = Item(question="What is 5 + 3?", answer="8")
    for truncated, reason in ((True, "the token limit ended its thought"), (False, "its thought does not end")):
        for response in ("<plan>It is 8.", "<think>7? No.</think> Wait. <plan>It is 8.", "analysisIt is 8."):
            judgement = judge(item, response, truncated, "<plan>,</plan>")
            assert (judgement.answer, judgement.category, judgement.kind) == (None, "incomplete", "thinking")
            assert judgement.reason == reason
    for response in ("<plan>It is 8.</plan>", "<plan>7</plan> To add, we"):
        assert judge(item, response, True, "<plan>,</plan>").kind == "cut_off"
    assert judge(item, "<plan>" + "and so on " * 60, True, "<plan>,</plan>").kind == "loop"


def test_thoughts_are_read_where_nothing_is_stripped() -> None:
    item = Item(question="What is 5 + 3?", answer="8")
    assert judge(item, "<think>The answer is 8.").answer is None
    assert judge(item, "<think>The answer is 8.", think="off").answer == "8"


@pytest.mark.parametrize("think", ["", "on", "<plan>", ",</plan>", "<plan>,", "a,b,c", "same,SAME", " , "])
def test_marks_that_are_no_pair_are_refused(think: str) -> None:
    with pytest.raises(ValueError, match=r"is not a pair of marks: write auto, off, or two different marks"):
        judge(Item(question="What is 5 + 3?", answer="8"), "8", think=think)
