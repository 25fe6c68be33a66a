"""Tests that no model or file can run code, write outside the run's folders, or reach the network unasked."""

from __future__ import annotations

import ast
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import reasoning_probe
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.cache.store import (
    FILE,
    FOLDER,
    LONGEST_RESPONSE,
    CachedAnswer,
    CacheError,
    OutcomeCache,
    entries,
    prune,
)
from tests.helpers.project import Project

PACKAGE = Path(reasoning_probe.__file__).parent
ASKED = '{"question": "What colour is the sky?", "answer": "blue"}\n'
PROBE = (
    "import reasoning_probe as rp\n@rp.probe('colours.jsonl')\ndef test_colours(answer):\n    assert answer.correct\n"
)

# -- the package's own code -------------------------------------------------------------------------------------------

RUNS_TEXT = {"eval", "exec", "compile", "__import__", "execfile"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "subprocess", "pty", "ctypes", "socket", "urllib"}
UNSAFE_CALLS = {"torch.load", "os.system", "os.popen", "numpy.load", "np.load", "yaml.load", "joblib.load"}


ALLOWED = {
    "cluster/actor_pool.py": ["socket"],
    "pytest_plugin/invocation.py": ["subprocess"],
    "report/html/rendering.py": ["urllib.parse"],
}
"""The pool connects to the address of a Ray cluster that the user gave, git is asked for the commit of the project's
folder, and addresses within a page are quoted."""


def dangers(source: str) -> list[str]:
    """Return the names in *source* that run text, read pickles, start processes or open connections."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names if name.name.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE_MODULES:
            names.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            safe = any(ast.unparse(keyword) == "weights_only=True" for keyword in node.keywords)
            if name in RUNS_TEXT | UNSAFE_CALLS and not safe:
                names.append(name)
    return names


def test_our_code_runs_no_text_reads_no_pickle_and_opens_no_connection() -> None:
    by_file = {
        str(path.relative_to(PACKAGE)): dangers(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")
    }
    assert len(by_file) > 50
    assert {path: names for path, names in by_file.items() if names} == ALLOWED


def test_the_search_for_dangers_finds_them() -> None:
    assert dangers("import pickle.x\nfrom subprocess import run\neval('1')\ntorch.load(f)") == [
        "pickle.x",
        "subprocess",
        "eval",
        "torch.load",
    ]


# -- what a session does ----------------------------------------------------------------------------------------------

WATCH = """
import os, socket, sys

LOG = open({log!r}, "a", buffering=1)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(event, args):
    if event == "open":
        path, mode, flags = args
        writes = set(str(mode or "")) & set("wax+") or (mode is None and flags & WRITES)
        if writes and isinstance(path, (str, bytes)):
            print("write", os.path.abspath(os.fsdecode(path)), file=LOG)
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime"):
        print("write", os.path.abspath(os.fsdecode(args[0])), file=LOG)
    elif event in ("os.rename", "os.link", "os.symlink"):
        print("write", os.path.abspath(os.fsdecode(args[1])), file=LOG)
    elif event == "sqlite3.connect":
        print("write", os.path.abspath(os.fsdecode(args[0])), file=LOG)
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("network", event, args[1:] if event == "socket.connect" else args, file=LOG)
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"):
        print("process", args[0], file=LOG)


sys.addaudithook(watch)
"""
OTHERS = (
    *("matplotlib", "fontconfig", ".pytest_cache", "__pycache__", "/dev/null", "torchinductor", "torch_compile"),
    "_remote_module_non_scriptable.py",  # torch.distributed writes itself a module until torch 2.8
)
"""Parts of the paths to which libraries write their own caches."""


@pytest.fixture
def watched(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of the files that a session writes, the processes that it starts and its network connections."""
    log = project.path / "watched.log"
    project.write("conftest.py", WATCH.format(log=str(log)))
    project.write("test_colours.py", PROBE)
    project.write("colours.jsonl", ASKED)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(project.path / "home"))
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage.py would write files in the session
    return log


