"""Sources: every kind of file, the hub's datasets, tasks of lm-evaluation-harness, and the messages for bad ones.

The module has more than 400 lines because each kind of source has its tests beside those of the others.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.data.datasets import load, read
from reasoning_probe.data.items import Donor, Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.base import DatasetError, as_dataset_error
from reasoning_probe.data.sources.records import plain
from reasoning_probe.data.sources.registry import located
from tests.helpers.project import Project

ROWS = [
    {"id": "a", "question": 'What is "1,5" + 2?', "answer": "3.5", "operands": ["1.5", "2"], "operation": "+"},
    {"id": "b", "question": "Is it\nso?", "answer": "Yes"},
    {"id": "c", "question": "Which?", "choices": ["red", "blue"], "answer": "B"},
]
ITEMS = (
    Item(id="a", question='What is "1,5" + 2?', answer="3.5", operands=("1.5", "2"), operation="+"),
    Item(id="b", question="Is it\nso?", answer="Yes"),
    Item(id="c", question="Which?", answer="blue", choices=("red", "blue")),
)
COLUMNS = ["id", "question", "answer", "operands", "operation", "choices"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write *rows* to *path* with the libraries that people use, and return *path*."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        whole = [{name: row.get(name) for name in COLUMNS} for row in rows]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(whole), path)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writeheader()
            for row in rows:
                table.writerow(
                    {key: "|".join(value) if isinstance(value, list) else value for key, value in row.items()}
                )
    return path


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".CSV"])
def test_every_kind_of_file_gives_the_same_items(tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = write(tmp_path / f"mine{ending}", ROWS)
    assert load("mine", path).items == ITEMS
    assert load("mine", path, 2).items == ITEMS[:2]


class Scalar:
    """A number as numpy, pyarrow and torch represent it."""

    def item(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        (float("nan"), None),
        (None, None),
        (True, True),
        (7.0, "7"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (Scalar(), "3"),
        ({"text": ("a", 1)}, {"text": ["a", "1"]}),
        (Path("a"), "a"),
    ],
)
def test_cells_of_a_table_are_what_json_would_hold(cell: Any, read: Any) -> None:
    assert plain(cell) == read


def test_numbers_of_a_table_are_written_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [{"question": "x", "answer": value} for value in (8.0, 2.5, -3.0)]
    assert [item.answer for item in load("x", write(tmp_path / "x.parquet", rows)).items] == ["8", "2.5", "-3"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.csv", "", "no column question: name the columns question and answer in the first row"),
        ("x.csv", "question,answer\na,b\nc,d,e\n", "row 3: more cells than columns"),
        ("x.csv", "question,answer\na,b\nc,\n", 'row 3: no answer: add "answer"'),
        ("x.csv", "question,answer,choices\na,b,[1\n", "row 2: choices: not JSON"),
        ("x.csv", b"question,answer\n\xff,b\n", "not UTF-8: save the file as UTF-8"),
        ("x.csv", 'question,answer\n"' + "a" * 200_000 + '",b\n', "not CSV (field larger than field limit"),
        ("x.json", '{"question": "a", "answer": "b"}', "not a list: write a list of objects"),
        ("x.json", "[1", "not JSON"),
        ("x.json", '[{"question": "a", "answer": "b"}, 3]', "item 2: not a JSON object"),
        ("x.json", b"\xff", "not UTF-8"),
        ("x.parquet", "PAR1 or not", "not a Parquet file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError) as caught:
        load("x", path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.json", "nowhere.parquet"])
def test_a_file_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(DatasetError, match="there is no file"):
        load("x", tmp_path / name)


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"pip install 'reasoning-probe\[parquet\]'"):
        load("x", tmp_path / "x.parquet")


# -- the formats of known datasets ------------------------------------------------------------------------------------


def one(tmp_path: Path, row: dict[str, Any]) -> Item:
    (item,) = load("x", write(tmp_path / "one.jsonl", [row])).items
    return item


def test_svamp_is_read_as_it_is(tmp_path: Path) -> None:
    row = {
        "ID": "chal-1",
        "Body": "Each pack costs 76 dollars. If there is a discount of 25 dollars on each pack",
        "Question": "How much do you have to pay for each pack?",
        "Equation": "( 76.0 - 25.0 )",
        "Answer": 51.0,
        "Type": "Subtraction",
    }
    item = one(tmp_path, row)
    assert item == Item(
        id="chal-1",
        question="Each pack costs 76 dollars. If there is a discount of 25 dollars on each pack,"
        " How much do you have to pay for each pack?",
        answer="51",
        operands=("76", "25"),
        operation="-",
        kind=None,
    )
    two = one(tmp_path, row | {"Body": "Well.", "Equation": "( ( 3.0 * 4.0 ) - 2.5 )", "Answer": "9.5"})
    assert (two.question[:9], two.answer) == ("Well. How", "9.5")
    assert (two.solution, two.operation) == ("( ( 3 * 4 ) - 2.5 ) = 9.5", None)


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["red", "blue"], {"answer": "B"}, "blue"),
        (["red", "blue"], {"answer": 0}, "red"),
        (["red", "blue"], {"answer": "red"}, "red"),
        (["B", "A"], {"answer": "A"}, "A"),  # the text, not the letter
        (["1", "2", "3"], {"answer": 1}, "2"),  # a number is a place
        (["1", "2", "3"], {"answer": "1"}, "1"),  # a text is a text
        ({"text": ["red", "blue"], "label": ["A", "B"]}, {"answerKey": "B"}, "blue"),  # ARC
        ({"text": ["red", "blue"], "label": ["1", "2"]}, {"answerKey": "2"}, "blue"),
        ([3, 4.5], {"answer": 1}, "4.5"),
    ],
)
def test_the_right_choice_is_found(tmp_path: Path, choices: Any, answer: dict[str, Any], right: str) -> None:
    assert one(tmp_path, {"question": "Which?", "choices": choices, **answer}).answer == right


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"choices": ["a", "b"], "answer": "C"}, "'C' is not one of the 2 choices: give its letter, its place"),
        ({"choices": ["a", "b"], "answer": 2}, "'2' is not one of the 2 choices"),
        ({"choices": ["a", "b"]}, 'no answer: add "answer"'),
        ({"choices": "a or b", "answer": "a"}, "choices is a text: make it a list"),
        ({"choices": ["a"], "answer": "a"}, "choices must be 2 to 26 different texts"),
        ({"choices": ["a", "a"], "answer": 0}, "choices must be 2 to 26 different texts"),
        ({"choices": ["a", " "], "answer": 0}, "choice is empty"),
        ({"choices": ["a", None], "answer": 0}, "no choice"),
    ],
)
def test_bad_choices_are_said(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        one(tmp_path, {"question": "Which?", **row})


# -- the hub ----------------------------------------------------------------------------------------------------------


def saved(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    datasets = pytest.importorskip("datasets")
    tables = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
    datasets.DatasetDict(tables).save_to_disk(folder)
    return folder


GSM8K = [{"question": f"{n} and 1?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(3)]


def test_a_dataset_that_was_saved_to_disk_is_read(tmp_path: Path) -> None:
    folder = saved(tmp_path / "gsm8k", train=GSM8K[:1], test=GSM8K)
    dataset = read("mine", f"hf:{folder}:test", 2)
    assert [(item.question, item.answer) for item in dataset.items] == [("0 and 1?", "1"), ("1 and 1?", "2")]
    assert dataset.format == "gsm8k"
    with pytest.raises(DatasetError, match="has no split 'dev': use one of train, test"):
        read("mine", f"hf:{folder}:dev")
    with pytest.raises(DatasetError, match="names no split: use one of train, test"):
        read("mine", f"hf:{folder}")


def test_a_folder_of_data_files_is_read(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "test.jsonl", [{"question": "Which?", "choices": ["a", "b"], "answer": 1}])
    (item,) = read("mine", f"hf:{tmp_path / 'data'}:test").items
    assert (item.choices, item.answer) == (("a", "b"), "b")


def test_a_dataset_of_one_split_needs_no_name_of_it(tmp_path: Path) -> None:
    assert len(read("mine", f"hf:{saved(tmp_path / 'gsm8k', test=GSM8K)}").items) == 3


CONFIGS = """---
configs:
- config_name: easy
  data_files: easy.jsonl
