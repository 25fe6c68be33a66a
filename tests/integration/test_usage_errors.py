"""Errors in options, models and data: each ends with one clear line and exit code 4, never with a traceback."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.helpers.planted_model import COLOUR_PROBE
from tests.helpers.project import Project
from tests.helpers.usage_errors import GOOD, refused


@pytest.fixture
def colours(project: Project) -> Project:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", GOOD)
    return project


def assert_matches(message: str, pattern: str) -> None:
    assert fnmatchcase(message, pattern.replace("[", "[[]") + "*"), message


@pytest.mark.parametrize("flag", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
@pytest.mark.parametrize("model", ["./nowhere", "nobody/no-such-model"])
def test_an_unknown_model_is_refused_with_and_without_ablation(colours: Project, model: str, flag: list[str]) -> None:
    assert model.lstrip("./") in refused(colours.run(f"--model={model}", *flag))


def test_a_missing_file_beside_the_module(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    assert_matches(refused(project.run()), "there is no file *colours.jsonl*")


def test_a_probe_of_a_misspelt_dataset(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE.replace("colours.jsonl", "arithmatic"))
    assert_matches(refused(project.run()), "there is no file *arithmatic, and no *: did you mean arithmetic?")


def test_fields_are_named_in_a_probe_and_by_an_option(project: Project) -> None:
    row = {"q": "What colour is the sky?", "clue": "Look up.", "a": "blue"}
    project.write("colours.jsonl", json.dumps(row))
    project.write("test_colours.py", COLOUR_PROBE)
    assert_matches(refused(project.run()), '*colours.jsonl, line 1: no question: add "question"')
    project.run("--probe-dataset=colours=colours.jsonl:question=q,answer=a").assert_outcomes(passed=1)
    fields = {"question": "q", "context": ["clue"], "answer": "a"}
    probe = COLOUR_PROBE.replace('"colours.jsonl"', f'"colours.jsonl", fields={fields}')
    project.write("test_colours.py", probe.replace("answer.correct", "True"))
    project.run().assert_outcomes(passed=1)
    assert [line["question"] for line in project.outcomes()] == ["Look up.\nWhat colour is the sky?"]
    assert list(project.summary()["datasets"]) == ["colours"]


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(colours: Project) -> Path:
    """Return a copy of the planted model's folder, which tests may damage."""
    return Path(shutil.copytree(colours.model, colours.path / "model"))


def test_a_model_without_heads(colours: Project, folder: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    config = MambaConfig(
        vocab_size=size, hidden_size=8, state_size=4, num_hidden_layers=2, eos_token_id=0, pad_token_id=0
    )
    MambaForCausalLM(config).save_pretrained(folder)
    line = "MambaForCausalLM has no attention heads to switch off: run it without --ablate-heads"
    assert_matches(refused(colours.run("--model=model", "--probe-heads=L0H0")), line)
    colours.run("--model=model").assert_outcomes(failed=1)  # its answers can be judged all the same


@pytest.mark.parametrize("flag", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
@pytest.mark.parametrize("value", ["None", "'gpt2'", "(1, 2)", "(None, None, None)"])
def test_a_probe_model_that_gives_something_else(colours: Project, value: str, flag: list[str]) -> None:
    colours.write(
        "conftest.py", f"import pytest\n@pytest.fixture(scope='session')\ndef probe_model(): return {value}\n"
    )
    assert_matches(refused(colours.run(*flag)), "probe_model gave *: return (model, tokenizer)*")


def test_a_probe_model_whose_heads_are_not_known_in_time(colours: Project) -> None:
    colours.write("conftest.py", "import pytest\n@pytest.fixture\ndef probe_model(tmp_path): return tmp_path\n")
    assert_matches(refused(colours.run("--ablate-heads")), "probe_model takes other fixtures*")


def test_the_nearest_probe_model_counts(colours: Project) -> None:
    needy = "import pytest\n@pytest.fixture\ndef probe_model(tmp_path): return tmp_path\n"
    colours.write("conftest.py", needy)
    colours.write("elsewhere/conftest.py", needy)
    colours.write(
        "near/conftest.py", "import pytest\n@pytest.fixture(scope='session')\ndef probe_model(): return None\n"
    )
    colours.write("elsewhere/test_nothing.py", "def test_nothing(): pass\n")
    (colours.path / "test_colours.py").rename(colours.path / "near" / "test_colours.py")
    colours.write("near/colours.jsonl", GOOD)
    result = colours.run("--ablate-heads", "elsewhere", "near")
    assert_matches(refused(result), "probe_model gave None *: return (model, tokenizer)*")


# -- the ini file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("probe_items = some", "probe_items in the ini file: 'some' is not a whole number from 1 on"),
        ("probe_ablation = noise", "probe_ablation in the ini file: unknown ablation 'noise'*"),
        ("probe_dataset = colours", "probe_dataset in the ini file: cannot read 'colours'*"),
        ("probe_heads = H3", "--probe-heads: cannot read the target 'H3'*"),
    ],
)
def test_ini_settings(colours: Project, setting: str, line: str) -> None:
    colours.pytester.makeini(f"[pytest]\n{setting}\n")
    assert_matches(refused(colours.run()), line)
