"""What can be wrong with options, models and data: one clear line each, pytest's exit code 4, never a traceback."""

from __future__ import annotations

import json
import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from planted import planted

from conftest import Project

GOOD = '{"question": "What colour is the sky?", "answer": "blue"}'
# how pytest says a usage error, an argument that argparse cannot read, and pytest.exit
END = re.compile(r"(?:ERROR: |pytest\.main\(\): error: |!+ _pytest\.outcomes\.Exit: )(?P<line>.*?)(?: !+)?$")
PROBE = """
import reasoning_probe as rp

@rp.probe("colours.jsonl")
def test_colours(answer):
    assert answer.correct
"""


def refused(result: pytest.RunResult) -> str:
    """Return the line that a session ended with, which was its only one and the end of it."""
    lines = result.outlines + result.errlines
    everything = "\n".join(lines)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, everything
    assert "Traceback" not in everything
    assert "INTERNALERROR" not in everything
    said = [found for line in lines if (found := END.match(line)) and "usage: " not in line]
    assert len(said) == 1, everything
    return said[0]["line"]


@pytest.fixture
def colours(project: Project) -> Project:
    project.write("test_colours.py", PROBE)
    project.write("colours.jsonl", GOOD)
    return project


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--model=./nowhere"], "there is no model at ./nowhere"),
        (["--model=nobody/no-such-model"], "cannot load the model nobody/no-such-model: *check the name"),
        (["--model=no.gguf"], "there is no file no.gguf"),
        (["--model=colours.jsonl"], "colours.jsonl is a file but not a .gguf file"),
        (["--model="], "*needs a value"),
        (["--probe-heads=L99H0"], "there is no attention layer L99: the model has L0 to L1 with 4 heads each*"),
        (["--probe-heads=L1H4"], "there is no head L1H4: the model has L0 to L1 with 4 heads each (H0 to H3)"),
        (["--probe-heads=L0-L5"], "there is no attention layer L5*"),
        (
            ["--probe-heads=3.7"],
            "--probe-heads: cannot read the target '3.7': write L3H7, L3, L8-L11, L3KV1, L3MLP or L3H7+L5H1",
        ),
        (["--probe-heads=L1H2,"], "--probe-heads: cannot read the target ''*"),
        (["--probe-heads=" + "L1H2+" * 10_000], "--probe-heads: cannot read the target *"),
        (["--probe-heads=L1-L0"], "'L1-L0' runs backwards: write L0-L1"),
        (["--probe-device=cuda"], "cuda was asked for, but torch sees no CUDA device: use --probe-device cpu"),
        (["--probe-device=tpu9"], "there is no device 'tpu9'*"),
        (["--probe-dtype=int8"], "*unknown dtype 'int8': use auto, float32, bfloat16, float16"),
        (["--ablation=noise"], "*unknown ablation 'noise': use zero, mean, resample"),
        (["--ablation=zero,"], "*unknown ablation ''*"),
        (["--probe-items=0"], "*'0' is not a whole number from 1 on"),
        (["--probe-items=many"], "*'many' is not a whole number from 1 on"),
        (["--probe-items=7"], "*colours.jsonl: there are 1 items, not 7: ask for 1 or fewer"),
        (["--probe-max-new-tokens=-1"], "*'-1' is not a whole number from 1 on"),
        (["--probe-memory=lots"], "*cannot read the size 'lots': write 500MB, 4GB or 2GiB"),
        (["--probe-memory=0GB"], "*cannot read the size '0GB'*"),
        (["--probe-dataset=colours"], "*cannot read 'colours': write NAME=SOURCE*"),
        (["--probe-dataset==file"], "*cannot read '=file': write NAME=SOURCE*"),
        (
            ["--probe-dataset=shapes=s.jsonl"],
            "--probe-dataset: no probe asks for a dataset 'shapes': the probes ask for *",
        ),
        (["--probe-dataset=colours=gone.jsonl"], "there is no file *gone.jsonl: give the path of a JSONL file"),
        (["--probe-dataset=colours=."], "* is a folder: give the path of a JSONL file in it"),
    ],
)
def test_options(colours: Project, options: list[str], line: str) -> None:
    assert_matches(refused(colours.run(*options)), line)
    assert not (colours.path / "reports").exists()


def assert_matches(said: str, line: str) -> None:
    assert fnmatchcase(said, line.replace("[", "[[]") + "*"), said


