"""Data that were made to run code, to read what lies outside them, or to take for ever: one line each.

The file has more than 400 lines because it is one list of attacks, in the order of the table in the docs.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.data import datasets
from reasoning_probe.data.datasets import read
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import PromptError, read_template
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.data.sources.files import LONGEST_LINE
from reasoning_probe.results.run import RunError, read_run
from tests.helpers.project import ROOT

ROW = {"question": "What colour is the sky?", "answer": "blue"}
SECRET = {"question": "What is the key?", "answer": "hunter2"}


def refused(source: Any, line: str, **options: Any) -> None:
    started = time.monotonic()
    with pytest.raises(DatasetError, match=line) as error:
        read("x", source, **options)
    assert str(error.value).isprintable()
    assert "hunter2" not in str(error.value)
    assert time.monotonic() - started < 20


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or [ROW]), encoding="utf-8")
    return path


# -- pipes and devices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet", "txt"])
def test_a_pipe_as_data(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"x.{ending}")
    refused(tmp_path / f"x.{ending}", r"cannot read .* \(it is a pipe, not a file\)")


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random", "/dev/full"])
def test_a_device_as_data(tmp_path: Path, ending: str, device: str) -> None:
    (tmp_path / f"x.{ending}").symlink_to(device)
    refused(tmp_path / f"x.{ending}", r"cannot read .* \(it is a device, not a file\)")


def test_a_pipe_as_a_template_or_as_a_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "template.txt")
    with pytest.raises(PromptError, match=r"cannot read the template .* \(it is a pipe, not a file\)"):
        read_template(tmp_path / "template.txt")
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(RunError, match=r"cannot read .*run.json: it is a pipe, not a file"):
        read_run(tmp_path)


def test_a_pipe_as_the_folder_of_a_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run")
    with pytest.raises(RunError, match=r"cannot read .*run.json: Not a directory"):
        read_run(tmp_path / "run")


# -- without end ------------------------------------------------------------------------------------------------------


def test_a_csv_file_that_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("question,answer\n" + "a," * LONGEST_LINE, encoding="utf-8")
    refused(tmp_path / "x.csv", r"row 2: longer than 1,000,000 characters")
    (tmp_path / "x.csv").write_text("q," * LONGEST_LINE, encoding="utf-8")
    refused(tmp_path / "x.csv", r"row 1: longer than 1,000,000 characters")


def test_a_csv_row_of_many_lines_without_end(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("question,answer\na,b\n" + '"a\n",' * LONGEST_LINE, encoding="utf-8")
    refused(tmp_path / "x.csv", r"row 3: longer than 1,000,000 characters")
    (tmp_path / "x.csv").write_text('question,answer\n"' + "a\n" * LONGEST_LINE, encoding="utf-8")
    refused(tmp_path / "x.csv", r"not CSV \(field larger than field limit|row 2: longer than")


def test_many_rows_that_are_long_only_together(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("question,answer\n" + ("q" * 1000 + ",b\r\n") * 2000, encoding="utf-8")
    assert len(read("x", tmp_path / "x.csv").items) == 2000
    (tmp_path / "x.csv").write_bytes(b"question,answer\ra,b\rc,d\r")  # as old Macs wrote lines
    assert len(read("x", tmp_path / "x.csv").items) == 2


def test_a_parquet_file_of_few_bytes_that_is_large_in_memory(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    text = pa.array(["q" * 1_000_000])
    table = pa.table(
        {
            "question": pa.DictionaryArray.from_arrays(pa.array([0] * 4600, pa.int32()), text),
            "answer": pa.array(["8"] * 4600),
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 10_000
    refused(tmp_path / "x.parquet", r"more than 1,000,000 items, or 1,000,000,000 characters")
    assert len(read("x", tmp_path / "x.parquet", 3).items) == 3


def test_a_parquet_file_of_one_list_without_end(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {"question": ["q"], "choices": pa.ListArray.from_arrays([0, 30_000_000], pa.nulls(30_000_000, pa.int8()))}
    )
    parquet.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 50_000
    refused(tmp_path / "x.parquet", "holds lists of 30,000,000 entries: write it with smaller row groups")


def test_a_parquet_file_nested_without_end(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    kind: Any = pa.string()
    value: Any = "q"
    for _ in range(300):
        kind, value = pa.list_(kind), [value]
    try:
        parquet.write_table(pa.table({"question": pa.array([value], kind), "answer": ["8"]}), tmp_path / "x.parquet")
    except pa.ArrowException:
        pytest.skip("pyarrow writes no such file")
    refused(tmp_path / "x.parquet", "question is a list|nested too deep|cannot read .*x.parquet")


def endless() -> Iterator[Item]:
    number = 0
    while True:
        number += 1
        yield Item(question=f"What is {number}?", answer="8")


def test_a_generator_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_ITEMS", 1000)
    refused(endless(), r"the items of x: more than 1,000 items, .*: ask for fewer of them with --probe-items")
    assert len(read("x", endless(), 3).items) == 3


def test_a_generator_of_texts_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_CHARACTERS", 100_000)
    refused((Item(question="q" * 10_000, answer=str(n)) for n in range(10**9)), r"or 100,000 characters")


# -- folders of data --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.builder.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path / "secret.jsonl", SECRET)
    write(tmp_path / "data" / "test.jsonl")
    return tmp_path / "data"


def card(folder: Path, data_files: Any, file: str = "README.md") -> None:
    import yaml

    text = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": data_files}]})
    (folder / file).write_text(f"---\n{text}---\n# Data\n" if file.endswith(".md") else text, encoding="utf-8")


@pytest.mark.parametrize("data_files", ["test.jsonl", ["*.jsonl"], [{"split": "test", "path": ["test.*"]}]])
def test_a_card_that_names_files_of_its_folder(folder: Path, data_files: Any) -> None:
    card(folder, data_files)
    assert [item.answer for item in read("x", f"hf:{folder}").items] == ["blue"]


@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "path",
    [
        "../secret.jsonl",
        "{}/secret.jsonl",
        "sub/../../secret.jsonl",
        "../*.jsonl",
        "../../../../../../../../etc/passwd",
        "https://127.0.0.1:1/secret.jsonl",
        "hf://datasets/evil/x/secret.jsonl",
        "s3://evil/x.jsonl",
        "file:///etc/passwd",
        "zip://x.jsonl::https://127.0.0.1:1/x.zip",
        "simplecache::../secret.jsonl",
        "~/secret.jsonl",
    ],
)
def test_a_card_that_names_files_elsewhere(folder: Path, tmp_path: Path, path: str, file: str) -> None:
    card(folder, [{"split": "test", "path": path.format(tmp_path)}], file)
    refused(f"hf:{folder}", "a folder's data lie in the folder itself, not elsewhere and not at an address")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n---x: 1\n"], ids=["CR", "CRLF", "a line that begins like the end"])
def test_a_card_is_read_as_the_hubs_library_reads_it(folder: Path, end: str) -> None:
    head = f"---\na: 1{end}configs:\n- config_name: default\n  data_files: https://127.0.0.1:1/x.jsonl\n---\n"
    text = head if "x" in end else head.replace("\n", end)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="")
    refused(f"hf:{folder}", "README.md names 'https://127.0.0.1:1/x.jsonl'")


@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
def test_a_card_whose_anchors_repeat_values_without_end(folder: Path, file: str) -> None:
    lines = ["a: &a [x]"] + [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    text = "\n".join(lines) + "\nconfigs: [{config_name: default, data_files: *j}]\n"
    (folder / file).write_text(f"---\n{text}---\n" if file.endswith(".md") else text, encoding="utf-8")
    refused(f"hf:{folder}", rf"the head of {file} holds more than 100,000 values")


def packed(kind: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("test.jsonl", data)
    elif kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("test.jsonl"), io.BytesIO(data))
    elif kind == "gz":
        buffer.write(gzip.compress(data))
    else:
        buffer.write(bz2.compress(data) if kind == "bz2" else lzma.compress(data))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_packed_data_that_are_small_are_read(folder: Path, kind: str) -> None:
    (folder / "test.jsonl").write_bytes(packed(kind, json.dumps(ROW).encode()))
    assert [item.answer for item in read("x", f"hf:{folder}").items] == ["blue"]


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz"])
def test_packed_data_of_few_bytes_that_are_large_unpacked(folder: Path, kind: str, name: str) -> None:
    (folder / "test.jsonl").unlink()
    (folder / name).write_bytes(packed(kind, b'{"question": "' + b"q" * 30_000_000 + b'", "answer": "8"}'))
    refused(f"hf:{folder}", f"'{name}' holds more than 1[0-9],[0-9,]* bytes when it is unpacked")


@pytest.mark.parametrize(
    "content",
    [packed("tar", b"{}"), b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", b"\x28\xb5\x2f\xfd", b"\x1f\x8bnonsense"],
    ids=["tar", "7z", "rar", "zstd", "half a gz"],
)
def test_data_packed_in_another_way(folder: Path, content: bytes) -> None:
    (folder / "test.jsonl").write_bytes(content)
    refused(f"hf:{folder}", r"'test.jsonl' is compressed in an unsupported way: unpack it")


def test_a_parquet_file_of_another_ending_in_a_folder(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (folder / "test.jsonl").unlink()
    lists = pa.ListArray.from_arrays([0, 30_000_000], pa.nulls(30_000_000, pa.int8()))
    parquet.write_table(pa.table({"question": ["q"], "choices": lists}), folder / "test.geoparquet", compression="zstd")
    refused(f"hf:{folder}", "holds lists of 30,000,000 entries")


def test_a_link_out_of_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    refused(f"hf:{folder}:train", r"'train.jsonl' is a link out of the folder: put the file itself into the folder")


def test_the_links_of_the_hubs_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "datasets--a--b" / "snapshots" / "abc", tmp_path / "datasets--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    shutil.copy(folder / "test.jsonl", blobs / "0")
    (snapshot / "test.jsonl").symlink_to("../../blobs/0")
    assert len(read("x", f"hf:{snapshot}").items) == 1


def test_a_pipe_in_a_folder(folder: Path) -> None:
    os.mkfifo(folder / "train.jsonl")
    refused(f"hf:{folder}", r"cannot read 'train.jsonl' \(it is a pipe, not a file\)")


@pytest.mark.parametrize(
    "text", ["---\n!!python/object/apply:os.system ['x']\n---\n", "---\n{[\n---\n", "---\n" + "[" * 9000 + "\n---\n"]
)
def test_a_card_that_is_no_yaml(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text, encoding="utf-8")
    refused(f"hf:{folder}", "the head of README.md is not YAML")


def test_a_folder_that_save_to_disk_wrote(folder: Path, tmp_path: Path) -> None:
    import datasets as hf

    saved = tmp_path / "saved"
    hf.Dataset.from_list([ROW]).save_to_disk(str(saved))
    assert len(read("x", f"hf:{saved}").items) == 1
    shutil.copy(next(saved.glob("*.arrow")), tmp_path / "secret.arrow")
    state = json.loads((saved / "state.json").read_text())
    (saved / "state.json").write_text(json.dumps(state | {"_data_files": [{"filename": "../secret.arrow"}]}))
    refused(f"hf:{saved}", "state.json names '../secret.arrow'")


def test_the_splits_that_save_to_disk_wrote(folder: Path, tmp_path: Path) -> None:
    import datasets as hf

    saved = tmp_path / "saved"
    hf.DatasetDict({"test": hf.Dataset.from_list([ROW])}).save_to_disk(str(saved))
    assert len(read("x", f"hf:{saved}:test").items) == 1
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["../elsewhere"]}))
    refused(f"hf:{saved}", "dataset_dict.json names '../elsewhere'")


def pictures(folder: Path) -> Path:
    """Write a file whose rows have a picture at an address, which ``datasets`` opens with the row."""
    import datasets as hf
    import pyarrow
    from pyarrow import parquet

    features = hf.Features({"question": hf.Value("string"), "answer": hf.Value("string"), "image": hf.Image()})
    rows = [ROW | {"image": {"path": "https://127.0.0.1:1/x.png", "bytes": None}}]
    folder.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), folder / "test.parquet")
    return folder


def test_pictures_are_not_opened(folder: Path, tmp_path: Path) -> None:
    assert [item.answer for item in read("x", f"hf:{pictures(tmp_path / 'pictures')}").items] == ["blue"]


GUARD = """
import socket, sys
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event in (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") else None)
from reasoning_probe.data.datasets import read
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models import loading
for source in sys.argv[1:]:
    try:
        if source.startswith("model:"):
            loading.load_model(loading.resolve_model(source[6:]))
        else:
            print(len(read("x", source).items))
    except (DatasetError, ModelError) as error:
        print(str(error)[:90])
print("asked", len(asked))
"""


def test_offline_nothing_is_asked_for(folder: Path, tmp_path: Path, planted_folder: Path) -> None:
    """Each source is one that would ask the network for something, and a good one that needs nothing."""
    card(folder, "https://127.0.0.1:1/x.jsonl")
    good = write(tmp_path / "good" / "test.jsonl").parent
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    base = {"base_model_name_or_path": "nobody/none", "peft_type": "LORA"}
    (adapter / "adapter_config.json").write_text(json.dumps(base), encoding="utf-8")
    indexed = Path(shutil.copytree(planted_folder, tmp_path / "indexed"))
    (indexed / "model.safetensors").unlink()
    weight_map = {"weight_map": {"a": "https://127.0.0.1:1/x.safetensors"}, "metadata": {}}
    (indexed / "model.safetensors.index.json").write_text(json.dumps(weight_map), encoding="utf-8")
    sources = [
        f"hf:{folder}",
        f"hf:{pictures(tmp_path / 'pictures')}",
        f"hf:{good}",
        "hf:nobody/none:test",
        "model:nobody/none",
    ]
    sources += [f"model:{adapter}", f"model:{indexed}", f"model:{planted_folder}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", GUARD, *sources], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.splitlines()[-1:] == ["asked 0"], done.stdout + done.stderr
    assert done.stdout.splitlines()[1:3] == ["1", "1"]


# -- tasks of lm-evaluation-harness -----------------------------------------------------------------------------------

TASK = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: exact_match}]
"""


@pytest.fixture
def task(folder: Path, tmp_path: Path) -> Path:
    pytest.importorskip("lm_eval")
    (tmp_path / "ran.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef f(x): return x\n")
    path = tmp_path / "task.yaml"
    path.write_text(TASK.replace("DATA", str(folder / "test.jsonl")), encoding="utf-8")
    return path


def test_a_task_file_of_data_needs_no_trust(task: Path) -> None:
    assert [(item.question, item.answer) for item in read("x", f"lm-eval:{task}").items] == [tuple(ROW.values())]


POPEN = "{{ cycler.__init__.__globals__.os.popen('touch RAN').read() }}"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("doc_to_text: ", "process_docs: !function ran.f\ndoc_to_text: ", "has the tag '!function', which runs code"),
        (
            "test_split: ",
            "x: !!python/object/apply:os.system ['touch RAN']\ntest_split: ",
            "has the tag .*, which runs",
        ),
        ("test_split: ", "x: !!python/name:os.system\ntest_split: ", "has the tag .*, which runs code"),
        ("test_split: ", "process_docs: ran.f\ntest_split: ", "sets 'process_docs', which can run code"),
        ("test_split: ", "process_results: ran.f\ntest_split: ", "sets 'process_results', which can run code"),
        ("test_split: ", "custom_dataset: ran.f\ntest_split: ", "sets 'custom_dataset', which can run code"),
        ("test_split: ", "class: ran.f\ntest_split: ", "sets 'class', which can run code"),
        ("test_split: ", "use_prompt: 'promptsource:x'\ntest_split: ", "sets 'use_prompt', which can run code"),
        ("test_split: ", "unsafe_code: true\ntest_split: ", "sets 'unsafe_code', which can run code"),
        ("test_split: ", "fewshot_config: {process_docs: ran.f}\ntest_split: ", "sets 'fewshot_config'"),
        ("exact_match", "./ran.py", "names the metric './ran.py', which is code from elsewhere"),
        ("exact_match", "code_eval, hf_evaluate: true", "names the metric"),
        ("path: json", "path: ./ran.py", "names the dataset './ran.py', which can run code"),
        ("path: json", "path: pandas", "names the dataset 'pandas', which can run code"),
        ("path: json", "path: CODE", "names the dataset .*, which is code"),
        ("path: json", "path: /etc", "names the data '/etc', which lie outside of its folder"),
        ("{data_files", "{trust_remote_code: true, data_files", "sets 'trust_remote_code' of its dataset"),
        ("{data_files", "{script_version: x, data_files", "sets 'script_version' of its dataset"),
        ("DATA", "/etc/passwd", "names the data '/etc/passwd', which lie outside of its folder"),
        ("DATA", "../*.jsonl", "names the data '../[*].jsonl', which lie outside of its folder"),
        ("DATA", "https://127.0.0.1:1/x.jsonl", "names the data 'https://127.0.0.1:1/x.jsonl'"),
        ("task: mine", "task: mine\ninclude: /etc/hostname", "includes '/etc/hostname', which lies outside"),
        ("task: mine", "task: mine\ninclude: [../x.yaml]", "includes '../x.yaml', which lies outside"),
        ("task: mine", "task: mine\ninclude: inner.yaml", "has the tag '!function', which runs code"),
        ("task: mine", "group: all\ntask: [{task: a}]", "sets 'group'|is a group of tasks"),
        ("{{question}}", POPEN, "access to attribute '__init__' of .* is unsafe"),
        ("{{answer}}", POPEN, "access to attribute '__init__' of .* is unsafe"),
        ("{{question}}", "{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of .* is unsafe"),
        ("{{question}}", "{{ '{0.__class__}'.format(1) }}", "is unsafe"),
        ("{{question}}", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "after 5 s"),
        ("{{question}}", "{{ 'a' * 20000000 }}", "writes more than 10,000,000 characters"),
        ("{{question}}", "{{ 'a' * 20000000000 }}", "takes more than 1,000,000,000 bytes"),
        ("{{question}}", "{{ 9**9**9**9 }}", "it calculates powers"),
    ],
)
def test_a_task_file_runs_no_code(task: Path, tmp_path: Path, old: str, new: str, line: str) -> None:
    ran = tmp_path / "ran"
    code = tmp_path / "code"
    code.mkdir()
    shutil.copy(tmp_path / "ran.py", code / "code.py")
    (tmp_path / "inner.yaml").write_text("process_docs: !function ran.f\n", encoding="utf-8")
    text = TASK.replace(old, new.replace("RAN", str(ran)).replace("CODE", str(code)))
    task.write_text(text.replace("DATA", str(tmp_path / "data" / "test.jsonl")), encoding="utf-8")
    refused(f"lm-eval:{task}", line)
    assert not ran.exists()