- config_name: hard
  data_files: hard.jsonl
---
"""


def test_a_dataset_of_several_configs_needs_the_name_of_one(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "README.md").write_text(CONFIGS, encoding="utf-8")
    for name in ("easy", "hard"):
        write(folder / f"{name}.jsonl", [{"question": f"Is it {name}?", "answer": "Yes"}])
    with pytest.raises(DatasetError, match=r"has several configs: name one, hf:.*:CONFIG:SPLIT \(easy, hard\)"):
        read("mine", f"hf:{folder}:train")
    (item,) = read("mine", f"hf:{folder}:hard:train").items
    assert item.question == "Is it hard?"


@pytest.mark.parametrize("source", ["hf:", "hf:a:b:c:d", "hf:a::b", "hf: :test"])
def test_what_is_no_dataset_of_the_hub_is_said(source: str) -> None:
    with pytest.raises(DatasetError, match=r"cannot read 'hf:.*: write hf:NAME:SPLIT"):
        read("mine", source)


def test_a_hub_that_cannot_be_reached_is_one_line(project: Project) -> None:
    pytest.importorskip("datasets")
    project.write(
        "test_mine.py",
        'import reasoning_probe as rp\n@rp.probe("hf:no-body/no-data:test")\ndef test_mine(answer): pass\n',
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert "cannot load hf:no-body/no-data:test: it is not on this machine and the hub cannot be reached" in line


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionError("Max retries exceeded"), "it is not on this machine and the hub cannot be reached: fetch it"),
        (FileNotFoundError("Dataset 'a' doesn't exist on the Hub"), "there is no such dataset on the hub, or it is pr"),
        (ValueError("split\n  by lines"), "split by lines"),
        (KeyError(), "KeyError"),
    ],
)
def test_whatever_loading_raises_is_one_line(raised: Exception, expected: str) -> None:
    with pytest.raises(DatasetError, match=f"^cannot load hf:a: {expected}") as error, as_dataset_error("hf:a"):
        raise raised
    assert "\n" not in str(error.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match=r"pip install 'reasoning-probe\[datasets\]'"):
        read("mine", "hf:openai/gsm8k:test")
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(DatasetError, match=r"pip install 'reasoning-probe\[lm-eval\]'"):
        read("mine", "lm-eval:gsm8k")


def test_paths_start_at_the_test_module(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert located("mine.csv", tmp_path) == tmp_path / "mine.csv"
    assert located("hf:data:test", tmp_path) == f"hf:{tmp_path / 'data'}:test"
    assert located("hf:openai/gsm8k:main:test", tmp_path) == "hf:openai/gsm8k:main:test"
    assert located("arithmetic:digits=3", tmp_path) == "arithmetic:digits=3"
    assert located(tmp_path / "x.jsonl", Path("/elsewhere")) == tmp_path / "x.jsonl"


# -- lm-evaluation-harness --------------------------------------------------------------------------------------------

TASK = """
task: mine
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
"""
FREE = """output_type: generate_until
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["Question:", "</s>"]
  max_gen_toks: 99
