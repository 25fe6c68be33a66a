"""Outcomes keep the tags of their items, and older ones without them get the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reasoning_probe.data.datasets import builtin
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.results.answer import Answer, judge_answer
from reasoning_probe.results.item_tags import outcome_tags
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.schema import OUTCOME, Mismatch, checker


def answered(dataset: str, item: Item) -> Outcome:
    answer = Answer(
        query=query(dataset, item, Generation()),
        target="baseline",
        ablation=None,
        response=f" {item.answer}",
        truncated=False,
        answer_logprob=-0.5,
    )
    return answer.judged(judge_answer(answer))


@pytest.mark.parametrize("name", ["arithmetic", "multi_step", "logic", "gsm8k"])
def test_a_run_without_tags_gives_those_that_a_new_one_stores(name: str) -> None:
    for item in builtin(name).items:
        outcome = answered(name, item)
        assert outcome.tags == item.tags
        assert outcome_tags(replace(outcome, tags=None)) == outcome_tags(outcome) == item.tags


def test_the_users_tags_are_stored_with_what_the_question_gives() -> None:
    item = Item(id="sum", question="What is 5 + 3?", answer="8", tags={"topic": "sums"})
    assert answered("mine", item).tags == {"topic": "sums", **outcome_tags(replace(answered("mine", item), tags=None))}


def test_an_item_about_which_nothing_is_known_has_no_tags() -> None:
    assert answered("mine", Item(id="who", question="Who is it?", answer="Max")).tags is None


def test_tags_are_written_and_read_as_texts() -> None:
    values = answered("arithmetic", builtin("arithmetic").items[0]).as_dict()
    checker(OUTCOME)(values, "line 1")
    assert Outcome(**values).as_dict() == values
    without = {name: value for name, value in values.items() if name != "tags"}
    checker(OUTCOME)(without, "line 1")  # as older versions wrote it
    with pytest.raises(Mismatch, match="tags: digits: 2 is not what belongs here"):
        checker(OUTCOME)(values | {"tags": {"digits": 2}}, "line 1")
