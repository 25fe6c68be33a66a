"""Tags and parts are read from the text of a question, the same ones that its generator would give."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reasoning_probe.data.datasets import builtin
from reasoning_probe.data.generators import generate, logic, multi_step
from reasoning_probe.data.items import Item
from reasoning_probe.data.readers.reading import borrows, carries
from reasoning_probe.data.readers.sentences import read_sentences
from reasoning_probe.data.tags import item_tags, parts_of, tags_of
from tests.helpers.question_solvers import read_story

STORY = "Grace has 87 apples. Liam has 12 toys. Grace finds 9 more apples. How many apples does Grace have now?"
ARGUMENT = "Mia is a cat. No birds are cats. Some cats are pets. Is Mia a bird?"


def texts(question: str, part: str) -> list[str]:
    """Return the texts of a part of *question*."""
    return [question[start:end] for start, end in parts_of(question).get(part, ())]


@pytest.mark.parametrize(
    ("question", "answer", "tags"),
    [
        ("What is 27 + 46?", "73", {"operation": "+", "digits": "2", "steps": "1", "carries": "1"}),
        ("What is 100 - 1?", "99", {"operation": "-", "digits": "3", "steps": "1", "borrows": "2"}),
        ("What is (7 * 8) - 6?", "50", {"operations": "* -", "digits": "1", "steps": "2", "borrows": "0"}),
        (STORY, "96", {"operation": "+", "distractors": "1", "steps": "1", "digits": "2", "carries": "1"}),
        (
            ARGUMENT,
            "No",
            {"premises": "3", "claim": "membership", "negations": "1", "some": "1", "label": "no"},
        ),
        (
            "All birds are cats. Mia is a bird. Is Mia a cat?",
            "Yes",
            {
                "inference": "syllogism",
                "premises": "2",
                "claim": "membership",
                "steps": "1",
                "order": "sorted",
                "distractors": "0",
                "negations": "0",
                "some": "0",
                "label": "yes",
            },
        ),
        ("Is the sky blue?", "Yes", {"label": "yes"}),
        ("Who is it?", "Max", {}),
    ],
)
def test_a_question_says_what_it_is_like(question: str, answer: str, tags: dict[str, str]) -> None:
    assert tags_of(question, answer) == tags


def test_a_choice_has_a_position_and_a_solution_has_steps() -> None:
    assert tags_of("Which is wet?", "rain", ("sand", "rain")) == {"position": "2"}
    assert tags_of("How many?", "24", solution="3 * 4 = <<3*4=12>>12, twice <<12*2=24>>24")["steps"] == "2"
    assert tags_of("How many?", "2", solution="1/2 + 3/2 = <<1/2+3/2=2>>2") == {"steps": "1"}


def test_the_items_own_tags_go_before_those_of_its_question() -> None:
    item = Item(question="What is 5 + 3?", answer="8", tags={"operation": "plus", "topic": "sums"})
    assert item_tags(item) == {"operation": "plus", "topic": "sums", "digits": "1", "steps": "1", "carries": "0"}


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_carries_and_borrows_are_what_the_sums_of_digits_tell(left: int, right: int) -> None:
    # Each carry turns ten in one place into one in the next, which takes nine from the sum of the digits (Kummer 1852).
    def digits(number: int) -> int:
        return sum(map(int, str(number)))

    assert carries(left, right) == (digits(left) + digits(right) - digits(left + right)) // 9
    assert borrows(left + right, right) == (digits(left) + digits(right) - digits(left + right)) // 9


def test_two_thousand_sums_and_products_are_read_as_they_were_made() -> None:
    for item in (*generate("arithmetic", 1000), *generate("arithmetic", 1000, seed=1)):
        tags = tags_of(item.question, item.answer)
        assert (tags["operation"], tags["steps"]) == (item.operation, "1")
        assert tags["digits"] == str(max(map(len, item.operands)))
        assert texts(item.question, "operands") == list(item.operands)
        assert texts(item.question, "operand_2") == [item.operands[1]]
        assert texts(item.question, "operator") == [item.operation]
        assert texts(item.question, "units") == [operand[-1] for operand in item.operands]


def test_two_thousand_calculations_are_read_as_they_were_made() -> None:
    for item in generate("arithmetic:digits=3,steps=3", 2000):
        tags = tags_of(item.question, item.answer)
        assert (tags["digits"], tags["steps"]) == ("3", "3")
        assert tags["operations"].split() == re.findall(r"<<\d+(.)", item.solution or "")
        assert texts(item.question, "operands") == re.findall(r"\d+", item.question)


def test_two_thousand_word_problems_are_read_as_they_were_made() -> None:
    for item in generate("multi_step", 2000):
        tags = tags_of(item.question, item.answer)
        assert (tags["story"], tags["steps"]) == (item.form, str((item.solution or "").count("<<")))
        assert texts(item.question, "operands") == re.findall(r"\d+", item.question)
        assert set(texts(item.question, "names")) <= set(multi_step.NAMES)
        assert texts(item.question, "claim") == [item.question[item.question.rindex("How many") :]]


def test_two_thousand_longer_stories_are_read_as_they_were_made() -> None:
    for item in generate("multi_step:digits=2,steps=3,distractors=2", 2000):
        tags = tags_of(item.question, item.answer)
        _, changes, irrelevant = read_story(item.question)
        assert (tags["steps"], tags["distractors"]) == (str(changes), str(irrelevant)) == ("3", "2")
        assert len(parts_of(item.question)["distractors"]) == 2


def test_two_thousand_arguments_are_read_as_they_were_made() -> None:
    for item in generate("logic", 2000):
        tags = tags_of(item.question, item.answer)
        assert (tags["inference"], tags["label"]) == (item.form, item.answer.lower())
        assert tags["premises"] == str(item.question.count("."))
        assert " ".join([*texts(item.question, "premises"), *texts(item.question, "claim")]) == item.question
        assert set(texts(item.question, "names")) <= set(logic.PEOPLE)


SAME_BY_TEXT = {
    "member": "exclusion-member",
    "converse": "exclusion-converse",
}
"""Forms of a chain that read as another form where a premise that does not matter happens to go on with it."""


def test_two_thousand_longer_arguments_are_read_as_they_were_made() -> None:
    for item in generate("logic:steps=3,distractors=2,negation=1,quantifiers=1", 2000):
        tags = tags_of(item.question, item.answer)
        assert tags["inference"] in (item.form, SAME_BY_TEXT.get(item.form or ""))
        assert (tags["negations"], tags["some"]) == ("1", "1")
        if tags["inference"] == item.form:
            assert tags["steps"] == "3"
            assert len(parts_of(item.question).get("distractors", ())) == int(tags["distractors"])


@pytest.mark.parametrize("name", ["arithmetic", "multi_step", "logic", "gsm8k"])
def test_built_in_items_carry_what_their_text_alone_gives(name: str) -> None:
    for item in builtin(name).items:
        assert item.tags == tags_of(item.question, item.answer, item.choices), "a run without tags would get others"
        assert item.parts == parts_of(item.question)
        assert "premises" in item.tags if name == "logic" else "steps" in item.tags


def test_the_parts_of_an_argument() -> None:
    assert texts(ARGUMENT, "names") == ["Mia", "Mia"]
    assert texts(ARGUMENT, "classes") == ["cat", "birds", "cats", "cats", "pets", "bird"]
    assert texts(ARGUMENT, "quantifiers") == ["No", "Some"]
    assert texts(ARGUMENT, "claim") == ["Is Mia a bird?"]
    assert texts("Leo is older than Ben. Is Ben older than Leo?", "comparative") == ["older", "older"]


def test_the_parts_of_a_story() -> None:
    assert texts(STORY, "names") == ["Grace", "Liam", "Grace", "Grace"]
    assert texts(STORY, "operands") == ["87", "9"]
    assert texts(STORY, "operators") == ["finds", "more"]
    assert texts(STORY, "distractors") == ["Liam has 12 toys."]


def shuffled_sentences() -> Iterator[str]:
    """Yield pieces of questions that a reader of arguments or of stories might take for its own."""
    yield from ("All cats are dogs.", "No dogs are cats.", "Max is a dog.", "Is Max a cat?", "Are all cats dogs?")
    yield from ("Max has 3 cards.", "Max finds 2 more cards.", "How many cards does Max have now?", "What is 3 + 4?")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(list(shuffled_sentences())), max_size=12).map(" ".join) | st.text(max_size=80))
@example("What is ((1 + 2) - 3?")
@example("What is 1 / 0?")
@example("What is " + "9" * 20 + " * " + "9" * 20 + "?")
@example(" ".join([f"All n{i}s are n{j}s." for i in range(6) for j in range(6)] + ["Is Max a n5?"]))
def test_any_text_is_read_and_its_parts_lie_within_it(text: str) -> None:
    tags_of(text, "8")
    parts = parts_of(text)
    if text.strip():
        Item(question=text, answer="8", tags=tags_of(text, "8"), parts=parts)


@settings(max_examples=30)
@given(st.sampled_from(["logic", "logic:steps=4,distractors=2,negation=1"]), st.integers(0, 1000))
def test_sentences_are_written_as_they_were_read(spec: str, seed: int) -> None:
    (item,) = generate(spec, 1, seed)
    assert " ".join(sentence.text() for sentence in read_sentences(item.question)[0]) == item.question
