"""Harder questions are right: compared with a calculator, a reader of stories, and a search of all possible worlds."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.datasets import read
from reasoning_probe.data.donors.annotate import annotated
from reasoning_probe.data.generators import generate, logic_chains
from reasoning_probe.data.generators.difficulty import KNOBS, Spec, parse
from reasoning_probe.data.items import ItemError
from tests.helpers.question_solvers import calculate, read_story, solve_argument
from tests.helpers.solvers import SEEDS, check_annotations

NUMBERS = st.integers(0, 2)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, digits=st.integers(1, 9), steps=st.integers(1, 8))
def test_harder_arithmetic_is_right(seed: int, digits: int, steps: int) -> None:
    for item in generate(f"arithmetic:digits={digits},steps={steps}", 20, seed):
        assert str(calculate(item.question)) == item.answer
        assert int(item.answer) >= 0
        assert {len(number) for number in re.findall(r"\d+", item.question)} == {digits}
        assert len(re.findall(r" [-+*] ", item.question)) == steps
        if steps == 1:
            assert item.question == f"What is {item.operands[0]} {item.operation} {item.operands[1]}?"
        else:
            check_annotations(item)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, digits=st.integers(1, 4), steps=st.integers(1, 8), distractors=st.integers(0, 8))
def test_longer_stories_are_right(seed: int, digits: int, steps: int, distractors: int) -> None:
    spec = f"multi_step:digits={digits},steps={steps},distractors={distractors}"
    for item in generate(spec, 10, seed):
        assert read_story(item.question) == (Fraction(item.answer), steps, distractors), item.question
        check_annotations(item)
        assert (item.solution or "").count("<<") == steps


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("All poets are artists. All artists are singers. Ida is a poet. Is Ida a singer?", "Yes"),
        ("All poets are artists. All singers are artists. Ida is a poet. Is Ida a singer?", "Unknown"),
        ("Some poets are artists. No artists are singers. Are some poets singers?", "Unknown"),
        ("Some poets are artists. All artists are singers. Are some poets singers?", "Yes"),
        ("All poets are artists. Ida is a poet. Ida is not a singer. Are all artists singers?", "No"),
    ],
)
def test_the_solver_of_arguments_knows_textbook_ones(question: str, answer: str) -> None:
    assert solve_argument(question) == answer


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, steps=st.integers(1, 5), distractors=NUMBERS, negation=NUMBERS, quantifiers=NUMBERS)
def test_longer_arguments_follow(seed: int, steps: int, distractors: int, negation: int, quantifiers: int) -> None:
    spec = f"logic:steps={steps},distractors={distractors},negation={negation},quantifiers={quantifiers}"
    for item in generate(spec, 12, seed):
        assert solve_argument(item.question) == item.answer, item.question
        premises = re.findall(r"[^.?]+", item.question)[:-1]
        assert sum(bool(re.search(r"\bNo |\bnot\b", text)) for text in premises) == negation
        assert sum("Some " in text for text in premises) == quantifiers


@pytest.mark.parametrize("name", KNOBS)
@pytest.mark.parametrize("end", [0, 1], ids=["least", "most"])
def test_the_ends_of_all_settings_together_have_items(name: str, end: int) -> None:
    spec = f"{name}:" + ",".join(f"{knob}={values[end]}" for knob, values in KNOBS[name].items())
    items = list(annotated(generate(spec, 40, 1)))
    assert len({item.id for item in items}) == len({item.question for item in items}) == 40


def test_every_harder_form_is_drawn_and_half_of_the_arguments_can_be_denied() -> None:
    items = generate("logic:steps=3,negation=1,quantifiers=1", 480)
    forms = {form.name: skeleton for skeleton in logic_chains.SKELETONS for form in skeleton.forms}
    assert {item.form for item in items} == set(forms)
    deniable = [item for item in items if "No" in {form.answer for form in forms[item.form or ""].forms}]
    assert len(deniable) == 240
    assert min(Counter(item.answer for item in items).values()) > 90


@pytest.mark.parametrize("spec", ["arithmetic:digits=2", "multi_step:steps=3", "logic:steps=3"])
def test_harder_items_are_distinct_seeded_and_extend(spec: str) -> None:
    items = generate(spec, 300)
    assert len({item.question for item in items}) == len({item.id for item in items}) == 300
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", item.id or "") for item in items)
    assert generate(spec, 100) == items[:100]
    assert generate(spec, 100, seed=1) != items[:100]


def test_a_difficulty_says_how_many_and_from_which_seed() -> None:
    assert parse("logic:steps=4, seed=7,items=9") == Spec(
        "logic", (("steps", 4), ("distractors", 0), ("negation", 0), ("quantifiers", 0)), 9, 7
    )
    assert len(read("x", "logic:steps=4,items=9").items) == 9
    assert read("x", "logic:steps=4", 3).items == read("x", "logic:steps=4").items[:3]
    assert read("x", "logic:steps=4,seed=7", 3).items == tuple(annotated(generate("logic:steps=4", 3, seed=7)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("logic:", "cannot read '' of 'logic:'"),
        (
            "logic:digits=3",
            "cannot read .digits=3. of .*: logic takes steps, distractors, negation, quantifiers",
        ),
        ("arithmetic:steps", "cannot read 'steps'"),
        ("arithmetic:steps=x", "cannot read 'steps=x'"),
        ("arithmetic:steps=9", "steps goes from 1 to 8"),
        ("arithmetic:digits=0", "digits goes from 1 to 9"),
        ("gsm8k:steps=3", "there is no generator for 'gsm8k'"),
        ("arithmetic:digits=1,steps=1,items=9999", "cannot generate 9999 different arithmetic items: ask for"),
    ],
)
def test_a_difficulty_that_cannot_be_read_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        generate(spec, parse(spec).items)