def test_a_session_writes_into_its_folder_and_its_store_and_connects_to_nothing(
    watched: Path, project: Project
) -> None:
    result = project.run_anew("--probe-heads=L1H2", "--probe-dir=out", "-p", "no:cacheprovider", page=True)
    assert result.ret == 0
    lines = watched.read_text(encoding="utf-8").splitlines()
    written = {line.removeprefix("write ") for line in lines if line.startswith("write ")}
    ours = tuple(str(project.path / name) for name in ("out", FOLDER))
    assert {path for path in written if path.startswith(ours)}
    theirs = [path for path in written if any(part in path for part in OTHERS)]
    temporary = ("/dev/shm", str(Path(tempfile.gettempdir(), "tmp")))
    elsewhere = {path for path in written if not path.startswith((*ours, *temporary)) and path not in theirs}
    folders = {path for path in elsewhere if any(below.startswith(f"{path}/") for below in theirs)}
    assert elsewhere - folders == {str(watched)} & elsewhere
    assert [line for line in lines if line.startswith("network ")] == []


def test_a_hub_id_asks_no_network_when_the_hub_is_off(watched: Path, project: Project) -> None:
    result = project.run_anew("--model=nobody/no-such-model")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.no_fnmatch_line("*Traceback*")
    assert [line for line in watched.read_text(encoding="utf-8").splitlines() if line.startswith("network ")] == []


# -- models -----------------------------------------------------------------------------------------------------------

OWN = """
from pathlib import Path

from transformers import GPT2Config, GPT2LMHeadModel

Path({ran!r}).write_text("it ran")


class OwnConfig(GPT2Config):
    model_type = "own"


class OwnModel(GPT2LMHeadModel):
    config_class = OwnConfig
"""


@pytest.fixture
def folder(project: Project) -> Path:
    project.write("test_colours.py", PROBE)
    project.write("colours.jsonl", ASKED)
    return Path(shutil.copytree(project.model, project.path / "model"))


@pytest.fixture
def own_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the model a type and code of its own; return the file that its code writes."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}), encoding="utf-8")
    ran = folder.parent / "ran"
    (folder / "own.py").write_text(OWN.format(ran=str(ran)), encoding="utf-8")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder.parent / "modules"))
    return ran


@pytest.mark.parametrize("flag", [[], ["--probe-heads=L1H2"]], ids=["baseline", "ablated"])
def test_a_models_code_runs_only_where_it_is_trusted(
    own_code: Path, project: Project, flag: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.run("--model=model", *flag).ret == pytest.ExitCode.USAGE_ERROR
    assert not own_code.exists()
    project.run("--model=model", "--probe-trust-remote-code", *flag).assert_outcomes(passed=1, xfailed=len(flag))
    assert own_code.read_text() == "it ran"
    assert project.summary()["model"]["architecture"] == "OwnModel"


def test_a_models_own_code_is_part_of_what_its_outcomes_depend_on(own_code: Path, folder: Path) -> None:
    from reasoning_probe.models import loading

    def code() -> str:
        loaded = loading.load_model(loading.resolve_model(str(folder), remote_code=True))
        context = model_context(loaded.model, loaded.tokenizer, "weights")
        assert context is not None
        return context["code"]

    before = code()
    assert before == code()
    (folder / "own.py").write_text(OWN.format(ran=str(own_code)) + "\n# another version\n", encoding="utf-8")
    assert code() != before


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "it ran")


def test_pickled_weights_are_read_only_where_they_are_trusted_and_run_no_code_even_then(
    folder: Path, project: Project
) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert project.run("--model=model").ret == pytest.ExitCode.USAGE_ERROR
    project.run("--model=model", "--probe-allow-pickle").assert_outcomes(passed=1)
    bombed = project.path / "bombed"
    torch.save(weights | {"bomb": Bomb(bombed)}, folder / "pytorch_model.bin")
    assert project.run("--model=model", "--probe-allow-pickle", "--probe-fresh").ret == pytest.ExitCode.USAGE_ERROR
    assert not bombed.exists()


def test_safetensors_are_preferred_to_a_pickle_beside_them(folder: Path, project: Project) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"not weights")
    for trust in ([], ["--probe-allow-pickle"]):
        project.run("--model=model", *trust).assert_outcomes(passed=1)


@pytest.mark.parametrize("missing", [["eos_token"], ["pad_token"], ["eos_token", "pad_token"]])
def test_a_tokenizer_without_an_end_or_padding(folder: Path, project: Project, missing: list[str]) -> None:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: content[key] for key in content if key not in missing}), encoding="utf-8")
    for name in ("config.json", "generation_config.json"):
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        if "eos_token" in missing:
            (folder / name).write_text(json.dumps(config | {"eos_token_id": None}), encoding="utf-8")
    result = project.run("--model=model", "--probe-heads=L1H2", "--probe-max-new-tokens=4")
    result.stdout.no_fnmatch_line("*Error*")
    assert {line["truncated"] for line in project.outcomes()} == {"eos_token" in missing}
    assert [line["response"].split()[0] for line in project.outcomes()] == ["blue", "Unknown"]