@pytest.mark.parametrize("flag", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
@pytest.mark.parametrize("model", ["./nowhere", "nobody/no-such-model"])
def test_an_unknown_model_is_refused_with_and_without_ablation(colours: Project, model: str, flag: list[str]) -> None:
    assert model.lstrip("./") in refused(colours.run(f"--model={model}", *flag))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{GOOD}\n{{question: 1", "*colours.jsonl, line 2: not JSON (*): write one JSON object a line"),
        (f"{GOOD}\n\n[1]", "*colours.jsonl, line 3: not a JSON object*"),
        (f'{GOOD}\n{{"question": "Why?"}}', '*colours.jsonl, line 2: no answer: add "answer"'),
        (f'{GOOD}\n{{"question": "Why?", "answer": " "}}', "*colours.jsonl, line 2: answer is empty*"),
        ('{"question": "Why?", "answer": "x\\n####"}', "*colours.jsonl, line 1: no answer after ####*"),
        ('{"answer": "yes"}', '*colours.jsonl, line 1: no question: add "question"'),
        ("", "*colours.jsonl: no items: give at least one question with its answer"),
        ("\n\n", "*colours.jsonl: no items*"),
        (
            '{"id": "a", "question": "Q", "answer": "1"}\n' * 2,
            "*line 2: the id 'a' is that of line 1 too: make ids unique",
        ),
    ],
)
def test_data(colours: Project, text: str, line: str) -> None:
    colours.write("colours.jsonl", text)
    assert_matches(refused(colours.run()), line)


def test_a_probe_of_no_items(project: Project) -> None:
    project.write("test_none.py", PROBE.replace('"colours.jsonl"', "[]"))
    assert_matches(refused(project.run()), "the items of colours: no items*")


def test_a_probe_of_things_that_are_no_items(project: Project) -> None:
    project.write("test_none.py", PROBE.replace('"colours.jsonl"', "['What?']"))
    assert_matches(refused(project.run()), "the items of colours, item 1: 'What?' is not an Item*")


def test_a_missing_file_beside_the_module(project: Project) -> None:
    project.write("test_colours.py", PROBE)
    assert_matches(refused(project.run()), "there is no file *colours.jsonl*")


def test_a_probe_that_does_not_ask_for_its_answer(colours: Project) -> None:
    colours.write("test_colours.py", PROBE.replace("(answer)", "()").replace("answer.correct", "True"))
    assert_matches(refused(colours.run()), "the probe test_colours must ask for the fixture 'answer' or 'item'")


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(colours: Project) -> Path:
    """A copy of the planted model's folder, to be spoiled."""
    return Path(shutil.copytree(colours.model, colours.path / "model"))


def test_a_folder_without_a_config(colours: Project, folder: Path) -> None:
    (folder / "config.json").unlink()
    assert_matches(
        refused(colours.run("--model=model")), "the folder model holds no model: there is no config.json in it"
    )


@pytest.mark.parametrize("flag", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
def test_a_folder_without_weights(colours: Project, folder: Path, flag: list[str]) -> None:
    (folder / "model.safetensors").unlink()
    assert_matches(refused(colours.run("--model=model", *flag)), "the folder model holds no weights*")


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("config.json", "{", "*"),
        ("config.json", '{"model_type": "no-such-type"}', "*no-such-type*"),
        ("config.json", '{"model_type": "t5"}', "it is no decoder-only language model"),
        ("config.json", "[]", "*"),
        ("model.safetensors", "not weights", "*"),
        ("tokenizer.json", "{", "*"),
    ],
)
def test_a_folder_with_a_bad_file(colours: Project, folder: Path, file: str, text: str, line: str) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    assert_matches(refused(colours.run("--model=model", "--ablate-heads")), f"cannot load the model model: {line}")


def test_a_folder_without_a_tokenizer(colours: Project, folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert_matches(refused(colours.run("--model=model")), "the tokenizer of model makes no tokens: give its files")


def test_an_adapter_that_names_no_base(colours: Project) -> None:
    colours.write("adapter/adapter_config.json", "{}")
    assert_matches(refused(colours.run("--model=adapter")), "* names no base model: add base_model_name_or_path")


@pytest.mark.parametrize("flag", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
def test_weights_that_are_not_numbers(colours: Project, folder: Path, flag: list[str]) -> None:
    model, _ = planted()
    with torch.no_grad():
        model.transformer.h[0].attn.c_proj.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    line = "the weights of model hold NaN or infinity (transformer.h.0.attn.c_proj.weight)"
    assert_matches(refused(colours.run("--model=model", *flag)), line)


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
@pytest.mark.parametrize("given", ["None", "'gpt2'", "(1, 2)", "(None, None, None)"])
def test_a_probe_model_that_gives_something_else(colours: Project, given: str, flag: list[str]) -> None:
    colours.write(
        "conftest.py", f"import pytest\n@pytest.fixture(scope='session')\ndef probe_model(): return {given}\n"
    )
    assert_matches(refused(colours.run(*flag)), "probe_model gave *: return (model, tokenizer)*")


def test_a_probe_model_whose_heads_are_not_known_in_time(colours: Project) -> None:
    colours.write("conftest.py", "import pytest\n@pytest.fixture\ndef probe_model(tmp_path): return tmp_path\n")
    assert_matches(refused(colours.run("--ablate-heads")), "probe_model takes other fixtures*")


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
