"""Shapes of known datasets: what of a row is asked, and the refusal of fields that may belong to the question.

The rows are made up; their fields are those of the datasets that they are named for. The file has more than 400 lines
because the shapes are a table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.data.datasets import load
from reasoning_probe.data.items import Item
from reasoning_probe.data.sources import shapes
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.data.sources.fields import split_fields, with_fields

CAT = "Every cat is a mammal. Tom is a cat."

KNOWN: dict[str, tuple[dict[str, Any], tuple[str, str, tuple[str, ...]]]] = {
    "Logic-LLM's ProntoQA": (
        {
            "id": "ProntoQA_x",
            "context": CAT,
            "question": "Is the following statement true or false? Tom is not a mammal.",
            "options": ["A) True", "B) False"],
            "answer": "B",
            "explanation": ["Tom is a cat.", "Tom is a mammal."],
        },
        (
            f"{CAT}\nIs the following statement true or false? Tom is not a mammal.",
            "False",
            ("True", "False"),
        ),
    ),
    "Logic-LLM's FOLIO": (
        {
            "id": "FOLIO_x",
            "context": CAT,
            "question": "Is the following statement true, false, or uncertain? Tom naps.",
            "options": ["A) True", "B) False", "C) Uncertain"],
            "answer": "C",
        },
        (
            f"{CAT}\nIs the following statement true, false, or uncertain? Tom naps.",
            "Uncertain",
            ("True", "False", "Uncertain"),
        ),
    ),
    "Logic-LLM's LogicalDeduction": (
        {
            "context": "On a shelf stand two books. The red one stands left of the blue one.",
            "question": "Which of the following is true?",
            "options": ["A) The red book is the leftmost.", "B) The blue book is the leftmost."],
            "answer": "A",
        },
        (
            "On a shelf stand two books. The red one stands left of the blue one.\nWhich of the following is true?",
            "The red book is the leftmost.",
            ("The red book is the leftmost.", "The blue book is the leftmost."),
        ),
    ),
    "MMLU-Pro": (
        {
            "question_id": 7,
            "question": "Which word is short?",
            "options": [*("word" * n for n in range(2, 10)), "I", "J J"],
            "answer": "I",
            "answer_index": 8,
            "cot_content": "A: Let us see.",
            "category": "language",
            "src": "made up",
        },
        ("Which word is short?", "I", (*("word" * n for n in range(2, 10)), "I", "J J")),
    ),
    "MMLU-Pro filled up": (
        {"question": "Which?", "options": ["red", "blue", "N/A", "N/A"], "answer": "B", "answer_index": 1},
        ("Which?", "blue", ("red", "blue")),
    ),
    "MMLU": (
        {"question": "Which?", "subject": "colours", "choices": ["red", "blue"], "answer": 1},
        ("Which?", "blue", ("red", "blue")),
    ),
    "KMMLU": (
        {
            "question": "Which?",
            "answer": 2,
            "A": "ab",
            "B": "cd",
            "C": "ef",
            "D": "gh",
            "Category": "x y",
            "Accuracy": 0.5,
        },
        ("Which?", "cd", ("ab", "cd", "ef", "gh")),
    ),
    "columns A to E with a letter": (
        {"Question": "Which?", "Answer": "C", "A": "4", "B": "3", "C": "2", "D": "1", "E": None},
        ("Which?", "2", ("4", "3", "2", "1")),
    ),
    "columns whose texts are letters": (
        {"question": "Which blood?", "answer": "A", "A": "B", "B": "A", "C": "AB"},
        ("Which blood?", "B", ("B", "A", "AB")),
    ),
    "columns option_a": (
        {"question": "Which?", "option_a": "ab", "option_b": "cd", "answer": "b"},
        ("Which?", "cd", ("ab", "cd")),
    ),
    "AQuA": (
        {"question": "How many?", "options": ["A)21", "B)21.5"], "rationale": "Count them.", "correct": "B"},
        ("How many?", "21.5", ("21", "21.5")),
    ),
    "MedQA": (
        {
            "question": "Which?",
            "options": {"A": "ab", "B": "cd"},
            "answer": "cd",
            "answer_idx": "B",
            "meta_info": "step",
        },
        ("Which?", "cd", ("ab", "cd")),
    ),
    "choices that are true and false": (
        {"question": "Is it so?", "choices": ["True", "False"], "answer": False},
        ("Is it so?", "False", ("True", "False")),
    ),
    "columns of operands": (
        {"question": "What is A - B?", "A": "5", "B": "3", "answer": "2"},
        ("What is A - B?", "2", ()),
    ),
    "RACE": (
        {
            "article": "It rained.",
            "question": "What fell?",
            "options": ["rain", "snow"],
            "answer": "A",
            "example_id": "x y",
        },
        ("It rained.\nWhat fell?", "rain", ("rain", "snow")),
    ),
    "ASDiv": (
        {
            "body": "A basket holds seven red and two green apples.",
            "question": "How many apples does it hold?",
            "solution_type": "Addition",
            "answer": "9 (apples)",
            "formula": "7+2=9",
        },
        ("A basket holds seven red and two green apples. How many apples does it hold?", "9", ()),
    ),
    "ProofWriter": (
        {"theory": CAT, "question": "Tom is a mammal.", "answer": "True", "QDep": 1, "allProofs": "@0: Tom is a cat."},
        (f"{CAT}\nIs the following statement true, false or unknown? Tom is a mammal.", "True", ()),
    ),
    "FOLIO": (
        {
            "premises": ["Every cat is a mammal.", "Tom is a cat."],
            "premises-FOL": ["all x (cat(x) -> mammal(x))"],
            "conclusion": "Tom naps.",
            "conclusion-FOL": "naps(tom)",
            "label": "Uncertain",
            "story_id": 3,
        },
        (f"{CAT}\nIs the following statement true, false or unknown? Tom naps.", "Unknown", ()),
    ),
    "bAbI": (
        {"passage": "Ann went to the hall.\nBob slept.\n", "question": "Where is Ann?", "answer": "hall", "task": 1},
        ("Ann went to the hall.\nBob slept.\nWhere is Ann?", "hall", ()),
    ),
    "bAbI's story": (
        {"story": ["Ann went to the hall.", "Bob slept."], "question": "Is Ann in the hall?", "answer": "yes"},
        ("Ann went to the hall. Bob slept.\nIs Ann in the hall?", "yes", ()),
    ),
    "BoolQ": (
        {"question": "do cats lay eggs", "title": "Cat", "passage": "Cats are mammals.", "answer": False},
        ("Cats are mammals.\ndo cats lay eggs?", "no", ()),
    ),
    "BoolQ with the numbers of its classes": (
        {"question": "do cats lay eggs", "passage": "Cats are mammals.", "idx": 3, "label": 0},
        ("Cats are mammals.\ndo cats lay eggs?", "no", ()),
    ),
    "BoolQ that asks for a number": (
        {"question": "how many cats are there", "passage": "A cat sits there.", "label": 1},
        ("A cat sits there.\nhow many cats are there", "1", ()),
    ),
    "ReClor": (
        {
            "context": "Cats purr.",
            "question": "What purrs?",
            "answers": ["a dog", "a cat", "a cow", "a pig"],
            "label": 1,
            "id_string": "train_0",
        },
        ("Cats purr.\nWhat purrs?", "a cat", ("a dog", "a cat", "a cow", "a pig")),
    ),
    "BoolQ that asks by no verb": (
        {"question": "the cat is a mammal", "passage": "Cats are mammals.", "answer": True},
        ("Cats are mammals.\nthe cat is a mammal?", "yes", ()),
    ),
    "StrategyQA": (
        {
            "qid": "b8677742616fef051f00",
            "term": "Cat",
            "description": "a small animal that purrs",
            "question": "Could a cat drive a bus?",
            "answer": False,
            "facts": ["Cats have paws.", "Buses are driven by hand."],
            "decomposition": ["What has a cat?"],
            "evidence": [[["Cat-1"], "no_evidence"]],
        },
        ("Cats have paws. Buses are driven by hand.\nCould a cat drive a bus?", "no", ()),
    ),
    "StrategyQA without its facts": (
        {"term": "Cat", "description": "a small animal", "question": "Could a cat drive a bus?", "answer": False},
        ("Could a cat drive a bus?", "no", ()),
    ),
}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def one(folder: Path, row: dict[str, Any], fields: str = "") -> Item:
    (item,) = load("x", f"{write(folder, row)}{fields}").items
    return item


@pytest.mark.parametrize(("row", "expected"), KNOWN.values(), ids=KNOWN)
def test_a_known_shape_is_asked_with_all_of_its_question(
    tmp_path: Path, row: dict[str, Any], expected: tuple[str, str, tuple[str, ...]]
) -> None:
    item = one(tmp_path, row)
    assert (item.question, item.answer, item.choices) == expected


def test_columns_of_a_csv_file_are_choices(tmp_path: Path) -> None:
    path = tmp_path / "kmmlu.csv"
    path.write_text("question,answer,A,B,C,D,Human Accuracy\nWhich?,3,ab,cd,ef,,0.5\n", encoding="utf-8")
    (item,) = load("x", path).items
    assert (item.answer, item.choices) == ("ef", ("ab", "cd", "ef"))


def test_proofwriter_gives_an_item_for_each_of_its_questions(tmp_path: Path) -> None:
    questions = {
        "Q1": {"question": "Tom is a mammal.", "answer": True, "QDep": 1, "representation": '("Tom" "is" "mammal")'},
        "Q2": {"question": "Tom is big.", "answer": "Unknown", "proofs": "[none at all]"},
    }
    row = {"id": "OWA-1", "theory": CAT, "rules": {"rule1": {"text": "Every cat is a mammal."}}, "questions": questions}
    dataset = load("x", write(tmp_path, row, row | {"id": "OWA-2"}))
    assert [(item.id, item.answer) for item in dataset.items] == [
        ("OWA-1-Q1", "True"),
        ("OWA-1-Q2", "Unknown"),
        ("OWA-2-Q1", "True"),
        ("OWA-2-Q2", "Unknown"),
    ]
    assert len({item.question for item in dataset.items}) == 2
    assert len(load("x", write(tmp_path, row), 1).items) == 1


def test_asdiv_says_its_step_and_leaves_answers_that_are_no_number(tmp_path: Path) -> None:
    row = {"body": "Seven and two apples", "question": "How many?", "answer": "9 (apples)", "formula": "7+2=9"}
    item = one(tmp_path, row)
    assert (item.question[:21], item.operands, item.operation) == ("Seven and two apples,", ("7", "2"), "+")
    assert one(tmp_path, row | {"formula": "7+2-1=8"}).solution == "7+2-1=8"
    assert one(tmp_path, row | {"answer": "red (apples)"}).answer == "red (apples)"


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Is 7 a prime number?", True, "yes"),
        ("In 1990, was Bonn a capital?", "False", "no"),
        ("Is it true that cats purr?", True, "yes"),
        ("Max is blue, true or false?", False, "False"),
        ("True or false: is Max blue?", "true", "true"),
        ("What does not True give?", "False", "False"),
    ],
)
def test_true_and_false_answer_as_the_question_wants(
    tmp_path: Path, question: str, answer: bool | str, expected: str
) -> None:
    assert one(tmp_path, {"question": question, "answer": answer}).answer == expected


def test_a_context_that_the_question_holds_is_not_repeated(tmp_path: Path) -> None:
    assert one(tmp_path, {"context": CAT, "question": f"{CAT} Is Tom one?", "answer": "yes"}).question.count(CAT) == 1


def test_a_prompt_is_sent_as_it_is(tmp_path: Path) -> None:
    item = one(
        tmp_path, {"question": "Why?", "answer": "so", "prompt": "Q: Why?", "context": CAT, "hint": "Think hard."}
    )
    assert (item.question, item.prompt) == ("Why?", "Q: Why?")


# -- fields that are not known ----------------------------------------------------------------------------------------

HINTED = {"q": "Why?", "hint": "Look up.", "more": ["It is", "blue."], "a": "sky", "remark one": "so so"}


def refusal(folder: Path, row: dict[str, Any], fields: str = "") -> str:
    with pytest.raises(DatasetError) as caught:
        one(folder, row, fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_texts_are_refused_with_what_to_write(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"question": "Why?", "hint": "Look up.", "more": ["It is"], "answer": "sky"})
    assert message == (
        f"{tmp_path / 'rows.jsonl'}, line 1: 'hint', 'more' may belong to the question: say what the fields are,"
        " --probe-dataset NAME=FILE:question=question,context=hint+more,answer=answer or @rp.probe(..., fields={...});"
        " those not named are left out"
    )
    _, _, rest = message.partition(", line 1: ")
    fields = rest[rest.index(":question=") :].partition(" or ")[0]
    row = {"question": "Why?", "hint": "Look up.", "more": ["It is"], "answer": "sky"}
    assert one(tmp_path, row, fields).question == "Look up.\nIt is\nWhy?"  # the advice can be typed as it is


@pytest.mark.parametrize(
    "name", sorted({*(name for names in shapes.IGNORED.values() for name in names), "x_id", "y_FOL"})
)
def test_fields_that_are_known_to_be_no_part_of_the_question_are_passed_over(tmp_path: Path, name: str) -> None:
    assert one(tmp_path, {"question": "Why?", name: "some words", "answer": "so"}).question == "Why?"


@pytest.mark.parametrize("value", [3, 0.5, True, None, "", [], "B", "2024-01-01", "12.5", [1, 2], {"a": 1}, "False"])
def test_fields_without_words_are_passed_over(tmp_path: Path, value: Any) -> None:
    assert one(tmp_path, {"question": "Why?", "other": value, "answer": "so"}).question == "Why?"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"context": {"title": "x"}}, "context is an object: make it a text, or leave it out, question=..."),
        (
            {"A": "ab", "B": "cd", "answer": 0},
            "the answer '0' is not one of A to B: give its letter, or its place from 1",
        ),
        ({"A": "ab", "B": "cd", "answer": 3}, "the answer '3' is not one of A to B"),
        ({"options": "ab or cd"}, "choices is a text: make it a list"),
        ({"problem": "2 + 2", "question": "How much?"}, "'problem' may belong to the question"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    assert expected in refusal(tmp_path, {"question": "Which?", "answer": "ab"} | row)


# -- fields that the user names ---------------------------------------------------------------------------------------


def test_named_fields_are_read_and_the_others_left_out(tmp_path: Path) -> None:
    item = one(tmp_path, HINTED, ":question=q,context=hint+more,answer=a,id=remark one")
    assert item == Item(id="so so", question="Look up.\nIt is blue.\nWhy?", answer="sky")
    assert one(tmp_path, HINTED, ": question = q , answer = a").question == "Why?"
    row = {"question": "Why?", "context": CAT, "answer": "so"}
    assert one(tmp_path, row, ":answer=answer").question == f"{CAT}\nWhy?"
    assert one(tmp_path, row, ":context=").question == "Why?"


def test_choices_can_be_named(tmp_path: Path) -> None:
    row = {"stem": "Which?", "right": "blue", "wrong1": "red", "wrong2": "green"}
    item = one(tmp_path, row, ":question=stem,answer=right,choices=right+wrong1+wrong2")
    assert (item.choices, item.answer) == (("blue", "red", "green"), "blue")
    path = tmp_path / "x.csv"
    path.write_text("stem,of,key\nWhich?,red|blue,B\n", encoding="utf-8")
    (item,) = load("x", f"{path}:question=stem,choices=of,answer=key").items
    assert (item.choices, item.answer) == (("red", "blue"), "blue")
    path.write_text("Question,Correct Answer,Incorrect Answer 1\nWhich?,blue,red\n", encoding="utf-8")
    (item,) = load("x", f"{path}:choices=Incorrect Answer 1+Correct Answer").items
    assert (item.choices, item.answer) == (("red", "blue"), "blue")


def test_fields_are_named_in_python_too(tmp_path: Path) -> None:
    row = {"q, or: what": "Why?", "50% + more=so": "Look up.", "a": "sky"}
    fields = {"question": ["q, or: what"], "context": ["50% + more=so"], "answer": "a"}
    source = with_fields(write(tmp_path, row), fields, "the probe x")
    (item,) = load("x", source).items
    assert (item.question, item.answer) == ("Look up.\nWhy?", "sky")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (":qestion=q,answer=a", "no field is the 'qestion': name question=...,context=...,answer=..., or id"),
        (":qestion=q", "no field is the 'qestion'"),
        (":question=q+hint,answer=a", "question is 'q+hint': name one field"),
        (":question=,answer=a", "question is '': name one field"),
        (":question=p,answer=a", "line 1: no field 'p': it has 'q', 'hint', 'more', 'a', 'remark one'"),
    ],
)
def test_wrong_names_of_fields_are_one_line(tmp_path: Path, fields: str, expected: str) -> None:
    assert expected in refusal(tmp_path, HINTED, fields)


@pytest.mark.parametrize("value", [5, {}, {"question": 5}, {"question": ["a", "b"]}, {"colour": "a"}, "question=q"])
def test_wrong_fields_in_python_are_one_line(value: Any) -> None:
    with pytest.raises(DatasetError, match=r"^the probe x, fields: .*"):
        with_fields("q.csv", value, "the probe x")
    with pytest.raises(DatasetError, match=r"^the probe x: fields=.* belongs to a file"):
        with_fields([], {"question": "q"}, "the probe x")


@pytest.mark.parametrize("source", ["arithmetic:digits=3,steps=4", "hf:a/b:test", "b=c.jsonl", "data:x=1", "q.csv"])
def test_other_sources_name_no_fields(source: str) -> None:
    assert split_fields(source) == (source, None)
    assert split_fields(f"{source}:question=q") == (source, {"question": ("q",)})