"""
CHOICE = """output_type: multiple_choice
description: "Science. "
doc_to_text: "{{question}}\\nIt is"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
"""
RANK = "output_type: loglikelihood\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"


def task(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    pytest.importorskip("lm_eval")
    data = write(folder / "data.jsonl", rows)
    path = folder / "task.yaml"
    path.write_text(TASK.replace("{data}", str(data)) + kind, encoding="utf-8")
    return f"lm-eval:{path}"


def test_a_generating_task_of_lm_eval_is_asked_as_it_asks(tmp_path: Path) -> None:
    dataset = read("mine", task(tmp_path, FREE, GSM8K))
    assert [(item.question, item.answer, item.prompt) for item in dataset.items[:1]] == [("0 and 1?", "1", None)]
    assert (dataset.format, dataset.generation) == ("gsm8k", Generation(99, ("Question:", "</s>")))


def test_a_multiple_choice_task_of_lm_eval_brings_its_prompts(tmp_path: Path) -> None:
    rows = [{"question": "Which is wet?", "choices": {"text": ["sand", "rain"], "label": ["A", "B"]}, "answerKey": "B"}]
    (item,) = read("mine", task(tmp_path, CHOICE, rows)).items
    assert (item.question, item.prompt) == ("Which is wet?\nIt is", "Science. Which is wet?\nIt is")
    assert (item.choices, item.answer) == (("sand", "rain"), "rain")


def test_tasks_that_give_no_answers_are_refused(tmp_path: Path) -> None:
    source = task(tmp_path, RANK, [{"question": "a", "answer": "b"}])
    with pytest.raises(DatasetError, match="is of the type loglikelihood: only generate_until and multiple_choice"):
        read("mine", source)
    with pytest.raises(DatasetError, match=r"there is no file .*none\.yaml"):
        read("mine", f"lm-eval:{tmp_path / 'none.yaml'}")
    with pytest.raises(DatasetError, match="has no task 'nothing-of-the-kind'"):
        read("mine", "lm-eval:nothing-of-the-kind")


# -- names ------------------------------------------------------------------------------------------------------------


def test_two_probes_of_different_data_need_different_names(project: Project) -> None:
    text = 'import reasoning_probe as rp\n@rp.probe("q.jsonl")\ndef test_it(answer): assert answer.correct\n'
    for folder in ("one", "two"):
        project.write(f"{folder}/test_{folder}.py", text)
        project.write(f"{folder}/q.jsonl", json.dumps({"question": f"What colour is {folder}?", "answer": "blue"}))
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*two probes call different data 'q': give one of them another name, name=*"])
    project.write("two/test_two.py", text.replace('"q.jsonl"', '"q.jsonl", name="second"'))
    project.run()
    assert set(project.summary()["datasets"]) == {"q", "second"}


# -- fields that hold objects -----------------------------------------------------------------------------------------

MARKED = {
    "question": "What is 5 + 3?",
    "answer": 8,
    "tags": {"operation": "+", "digits": 1, "carry": False},
    "parts": {"operands": [[8, 9], [12, 13]]},
    "counterfactual": {"question": "What is 6 + 4?", "answer": 10},
    "same_answer": {"question": "What is 6 + 2?", "answer": 8},
}
MARKED_ITEM = Item(
    id="q1",
    question="What is 5 + 3?",
    answer="8",
    tags={"operation": "+", "digits": "1", "carry": "false"},
    parts={"operands": ((8, 9), (12, 13))},
    counterfactual=Donor(question="What is 6 + 4?", answer="10"),
    same_answer=Donor(question="What is 6 + 2?", answer="8"),
)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_tags_parts_and_donors_are_read_from_every_kind_of_file(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"q.{ending}"
    if ending == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([MARKED]), file)
    elif ending == "csv":
        with file.open("w", newline="") as opened:
            table = csv.DictWriter(opened, list(MARKED))
            table.writeheader()
            table.writerow({key: json.dumps(v) if isinstance(v, dict) else v for key, v in MARKED.items()})
    else:
        file.write_text(json.dumps([MARKED] if ending == "json" else MARKED))
    assert load("q", file).items == (MARKED_ITEM,)


def test_the_parts_of_a_question_are_found_behind_its_context(tmp_path: Path) -> None:
    row = {"context": "Max is a dog.", "question": " Is Max an animal?", "answer": "Yes", "parts": {"name": [[4, 7]]}}
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    (item,) = load("q", tmp_path / "q.jsonl").items
    ((start, end),) = item.parts["name"]
    assert item.question.startswith("Max is a dog.")
    assert start > 13
    assert item.question[start - 3 : end] == "Is Max"


def test_a_donor_names_its_right_choice_as_an_item_does(tmp_path: Path) -> None:
    row = {"question": "Which is wet?", "choices": ["sand", "rain"], "answer": "B"}
    other = {"question": "Which is dry?", "answer": "A"}
    (tmp_path / "q.jsonl").write_text(json.dumps(row | {"counterfactual": other}))
    (item,) = load("q", tmp_path / "q.jsonl").items
    assert item.counterfactual == Donor(question="Which is dry?", answer="sand")


@pytest.mark.parametrize("tags", [["algebra", "hard"], "algebra", 3])
def test_keywords_of_another_data_set_are_no_tags(tmp_path: Path, tags: object) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "What is 5 + 3?", "answer": 8, "tags": tags}))
    (item,) = load("q", tmp_path / "q.jsonl").items
    assert item.tags == {}
