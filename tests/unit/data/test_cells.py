"""Cells of files: numbers written as their tables hold them, and the names of columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_probe.data.datasets import load
from reasoning_probe.data.items import Item


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("8.0", "8"), ("-3.00", "-3"), ("1,200.0", "1,200"), ("2.50", "2.50"), ("0.0", "0"), ("8.05", "8.05")],
)
def test_whole_numbers_have_no_decimal_places(tmp_path: Path, answer: str, expected: str) -> None:
    texts = {
        "x.csv": f'question,answer\nWhy?,"{answer}"\n',
        "text.jsonl": json.dumps({"question": "Why?", "answer": answer}),
        "gsm8k.json": json.dumps([{"question": "Why?", "answer": f"So.\n#### {answer}"}]),
    }
    if "," not in answer:
        texts["number.jsonl"] = f'{{"question": "Why?", "answer": {answer}, "id": {answer}, "operands": [{answer}]}}'
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (item,) = load("x", tmp_path / name).items
        assert (item.answer, item.kind) == (expected, "number")
    if "," not in answer:
        assert (item.id, item.operands) == (expected, (expected,))


def test_decimal_places_that_mean_something_stay(tmp_path: Path) -> None:
    rows = [
        {"question": "Which version?", "answer": "3.0", "kind": "text"},
        {"question": "Which?", "choices": ["1.0", "2.0"], "answer": "2.0"},
        {"question": "Which?", "choices": ["red", "blue"], "answer": 1.0},  # as pandas writes an index beside gaps
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    items = load("x", path).items
    assert [item.answer for item in items] == ["3.0", "2.0", "blue"]


def test_blanks_around_the_names_of_columns_are_forgiven(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id, question ,\tanswer, choices\na,Which?,B,red|blue\n", encoding="utf-8")
    (item,) = load("x", path).items
    assert item == Item(id="a", question="Which?", answer="blue", choices=("red", "blue"))


def test_blanks_after_a_comma_belong_to_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('question, answer\nHow many?, 8\n"Who, then?", "Ann, Bob"\n', encoding="utf-8")
    assert [(item.question, item.answer) for item in load("x", path).items] == [
        ("How many?", "8"),
        ("Who, then?", "Ann, Bob"),
    ]
