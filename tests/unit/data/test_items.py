"""Items refuse what is no text, in one line, and can be hashed."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.data.items import Item, ItemError

GOOD: dict[str, Any] = {"question": "What colour is the sky?", "answer": "blue"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": 5}, "id=5 is no text: give one"),
        ({"id": b"sky"}, "id=b'sky' is no text: give one"),
        ({"question": 5}, "question=5 is no text: give one"),
        ({"question": None}, "question=None is no text: give one"),
        ({"answer": 8.0}, "answer=8.0 is no text: give one"),
        ({"solution": ["x"]}, "solution=['x'] is no text: give one"),
        ({"prompt": 1}, "prompt=1 is no text: give one"),
        ({"kind": "colour"}, "kind='colour' is none: use number, label, text, expression"),
        ({"choices": "blue"}, "choices='blue' is no tuple: give a tuple of texts"),
        ({"choices": 5}, "choices=5 is no tuple: give a tuple of texts"),
        ({"choices": ["blue", 5]}, "choices=('blue', 5) are no texts: give a tuple of texts"),
        ({"choices": ["blue", ["red"]]}, "choices=('blue', ['red']) are no texts: give a tuple of texts"),
        ({"operands": 5}, "operands=5 is no tuple: give a tuple of texts"),
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
