"""Items refuse what is no text, in one line, and can be hashed."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.data.items import Donor, Item, ItemError

GOOD: dict[str, Any] = {"question": "What colour is the sky?", "answer": "blue"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": 5}, "id=5 is not a text: give one"),
        ({"id": b"sky"}, "id=b'sky' is not a text: give one"),
        ({"question": 5}, "question=5 is not a text: give one"),
        ({"question": None}, "question=None is not a text: give one"),
        ({"answer": 8.0}, "answer=8.0 is not a text: give one"),
        ({"solution": ["x"]}, "solution=['x'] is not a text: give one"),
        ({"prompt": 1}, "prompt=1 is not a text: give one"),
        ({"kind": "colour"}, "kind='colour' is none: use number, label, text, expression"),
        ({"choices": "blue"}, "choices='blue' is not a tuple: give a tuple of texts"),
        ({"choices": 5}, "choices=5 is not a tuple: give a tuple of texts"),
        ({"choices": ["blue", 5]}, "choices=('blue', 5) are not all texts: give a tuple of texts"),
        ({"choices": ["blue", ["red"]]}, "choices=('blue', ['red']) are not all texts: give a tuple of texts"),
        ({"operands": 5}, "operands=5 is not a tuple: give a tuple of texts"),
        ({"question": "\ud800"}, "question holds half of a surrogate pair: write the whole character"),
        ({"answer": "\udfff"}, "answer holds half of a surrogate pair: write the whole character"),
        ({"id": "a\ud800"}, "id holds half of a surrogate pair: write the whole character"),
        ({"choices": ["blue", "\ud800"]}, "a choice holds half of a surrogate pair: write the whole character"),
    ],
)
def test_what_is_no_text_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ItemError) as error:
        Item(**(GOOD | values))
    assert str(error.value) == message


def test_lists_become_tuples() -> None:
    item = Item(**GOOD, choices=["blue", "red"], operands=[])  # type: ignore[arg-type]
    assert (item.choices, item.operands) == (("blue", "red"), ())
    assert hash(item) == hash(Item(**GOOD, choices=("blue", "red")))


SUM: dict[str, Any] = {"question": "What is 5 + 3?", "answer": "8"}


def test_tags_become_texts() -> None:
    item = Item(**SUM, tags={"digits": 1, "carries": 0.5, "sum": True, "operation": "+"})  # type: ignore[dict-item]
    assert item.tags == {"digits": "1", "carries": "0.5", "sum": "true", "operation": "+"}


def test_parts_are_spans_of_the_question() -> None:
    item = Item(**SUM, parts={"operands": [[8, 9], [12, 13]]})  # type: ignore[dict-item]
    assert item.parts == {"operands": ((8, 9), (12, 13))}
    assert [item.question[start:end] for start, end in item.parts["operands"]] == ["5", "3"]


def test_an_item_with_tags_parts_and_donors_can_be_hashed() -> None:
    donor = Donor(question="What is 6 + 2?", answer="8")
    items = [Item(**SUM, tags={"digits": "1"}, parts={"operator": ((10, 11),)}, same_answer=donor) for _ in range(2)]
    assert hash(items[0]) == hash(items[1])
    assert items[0] == items[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tags": ["+"]}, 'tags=[\'+\'] is not a mapping: write {"operation": "+"}'),
        ({"tags": {"": "x"}}, "'' is not the name of a tag: give a name of at most 60 characters"),
        ({"tags": {"a": None}}, "the tag 'a' is None: make it a text, a number or true or false"),
        ({"tags": {"a": "one\ntwo"}}, "the tag 'a' is 'one\\ntwo': give it 1 to 200 characters of text"),
        ({"tags": {str(n): "x" for n in range(101)}}, "an item has 101 tags: give at most 100"),
        ({"parts": [[8, 9]]}, 'parts=[[8, 9]] is not a mapping: write {"operands": [[8, 9]]}'),
        ({"parts": {"a b": [[8, 9]]}}, "'a b' names no part: use letters, digits, _ . and -, and none of all, prompt,"),
        ({"parts": {"all": [[8, 9]]}}, "'all' names no part: use letters, digits, _ . and -, and none of all, prompt,"),
        ({"parts": {"a": [8, 9]}}, "the part a is [8, 9]: write its spans as in [[8, 9], [12, 13]]"),
        ({"parts": {"a": [[True, 9]]}}, "the part a is [[True, 9]]: write its spans as in [[8, 9], [12, 13]]"),
        ({"parts": {"a": []}}, "the part a is []: write its spans as in [[8, 9], [12, 13]]"),
        (
            {"parts": {"a": [[9, 9]]}},
            "the part a is [[9, 9]]: each span begins before it ends, within the 14 characters",
        ),
        (
            {"parts": {"a": [[8, 15]]}},
            "the part a is [[8, 15]]: each span begins before it ends, within the 14 characters",
        ),
        ({"parts": {"a": [[8, 10], [9, 11]]}}, "the part a is [[8, 10], [9, 11]]: give its spans in order, without"),
        (
            {"same_answer": "What is 6 + 2?"},
            "same_answer='What is 6 + 2?' is not a Donor: give a question and an answer",
        ),
        ({"same_answer": Donor(**SUM)}, "same_answer asks the item's own question: give another question"),
        (
            {"same_answer": Donor(question="What is 6 + 3?", answer="9")},
            "same_answer has the answer '9': give a question with the item's answer",
        ),
        (
            {"counterfactual": Donor(question="What is 6 + 2?", answer="8.0")},
            "counterfactual has the answer '8.0': give a question with another answer than the item",
        ),
        (
            {"counterfactual": Donor(question="What is 6 + x?", answer="6 + x")},
            "counterfactual: the answer '6 + x' is not a number: write it in digits",
        ),
    ],
)
def test_what_does_not_belong_to_the_question_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ItemError) as error:
        Item(**(SUM | values))
    assert str(error.value).startswith(message)


def test_a_donor_is_asked_as_the_item_is() -> None:
    donor = Donor(question="Which is dry?", answer="sand")
    item = Item(question="Which is wet?", answer="rain", choices=("sand", "rain"), id="q1", counterfactual=donor)
    assert item.with_question_of(donor) == Item(
        question="Which is dry?", answer="sand", choices=("sand", "rain"), id="q1", kind=item.kind
    )


def test_a_donor_without_a_prompt_does_not_go_with_an_item_that_has_one() -> None:
    donor = Donor(question="What is 6 + 2?", answer="8")
    with pytest.raises(ItemError, match="give the donor a prompt, too"):
        Item(**SUM, prompt="5 + 3 =", same_answer=donor).with_question_of(donor)


@pytest.mark.parametrize("name", ["form", "operation", "operands", "solution", "prompt"])
def test_no_text_holds_half_of_a_surrogate_pair(name: str) -> None:
    with pytest.raises(ItemError, match="holds half of a surrogate pair: write the whole character"):
        Item(**(SUM | {name: ("\ud800",) if name == "operands" else "\ud800"}))


def test_a_donors_prompt_holds_no_half_of_a_surrogate_pair() -> None:
    donor = Donor(question="What is 6 + 2?", answer="8", prompt="\ud800")
    with pytest.raises(ItemError, match="same_answer: prompt holds half of a surrogate pair"):
        Item(**SUM, prompt="5 + 3 =", same_answer=donor)


class Mute:
    """An object that cannot say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [10**5000, Mute(), [10**5000], (Mute(),)], ids=range(4))
@pytest.mark.parametrize("name", ["tags", "parts", "counterfactual", "same_answer", "choices", "operands", "form"])
def test_nonsense_is_one_line_whatever_it_is(name: str, value: Any) -> None:
    wrapped = {"tags": {"a": value}, "parts": {"a": [[0, value]]}, "choices": ("8", value), "operands": (value,)}
    with pytest.raises(ItemError) as refused:
        Item(**(SUM | {name: wrapped.get(name, value), "kind": None}))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
