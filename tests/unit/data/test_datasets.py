"""Datasets: the built-in ones as promised, files as users write them, and the messages for bad ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.datasets import BUILTIN, Dataset, builtin, from_items, load, read, safe_id, safe_ids
from reasoning_probe.data.donors.annotate import annotated
from reasoning_probe.data.generators import generate
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.sources.base import DatasetError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
GSM8K = {"question": "Two and three?", "answer": "2 + 3 = <<2+3=5>>5\nSo five.\n#### 5"}


def write(folder: Path, *lines: object, name: str = "items.jsonl") -> Path:
    path = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def questions(dataset: Dataset) -> list[str]:
    return [item.question for item in dataset.items]


# -- built-in ---------------------------------------------------------------------------------------------------------


def test_built_in_sets_are_the_promised_ones() -> None:
    sets = {name: builtin(name) for name in BUILTIN}
    assert {name: len(dataset.items) for name, dataset in sets.items()} == {
        "arithmetic": 8,
        "multi_step": 5,
        "logic": 4,
        "gsm8k": 5,
    }
    assert {"What is 5 + 3?", "What is 10 - 4?", "What is 6 * 2?"} <= set(questions(sets["arithmetic"]))
    assert {item.operation for item in sets["arithmetic"].items} == {"+", "-", "*", "/"}
    assert questions(sets["multi_step"])[0] == "Alice has 10 dollars, spends 4. How much left?"
    assert sum((item.solution or "").count("<<") >= 2 for item in sets["multi_step"].items) >= 3
    max_animal = sets["logic"].items[0]
    assert (max_animal.id, max_animal.answer) == ("syllogism-max-animal", "Yes")
    assert max_animal.question == "All dogs are animals. Max is a dog. Is Max an animal?"
    assert {item.answer for item in sets["logic"].items} == {"Yes", "No", "Unknown"}
    assert [dataset.format for dataset in sets.values()] == ["plain", "plain", "plain", "gsm8k"]
    assert all(item.id == safe_id(item.id or "") for dataset in sets.values() for item in dataset.items)


def test_more_items_are_generated_and_gsm8k_is_cut() -> None:
    assert builtin("arithmetic", 50).items == tuple(annotated(generate("arithmetic", 50)))
    assert builtin("gsm8k", 2).items == builtin("gsm8k").items[:2]
    with pytest.raises(DatasetError, match=r"the built-in gsm8k has 5 items, not 6: .*--probe-dataset gsm8k=FILE"):
        builtin("gsm8k", 6)
    with pytest.raises(DatasetError, match="at least 1"):
        builtin("logic", 0)


def test_an_unknown_name_is_told_what_to_do() -> None:
    with pytest.raises(DatasetError, match=r"no built-in dataset 'algebra'.*--probe-dataset algebra=FILE\.jsonl"):
        builtin("algebra")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("arithmatic", "no built-in dataset 'arithmatic': did you mean arithmetic?"),
        (
            Path("/nowhere/Logic"),
            "there is no file /nowhere/Logic, and no built-in dataset 'Logic': did you mean logic?",
        ),
        ("multistep", "did you mean multi_step?"),
        ("gsm-8k", "did you mean gsm8k?"),
        ("arithmatic:digits=3", "there is no file arithmatic:digits=3, and no built-in dataset 'arithmatic':"),
        ("arithmatic:digits=3", "did you mean arithmetic:...?"),
        ("hf:", "cannot read 'hf:': write hf:NAME:SPLIT"),
        ("algebra", "there is no file algebra: give the path"),
        ("arithmatic.jsonl", "there is no file arithmatic.jsonl: give the path"),
    ],
)
def test_a_misspelt_name_is_told_the_near_ones(source: str | Path, expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read("x", source)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_called_nearly_as_a_built_in_dataset_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, GSM8K, name="arithmatic")
    assert questions(read("x", path)) == ["Two and three?"]


# -- files ------------------------------------------------------------------------------------------------------------


def test_every_field_is_read(tmp_path: Path) -> None:
    whole = {
        "id": "big-sum",
        "question": "What is 1 + 2?",
        "answer": 3,
        "solution": "1 + 2 = 3",
        "kind": "text",
        "operands": [1, "2"],
        "operation": "+",
    }
    dataset = load("mine", write(tmp_path, whole, {"question": "So?", "answer": "yes"}))
    assert dataset.items == (
        Item(
            id="big-sum",
            question="What is 1 + 2?",
            answer="3",
            solution="1 + 2 = 3",
            kind="text",
            operands=("1", "2"),
            operation="+",
        ),
        Item(id="q2", question="So?", answer="yes", kind="label"),
    )
    assert (dataset.name, dataset.format, dataset.source) == ("mine", "plain", str(tmp_path / "items.jsonl"))


def test_gsm8k_is_read_as_it_is(tmp_path: Path) -> None:
    thousands = {"question": "How many?", "answer": "Many.\n#### 1,200"}
    dataset = load("real", write(tmp_path, GSM8K, thousands))
    assert dataset.format == "gsm8k"
    assert [(item.answer, item.kind) for item in dataset.items] == [("5", "number"), ("1,200", "number")]
    assert dataset.items[0].solution == GSM8K["answer"]
    mixed = load("mixed", write(tmp_path, GSM8K, {"question": "So?", "answer": "no"}))
    assert mixed.format == "plain"


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    digits = "9" * 5000
    dataset = load(
        "x", write(tmp_path, f'{{"question": "a", "answer": {digits}}}', '{"question": "b", "answer": 8.50}')
    )
    assert [item.answer for item in dataset.items] == [digits, "8.50"]


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(TEXT, st.sampled_from(["8", "Yes", "a word", "-3.5"])), min_size=1, max_size=8),
    bom=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\n\n", "\n  \n"]),
    plain=st.booleans(),
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], bom: bool, end: str, plain: bool
) -> None:
    path = tmp_path_factory.mktemp("data") / "any.jsonl"
    lines = [json.dumps({"question": q, "answer": a}, ensure_ascii=plain) for q, a in pairs]
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + end.join(lines).encode())
    dataset = load("any", path)
    assert [(item.question, item.answer) for item in dataset.items] == pairs
    assert [item.id for item in dataset.items] == [f"q{n}" for n in range(1, len(pairs) + 1)]


def test_a_limit_takes_the_first_and_reads_no_further(tmp_path: Path) -> None:
    path = write(tmp_path, GSM8K, {"question": "So?", "answer": "no"}, "not json")
    assert questions(load("x", path, 2)) == ["Two and three?", "So?"]
    with pytest.raises(DatasetError, match="at least 1"):
        load("x", path, 0)
    assert len(load("x", write(tmp_path, GSM8K), 3, at_most=True).items) == 1
    with pytest.raises(DatasetError, match="there are 1 items, not 3"):
        load("x", write(tmp_path, GSM8K), 3)


OK = '{"question": "a", "answer": "b"}'
BAD_LINES = {
    "malformed": ("{'question': 1}", "not JSON"),
    "cut": ('{"question": "a", "answer": "b"', "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "list": ('["a", "b"]', "not a JSON object"),
    "number": ("8", "not a JSON object"),
    "no-question": ('{"answer": "b"}', 'no question: add "question"'),
    "no-answer": ('{"question": "a"}', 'no answer: add "answer"'),
    "null-answer": ('{"question": "a", "answer": null}', "no answer"),
    "empty-question": ('{"question": " ", "answer": "b"}', "question is empty"),
    "empty-answer": ('{"question": "a", "answer": ""}', "answer is empty"),
    "empty-gsm8k": ('{"question": "a", "answer": "so\\n#### "}', "no answer after ####"),
    "true-answer": ('{"question": "a", "answer": true}', "answer is true or false: make it a text or a number"),
    "list-answer": ('{"question": "a", "answer": ["b"]}', "answer is a list"),
    "object-answer": ('{"question": "a", "answer": {}}', "answer is an object"),
    "number-question": ('{"question": 5, "answer": "b"}', "question is a number: make it a text"),
    "wrong-kind": ('{"question": "a", "answer": "b", "kind": "essay"}', "kind is 'essay': use one of number, label"),
    "list-kind": ('{"question": "a", "answer": "b", "kind": []}', "kind is"),
    "kind-mismatch": ('{"question": "a", "answer": "b", "kind": "number"}', "is not a number"),
    "operands": ('{"question": "a", "answer": "b", "operands": "12"}', "operands is a text: make it a list"),
    "null-operand": ('{"question": "a", "answer": "b", "operands": [null]}', "no operand"),
    "surrogate": ('{"question": "\\ud800", "answer": "b"}', "half of a surrogate pair"),
    "long": ('{"question": "' + "a" * 1_000_001 + '", "answer": "b"}', "longer than 1,000,000 bytes"),
}


@pytest.mark.parametrize(("line", "expected"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    path = write(tmp_path, OK, "", line)
    with pytest.raises(DatasetError) as caught:
        load("x", path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 3: ")
    assert expected in message
    assert "\n" not in message
    assert len(message) < 200 + len(str(path))


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(OK.encode() + b'\n{"question": "gr\xfc\xdfe", "answer": "b"}\n')
    with pytest.raises(DatasetError, match="line 2: not UTF-8: save the file as UTF-8"):
        load("x", path)


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_a_file_of_no_items_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="no items: give at least one"):
        load("x", path)


def test_a_path_without_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no file .*nowhere\.jsonl"):
        load("x", tmp_path / "nowhere.jsonl")
    with pytest.raises(DatasetError, match="is a folder: give the path of a JSONL file in it"):
        load("x", tmp_path)
    with pytest.raises(DatasetError, match="there is no file ~nobody-here/x"):
        load("x", "~nobody-here/x")
    with pytest.raises(DatasetError, match="cannot read"):
        load("x", tmp_path / ("n" * 300))


def test_ids_must_be_unique(tmp_path: Path) -> None:
    twice = '{"id": "same", "question": "a", "answer": "b"}'
    with pytest.raises(DatasetError, match="line 4: the id 'same' is that of line 2 too: make ids unique"):
        load("x", write(tmp_path, OK, twice, "", twice))
    with pytest.raises(DatasetError, match="the id 'q2' is that of line 1 too"):
        load("x", write(tmp_path, '{"id": "q2", "question": "a", "answer": "b"}', OK))


# -- items in memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [(" \n", "8", "an empty question"), ("a?", "\t", "no answer: give it the expected")],
)
def test_an_item_needs_a_question_and_an_answer(question: str, answer: str, expected: str) -> None:
    with pytest.raises(ItemError, match=expected):
        Item(question=question, answer=answer)


def test_items_in_memory_get_ids() -> None:
    first, second = Item(question="a", answer="b", id="mine"), Item(question="c", answer="d")
    dataset = from_items("x", iter([first, second]))
    assert [item.id for item in dataset.items] == ["mine", "q2"]
    assert (dataset.name, dataset.format, dataset.source) == ("x", "plain", "the items of x")
    assert len(from_items("x", (Item(question=str(n), answer="1") for n in range(10**9)), 3).items) == 3


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], "the items of x: no items"),
        (["What is 1 + 1?"], "item 1: 'What is 1 \\+ 1\\?' is not an Item: give Items"),
        ([Item(question="a", answer="b", id="i")] * 2, "item 2: the id 'i' is that of item 1 too"),
    ],
)
def test_bad_items_in_memory_are_named(items: Iterable[Item], expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        from_items("x", items)


# -- ids that are fit for test ids ------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=6), unique=True, max_size=20))
def test_safe_ids_are_safe_unique_and_steady(ids: list[str]) -> None:
    safe = safe_ids(ids)
    assert len(set(safe)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", id) for id in safe)
    assert all(after == before for before, after in zip(ids, safe, strict=True) if before == safe_id(before))


def test_safe_ids_by_example() -> None:
    assert safe_ids(["max is a dog", "max-is-a-dog", "größe", "日本", "日曜"]) == (
        "max-is-a-dog-2",
        "max-is-a-dog",
        "gr--e",
        "--",
        "---2",
    )