def test_a_task_file_behind_a_link_includes_what_lies_beside_it(task: Path, tmp_path: Path) -> None:
    """lm-eval follows the link first: what lies beside the link is not what it includes."""
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "linked.yaml").symlink_to(task)
    (folder / "inner.yaml").write_text("num_fewshot: 0\n", encoding="utf-8")
    (tmp_path / "inner.yaml").write_text("process_docs: !function ran.f\n", encoding="utf-8")
    task.write_text(task.read_text() + "include: inner.yaml\n", encoding="utf-8")
    refused(f"lm-eval:{folder / 'linked.yaml'}", "has the tag '!function', which runs code")
    assert not (tmp_path / "ran").exists()


def test_a_trusted_task_file_may_run_code(task: Path, tmp_path: Path) -> None:
    task.write_text(task.read_text() + "process_docs: !function ran.f\n", encoding="utf-8")
    assert len(read("x", f"lm-eval:{task}", trusted=True).items) == 1
    assert (tmp_path / "ran").exists()


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"metadata:\n{LAUGHS.replace('a:', ' a:', 1)}", "is not YAML|holds more than"),
        (LAUGHS, "holds more than 100,000 values"),
        ("task: &x [*x]\n", "holds more than|is not YAML"),
        ("x: " + "[" * 5000, "is not YAML"),
        ("- a\n- b\n", "holds no task"),
        ("", "holds no task"),
        ("a" * 2_000_000, "is longer than 1,000,000 bytes"),
        ("\x00", "is not YAML"),
        ("task: {", "is not YAML"),
        (TASK.replace("DATA", "x").replace("[{metric: exact_match}]", "5"), "metric_list .* is not a list of metrics"),
        (TASK.replace("{data_files: {test: DATA}}", "5"), "dataset_kwargs .* is not a list of settings"),
        (TASK + "include: 5\n", "cannot load|includes"),
    ],
)
def test_a_task_file_that_is_none(task: Path, text: str, line: str) -> None:
    task.write_text(text, encoding="utf-8")
    refused(f"lm-eval:{task}", line)


def test_a_pipe_as_a_task_file(task: Path) -> None:
    task.unlink()
    os.mkfifo(task)
    refused(f"lm-eval:{task}", r"cannot read 'task.yaml' \(it is a pipe, not a file\)")
