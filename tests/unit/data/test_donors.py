"""Donors of generated questions: right, of the item's form and length, equally far, and each of them used once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.datasets import builtin, read
from reasoning_probe.data.donors import annotate
from reasoning_probe.data.donors.annotate import annotated
from reasoning_probe.data.generators import generate
from reasoning_probe.data.items import Donor, Item
from tests.helpers.question_solvers import STORIES, calculate, numbers, read_story, solve_argument
from tests.helpers.solvers import SEEDS, compute

HARDER = (
    "arithmetic:digits=3,steps=3",
    "multi_step:digits=2,steps=3,distractors=2",
    "logic:steps=3,distractors=2,negation=1,quantifiers=1",
)
SPECS = ("arithmetic", "multi_step", "logic", *HARDER)


def solved(spec: str, item: Item, question: str) -> str:
    """Return the answer to *question*, which is in the words of *item*, by a solver that the generators do not know."""
    if spec == "arithmetic":
        return str(compute(question.removeprefix("What is ").removesuffix("?")))
    solvers: dict[str, Callable[[str], object]] = {
        "arithmetic:digits=3,steps=3": calculate,
        "multi_step": lambda text: int(STORIES[item.form or ""](*numbers(text))),
        "multi_step:digits=2,steps=3,distractors=2": lambda text: read_story(text)[0],
    }
    return str(solvers.get(spec, solve_argument)(question))


@cache
def with_donors(spec: str, n: int, seed: int = 0) -> list[tuple[Item, Donor, Donor]]:
    """Return the items of *spec* that have donors, each with its counterfactual and its twin."""
    return [
        (item, item.counterfactual, item.same_answer)
        for item in annotated(generate(spec, n, seed))
        if item.counterfactual and item.same_answer
    ]


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        ("arithmetic", "39198c53581ba202"),
        ("multi_step", "ae7feeb77c8ecade"),
        ("logic", "7799a84a5b7755f0"),
        (HARDER[0], "1c4cb5b04e8a1c44"),
        (HARDER[1], "76bb691a0d720554"),
        (HARDER[2], "3c9130c49c5da59d"),
    ],
)
def test_the_items_are_those_of_before_there_were_donors(spec: str, digest: str) -> None:
    items = generate(spec, 400, seed=7)
    rows = [[i.id, i.question, i.answer, i.solution, i.form, list(i.operands), i.operation] for i in items]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == digest
    for before, item in zip(items[:20], annotated(items[:20]), strict=True):
        added = {name: getattr(item, name) for name in ("tags", "parts", "counterfactual", "same_answer")}
        assert item == replace(before, **added)


@pytest.mark.parametrize("spec", SPECS)
def test_a_counterfactual_has_another_answer_and_a_twin_the_same(spec: str) -> None:
    for item, counterfactual, twin in with_donors(spec, 100):
        assert solved(spec, item, counterfactual.question) == counterfactual.answer != item.answer
        assert solved(spec, item, twin.question) == twin.answer == item.answer


@settings(max_examples=10, deadline=None)
@given(spec=st.sampled_from(SPECS), seed=SEEDS)
def test_donors_are_right_for_any_seed(spec: str, seed: int) -> None:
    for item, counterfactual, twin in with_donors(spec, 12, seed):
        assert solved(spec, item, counterfactual.question) == counterfactual.answer != item.answer
        assert solved(spec, item, twin.question) == item.answer


@pytest.mark.parametrize("spec", SPECS[:2] + HARDER[:2])
def test_the_numbers_of_donors_are_as_long_and_all_else_is_the_same(spec: str) -> None:
    for item, *donors in with_donors(spec, 200):
        for donor in donors:
            assert re.sub(r"\d", "#", donor.question) == re.sub(r"\d", "#", item.question)
            assert sorted(numbers(donor.question)) != sorted(numbers(item.question)), "the same numbers, swapped"


@pytest.mark.parametrize("spec", ["logic", HARDER[2]])
def test_donors_of_arguments_have_the_same_sentences_about_other_words(spec: str) -> None:
    kept = r"\b(?!(?:All|No|Some|Are|Is|all|some|not|is|are|than)\b)\w+"
    for item, *donors in with_donors(spec, 200):
        for donor in donors:
            assert re.sub(kept, "_", donor.question) == re.sub(kept, "_", item.question)


def far(item: Item, donor: Donor) -> list[int]:
    """Return how far each number of *donor* is from that of *item*."""
    return [abs(a - b) for a, b in zip(numbers(item.question), numbers(donor.question), strict=True)]


@pytest.mark.parametrize("spec", SPECS[:2] + HARDER[:2])
def test_both_donors_move_each_number_as_far(spec: str) -> None:
    for item, counterfactual, twin in with_donors(spec, 200):
        if spec == "arithmetic" and item.operation in ("*", "/"):  # few facts of the tables share a result
            assert sum(far(item, counterfactual)) == pytest.approx(sum(far(item, twin)), rel=0.25)
        else:
            assert far(item, counterfactual) == far(item, twin)


@pytest.mark.parametrize("spec", ["logic", HARDER[2]])
def test_both_donors_of_an_argument_have_other_words_in_equally_many_places(spec: str) -> None:
    def changed(item: Item, donor: Donor) -> int:
        pairs = zip(re.findall(r"\w+", item.question), re.findall(r"\w+", donor.question), strict=True)
        return sum(one != other and {one, other} != {"a", "an"} for one, other in pairs)

    for item, counterfactual, twin in with_donors(spec, 200):
        assert changed(item, counterfactual) == changed(item, twin) > 0


@pytest.mark.parametrize("spec", SPECS)
def test_each_donor_serves_once_in_each_arm_and_never_its_own_item(spec: str) -> None:
    triples = with_donors(spec, 200)
    for arm in (1, 2):
        questions = [triple[arm].question for triple in triples]
        assert len(set(questions)) == len(questions)
    assert all(item.question not in (one.question, other.question) for item, one, other in triples)


@pytest.mark.parametrize(("spec", "least"), list(zip(SPECS, (0.9, 0.8, 0.99, 0.9, 0.95, 0.99), strict=True)))
def test_most_items_have_donors(spec: str, least: float) -> None:
    assert len(with_donors(spec, 200)) >= 200 * least


@pytest.mark.parametrize("spec", SPECS)
def test_a_larger_run_keeps_the_donors_of_a_smaller_one(spec: str) -> None:
    assert list(annotated(generate(spec, 20))) == list(annotated(generate(spec, 40)))[:20]


def test_an_item_has_both_donors_or_neither() -> None:
    items = list(annotated(generate("arithmetic", 400)))
    assert all((item.counterfactual is None) is (item.same_answer is None) for item in items)
    products = [item for item in items if item.operation == "*"]
    assert any(item.same_answer is None for item in products), "7 * 11 has no twin in the tables"


def test_built_in_and_generated_datasets_have_donors_and_few_files_do() -> None:
    assert builtin("arithmetic").items[4].counterfactual is not None
    assert read("x", "logic:steps=2", 5).items[0].same_answer is not None
    assert builtin("gsm8k").items[0].counterfactual is None


def test_a_dataset_has_donors_for_its_first_items_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "MOST_DONORS", 3)
    *first, last = annotated(generate("logic", 4))
    assert all(item.counterfactual for item in first)
    assert last.counterfactual is None
    assert last.tags["inference"] == last.form