# -- data -------------------------------------------------------------------------------------------------------------

IDS = ("a", "A", "x[1]", "x/1", "x::1", "x\n1", "x 1", "..", "-", "日本", "é", "\x00", "a" * 300)


def test_ids_may_hold_anything(project: Project) -> None:
    project.write("test_colours.py", PROBE)
    lines = [json.dumps({"id": id, "question": "What colour is the sky?", "answer": "blue", "other": 1}) for id in IDS]
    (project.path / "colours.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    result = project.run("-v", "--probe-heads=L1H2")
    result.assert_outcomes(passed=len(IDS), xfailed=len(IDS))
    assert {line["item"] for line in project.outcomes()} == set(IDS)
    named = [line.split()[0] for line in result.outlines if "::test_colours[" in line]
    assert len(set(named)) == len(named) == 2 * len(IDS)
    for name in named[:6]:
        project.run(name, "--probe-heads=L1H2", "--probe-dir=one").assert_outcomes(
            passed=None or "L1H2" not in name, xfailed="L1H2" in name
        )


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "1e-400", "NaN", "Infinity"])
def test_numbers_beyond_a_computers_own(project: Project, number: str) -> None:
    project.write("test_colours.py", PROBE)
    project.write("colours.jsonl", f'{{"question": "What colour is the sky?", "answer": {number}}}')
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED
    assert [line["expected"] for line in project.outcomes()] == [number]


# -- the outcome store ------------------------------------------------------------------------------------------------


def store(folder: Path) -> OutcomeCache:
    cache = OutcomeCache(folder)
    cache.attach(b"digest", {"name": "x"})
    return cache


def changed(folder: Path, *statements: str) -> None:
    """Create a cache with one answer, and change it by *statements*."""
    cache = store(folder)
    cache.put({b"one": CachedAnswer(" 8", False, -0.5)})
    cache.close()
    with sqlite3.connect(folder / FILE) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM outcomes; END",
        "CREATE VIEW v AS SELECT load_extension('evil')",
        "CREATE INDEX i ON outcomes (abs(truncated))",
        "CREATE TABLE more (x)",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "ALTER TABLE outcomes ADD COLUMN x AS (hex(response))",
    ],
)
def test_a_store_with_anything_of_others_is_moved_aside(tmp_path: Path, statement: str) -> None:
    changed(tmp_path, statement)
    with pytest.raises(CacheError):
        entries(tmp_path)
    with pytest.raises(CacheError):
        prune(tmp_path)
    cache = store(tmp_path)
    assert cache.get([b"one"]) == {}
    assert "moved to outcomes-1.damaged" in cache.notes[0]
    cache.close()
    assert entries(tmp_path)[0].outcomes == 0


@pytest.mark.parametrize(
    "change",
    [
        "response = x'ff00'",
        "truncated = 2",
        "truncated = 'yes'",
        "logprob = 'low'",
        "logprob = x'00'",
        f"response = printf('%*d', {LONGEST_RESPONSE + 1}, 1)",
    ],
)
def test_a_row_of_a_wrong_type_is_no_answer(tmp_path: Path, change: str) -> None:
    changed(tmp_path, f"UPDATE outcomes SET {change}")
    cache = store(tmp_path)
    assert cache.get([b"one"]) == {}
    cache.close()


@pytest.mark.parametrize(
    "facts", ["'\x1b[2J'", "'[1]'", '\'{"name": "\x1b]0;x\x07"}\'', "x'ff'", "8", '\'{"name": {"a": []}}\'']
)
def test_what_a_store_says_of_its_models_is_shown_safely(
    tmp_path: Path, facts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from reasoning_probe import cli

    changed(tmp_path, f"UPDATE models SET facts = {facts}, used = 'never'")
    assert cli.main(["cache", str(tmp_path)]) in (0, 2)
    output = "".join(capsys.readouterr())
    assert "\x1b" not in output
    assert "Traceback" not in output


def test_a_symbolic_link_in_place_of_the_store_is_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(FILE)
    cache = store(tmp_path)
    assert "the run goes on without" in cache.notes[0]
    assert cache.get([b"one"]) == {}
    cache.put({b"one": CachedAnswer("8", False, None)})
    cache.close()
