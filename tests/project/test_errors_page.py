"""Tests every row of ``docs/reference/errors.md``: makes the mistake and compares the message with the page's.

The file has more than 400 lines because it is one list in the order of one page, with which its last tests compare it.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from reasoning_probe import cli
from reasoning_probe.engine.cache.store import FILE, FOLDER
from reasoning_probe.pytest_plugin import state
from reasoning_probe.results.run import write_run
from tests.helpers.fake_runs import as_run, outcome
from tests.helpers.gguf_file import gguf
from tests.helpers.planted_model import COLOUR_PROBE, planted
from tests.helpers.project import Project
from tests.helpers.usage_errors import GOOD, refused

if find_spec("datasets") is not None:
    import datasets  # noqa: F401  # pytester drops what an in-process run imports, and this cannot be imported twice

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


@dataclass(frozen=True)
class Row:
    what: str
    line: str
    code: int

    def pattern(self) -> str:
        return ".*".join(re.escape(part) for part in self.line.split("..."))


def rows() -> Iterator[Row]:
    """Yield the page's rows; their messages are Markdown code, in which nothing is escaped."""
    for text in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| (.+?) \| `(.+)` \| (\d) \|", text):
            yield Row(match[1], match[2], int(match[3]))


@dataclass(frozen=True)
class Ending:
    """The end of a session or command: its exit code and its message."""

    code: int
    text: str


Wrong = Callable[[Project], Ending]
WRONG: dict[str, Wrong] = {}
"""By a row's first column, the function that makes the mistake."""


def session(project: Project, *args: str | Path) -> Ending:
    """Run a session that must end at once with one line, and write no run."""
    line = refused(project.run(*args))
    assert not (project.path / "reports" / "run.json").exists()
    return Ending(4, line)


def going_on(project: Project, *args: str | Path, page: bool = False) -> Ending:
    """Run a session that continues in spite of the mistake."""
    result = project.run(*args, page=page)
    text = " ".join("\n".join(result.outlines + result.errlines).split())
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return Ending(int(result.ret), text)


# -- options ----------------------------------------------------------------------------------------------------------


def option(what: str, *args: str) -> None:
    WRONG[what] = lambda project: session(project, *args)


option("an option without a value: `--model=`", "--model=")
option("an option that does not exist", "--probe-nonsense")
option("a target that cannot be read: `--probe-heads 3.7`", "--probe-heads=3.7")
option("a target that is left out: `--probe-heads L1H2,`", "--probe-heads=L1H2,")
option("ten thousand targets in one", "--probe-heads=" + "L1H2+" * 10_000)
option("a range backwards: `--probe-heads L1-L0`", "--probe-heads=L1-L0")
option("a layer that the model lacks", "--probe-heads=L99H0")
option("a head that the model lacks", "--probe-heads=L1H4")
option("a range beyond the model", "--probe-heads=L0-L5")
option("a card of what is no target: `--probe-describe head3`", "--probe-describe=head3")
option("a card of a head where nothing is switched off", "--probe-describe=L0H1")
option("a card of a head that is not switched off", "--probe-describe=L1H1", "--probe-heads=L0H1")
option("paths where nothing is switched off", "--probe-paths")
option("masks where nothing is switched off: `--probe-masks 64`", "--probe-masks=64")
option("too few masks: `--probe-masks 4`", "--probe-masks=4")
option("too many samples: `--probe-samples 1000000`", "--probe-samples=1000000")
option("a temperature without samples", "--probe-temperature=0.5")
option("a temperature that is none: `--probe-temperature 0`", "--probe-samples=2", "--probe-temperature=0")
option("a probability that is none: `--probe-top-p 2`", "--probe-samples=2", "--probe-top-p=2")
option("a verdict that is none: `--probe-verdict best`", "--probe-samples=2", "--probe-verdict=best")
option("samples where answers are greedy: `--probe-race`", "--probe-samples=2", "--ablate-heads", "--probe-race")
option("thoughts without marks", "--probe-think-tokens=64", "--probe-think=off")
option("thoughts where answers have none: `--ablation patch`", "--probe-think-tokens=64", "--ablation=patch")
option("a device that is absent", "--probe-device=cuda")
option("a device that is none", "--probe-device=tpu9")
option("a dtype that is none", "--probe-dtype=int8")
option("numerics that are none", "--probe-numerics=exact")
option("an ablation that is none", "--ablation=noise")
option("an ablation that is left out: `zero,`", "--ablation=zero,")
option("no items: `--probe-items 0`", "--probe-items=0")
option("items of a dataset twice: `logic=2,logic=3`", "--probe-items=logic=2,logic=3")
option("items of a dataset that no probe asks for", "--probe-items=shapes=2")
option("more items than a built-in dataset has", "--probe-dataset=colours=gsm8k", "--probe-items=colours=200")
option("items that are no number", "--probe-items=many")
option("more items than a file has", "--probe-items=colours=7")
option("a place in a dataset that is no number: `colours=2@x`", "--probe-items=colours=2@x")
option("items from a place on where none is left", "--probe-items=colours=2@7")


def _nothing_fresh(project: Project) -> Ending:
    project.run("--probe-dir=whole")
    return session(project, "--probe-fresh-items=whole")


WRONG["fresh items where the run asked all of them"] = _nothing_fresh
option("fresh items of a folder without a run", "--probe-fresh-items=nowhere")
option("a limit below 1", "--probe-max-new-tokens=-1")
option("patching where no question has another one", "--probe-heads=L0H1", "--ablation=patch")
option("restoring beside another ablation: `patch,restore`", "--probe-heads=L0H1", "--ablation=patch,restore")
option("patching the answer: `--probe-where answer`", "--probe-heads=L0H1", "--ablation=patch", "--probe-where=answer")
option("restoring a part of the question", "--probe-heads=L0H1", "--ablation=restore", "--probe-where=object")
option('a place that is none: `--probe-where "the end"`', "--probe-where=the end")
option("the thought as a place, without tokens of its own", "--probe-heads=L0H1", "--probe-where=thought")
option("a place that no question has", "--probe-heads=L0H1", "--probe-where=claim")
option("a seed that is no number", "--probe-seed=x")
option("a size that cannot be read", "--probe-memory=lots")
option("a size of nothing", "--probe-memory=0GB")
option("a ranking of heads that is none", "--ablate-heads", "--probe-screen=4:x")
option("a shard beyond the last", "--probe-shard=9/8")
option("a granularity that is none", "--probe-granularity=x")
option("an address that is none", "--probe-engine=ray=head")
option("a cluster that does not answer", "--probe-engine=ray=127.0.0.1:1")
option("processors that are no number", "--probe-replica-cpus=many")
option("a device map that cannot be read", "--probe-device-map=cuda")
option("a dataset without a source", "--probe-dataset=colours")
option("a source without a name", "--probe-dataset==file")
option("a dataset that no probe asks for", "--probe-dataset=shapes=s.jsonl")
option("a template that is not there", "--probe-template=gone.txt")
option("a chat template that the tokenizer lacks: `--probe-chat on`", "--probe-chat=on")
option("examples that are no number", "--probe-shots=x")
option("more examples than fit any model: `--probe-shots 100000000`", "--probe-shots=100000000")
option("examples where every item is asked", "--probe-shots=3")
option("arguments for a chat template that is off", "--probe-chat-kwargs=enable_thinking=false")
option("an argument without a value: `--probe-chat-kwargs thinking`", "--probe-chat-kwargs=thinking")
option("an argument that is given twice", "--probe-chat-kwargs=a=1,a=2")
option("an argument that is not the user's", "--probe-chat-kwargs=tokenize=true")
option("a generation mode that is none", "--probe-generation=greedy")
option("marks of thoughts that are no pair", "--probe-think=<plan>")
option("a chat mode that is none", "--probe-chat=maybe")
option("a difficulty that does not exist", "--probe-dataset=colours=logic:size=3")
option("a difficulty beyond its range", "--probe-dataset=colours=logic:steps=9")
option("a hub's dataset without its split", "--probe-dataset=colours=hf:")
option("a replica that takes nothing", "--probe-replica-cpus=0")
option("an engine that is none", "--probe-engine=spark")
option("a limit that is no share: `--probe-min-accuracy 90`", "--probe-min-accuracy=90")
option("a limit that is given twice", "--probe-min-accuracy=logic=0.5,logic=0.6")
option("a limit for a dataset that no probe asks for", "--probe-min-accuracy=shapes=0.5")
option("a drop from nothing", "--probe-max-drop=0.1")
option("a reference that is not there", "--probe-reference=gone.jsonl")
option("a reference that is none", "--probe-reference=colours.jsonl")
option("a reference that the run overwrites", "--probe-reference=reports")
option("a race in a shard", "--ablate-heads", "--probe-race", "--probe-shard=1/2")
option("a race of nothing", "--probe-race")
option(
    "a reference from a part of a dataset",
    *("--probe-reference=new.jsonl", "--probe-update-reference", "--probe-shard=1/1"),
)


option("a home folder that is not there: `--probe-dir=~no-such-user/r`", "--probe-dir=~no-such-user/r")


def ini(what: str, setting: str) -> None:
    def wrong(project: Project) -> Ending:
        project.pytester.makeini(f"[pytest]\n{setting}\n")
        return session(project)

    WRONG[what] = wrong


ini("a setting of the ini file", "probe_items = some")
ini("a truth value in the ini file", "ablate_heads = yess")
ini("a dataset in the ini file", "probe_dataset = colours")

# -- models -----------------------------------------------------------------------------------------------------------

option("a folder that is not there", "--model=./nowhere")
option("a hub id that cannot be had", "--model=nobody/no-such-model")
option("a hub id that is mistyped", "--model=gtp2")
option("a `.gguf` file that is not there", "--model=no.gguf")
option("a file that is no model", "--model=colours.jsonl")


option("a model's name of 5,000 characters", "--model=" + "a" * 5000)


def spoiled(what: str, *args: str) -> Callable[[Callable[[Path], object]], None]:
    """Return a decorator for a function that damages a copy of the planted model's folder."""

    def register(spoil: Callable[[Path], object]) -> None:
        def wrong(project: Project) -> Ending:
            spoil(Path(shutil.copytree(project.model, project.path / "model")))
            return session(project, "--model=model", *args)

        WRONG[what] = wrong

    return register


def text_in(file: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text, encoding="utf-8")


spoiled("a folder without `config.json`")(lambda folder: (folder / "config.json").unlink())
spoiled("a folder without weights")(lambda folder: (folder / "model.safetensors").unlink())
spoiled("a `config.json` that is half there")(text_in("config.json", "{"))
spoiled("a `config.json` that is a list")(text_in("config.json", "[]"))
spoiled("an architecture that transformers does not know")(text_in("config.json", '{"model_type": "no-such-type"}'))
spoiled("a model that is no decoder")(text_in("config.json", '{"model_type": "t5"}'))
spoiled("weights that are something else")(text_in("model.safetensors", "not weights"))
spoiled("a tokenizer that is half there")(text_in("tokenizer.json", "{"))


def _broken_gguf(project: Project) -> Ending:
    project.write("bad.gguf", "not a model")
    return session(project, "--model=bad.gguf")


WRONG["a `.gguf` file that is none"] = _broken_gguf


def changed(file: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps(content | values), encoding="utf-8")

    return change


spoiled("a tokenizer that panics")(
    changed("tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="})
)


@spoiled("weights that are half there")
def _(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


@spoiled("a shard of the weights that is missing")
def _(folder: Path) -> None:
    model, _ = planted()
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    next(folder.glob("model-00002-of-*.safetensors")).unlink()


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@spoiled("weights that lack some")
def _(folder: Path) -> None:
    rewritten(folder, lambda weights: weights.pop("transformer.h.1.attn.c_attn.weight"))


@spoiled("weights of another architecture")
def _(folder: Path) -> None:
    def renamed(weights: dict[str, Any]) -> None:
        for name in list(weights):
            weights[name.replace("transformer.h", "model.layers")] = weights.pop(name)

    rewritten(folder, renamed)


@spoiled("weights of another size")
def _(folder: Path) -> None:
    rewritten(folder, lambda weights: weights.update({"transformer.ln_f.weight": torch.ones(3)}))


@spoiled("weights that are NaN")
def _(folder: Path) -> None:
    rewritten(folder, lambda weights: weights["transformer.h.0.attn.c_proj.weight"].fill_(float("nan")))


@spoiled("weights as a Python pickle")
def _(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@spoiled("a model that brings code")
def _(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}), encoding="utf-8")
    (folder / "own.py").write_text("raise SystemExit('its code ran')\n", encoding="utf-8")


@spoiled("no attention heads, with ablation", "--probe-heads=L0H0")
def _(folder: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    tokens = {"vocab_size": size, "eos_token_id": 0, "pad_token_id": 0}
    MambaForCausalLM(MambaConfig(hidden_size=8, state_size=4, num_hidden_layers=2, **tokens)).save_pretrained(folder)


@spoiled("a tokenizer whose files are missing")
def _(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def sets(**settings: object) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        file = folder / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")

    return write


spoiled("a generation setting that cannot be used")(sets(repetition_penalty=-1))
spoiled("a generation setting that transformers refuses")(sets(compile_config={"mode": "default"}))


def chat(what: str, template: str, *args: str) -> None:
    def spoil(folder: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)

    spoiled(what, "--probe-chat=on", *args)(spoil)


chat("a chat template that loses the question", "{{ messages[-1].content | upper }}")
chat("a chat template that fails", "{{ raise_exception('roles must alternate') }}")
chat("a chat template that loses the examples", "{{ messages[-1].content }}", "--probe-shots=1:arithmetic")
chat(
    "an argument that the chat template does not take",
    *("{{ messages[-1].content }}{{ enable_thinking }}", "--probe-chat-kwargs=enable_thinkin=false"),
)


def _changing_weights(project: Project) -> Ending:
    """A model of which no part is in memory is read from its files; here all of one counts as such."""
    shutil.copytree(project.model, project.path / "model")
    project.write(
        "conftest.py",
        """
from pathlib import Path
from reasoning_probe.models import weights

weights.offloaded = lambda model: True

def pytest_reasoning_probe_judge(item, response, truncated):
    weights_file = Path(__file__).parent / "model" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-4] + b"0000")
""",
    )
    with pytest.MonkeyPatch.context() as patch:
        from reasoning_probe.models import weights

        patch.setattr(weights, "offloaded", weights.offloaded)
        line = refused(project.run("--model=model", "--probe-heads=L1H2"))
    assert [outcome["target"] for outcome in project.outcomes()] == ["baseline"]
    return Ending(4, line)


def _weights_change_early(project: Project) -> Ending:
    from reasoning_probe.models import loading

    shutil.copytree(project.model, project.path / "model")
    weights = project.path / "model" / "model.safetensors"

    def load(*args: Any, **options: Any) -> loading.LoadedModel:
        model = load_model(*args, **options)
        weights.write_bytes(weights.read_bytes()[:-4])
        return model

    load_model = loading.load_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_model", load)
        return session(project, "--model=model")


WRONG["weights that change while they are read from the disk"] = _changing_weights
WRONG["weights that change while they are loaded"] = _weights_change_early


def more_words(folder: Path, added: bool) -> None:
    from transformers import AutoTokenizer

    path = folder / "tokenizer.json"
    if added:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["colour"[:3] + "ossal"])
        tokenizer.save_pretrained(folder)
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    words |= {f"word{index}": len(words) + index for index in range(100)}
    path.write_text(json.dumps(content), encoding="utf-8")


spoiled("a tokenizer of another model")(lambda folder: more_words(folder, added=False))


def adapter(config: dict[str, str], *files: str) -> Wrong:
    def wrong(project: Project) -> Ending:
        project.write("adapter/adapter_config.json", json.dumps(config))
        for file in files:
            project.write(f"adapter/{file}", "")
        return session(project, "--model=adapter")

    return wrong


WRONG["an adapter without a base model"] = adapter({}, "adapter_model.safetensors")
WRONG["an adapter whose base is itself"] = adapter({"base_model_name_or_path": "adapter"}, "adapter_model.safetensors")
WRONG["an adapter as a Python pickle"] = adapter({"base_model_name_or_path": "gpt2"}, "adapter_model.bin")


def lora(**changes: object) -> Wrong:
    """Return the use of an adapter of the planted model as peft describes one, with *changes* of its config."""

    def wrong(project: Project) -> Ending:
        config = {"peft_type": "LORA", "r": 2, "target_modules": ["c_attn"], "base_model_name_or_path": "model"}
        shutil.copytree(project.model, project.path / "model")
        project.write("adapter/adapter_config.json", json.dumps(config | changes))
        name = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
        save_file({name: torch.zeros(2, 8)}, project.path / "adapter" / "adapter_model.safetensors")
        return session(project, "--model=adapter")

    return wrong


def adapter_text(text: str) -> Wrong:
    def wrong(project: Project) -> Ending:
        project.write("adapter/adapter_config.json", text)
        return session(project, "--model=adapter")

    return wrong


def _adapter_without_weights(project: Project) -> Ending:
    config = {"peft_type": "LORA", "base_model_name_or_path": str(project.model)}
    project.write("adapter/adapter_config.json", json.dumps(config))
    return session(project, "--model=adapter")


WRONG["an adapter that names a module"] = lora(megatron_core="evil")
WRONG["an adapter of a type that cannot be merged"] = lora(peft_type="PROMPT_TUNING")
WRONG["an adapter that repeats layers"] = lora(layer_replication=[[0, 1], [0, 1]])
WRONG["an adapter that is initialised from data"] = lora(init_lora_weights="corda")
WRONG["an adapter with a pattern that may never end"] = lora(target_modules="(a+)+")
WRONG["an adapter of a higher rank than its weights"] = lora(r=1_000_000)
WRONG["an adapter without weights"] = _adapter_without_weights
WRONG["a file that is nested without end"] = adapter_text("[" * 100_000)
WRONG["an adapter config that is no JSON"] = adapter_text("{")


def gguf_file(content: bytes) -> Wrong:
    def wrong(project: Project) -> Ending:
        (project.path / "bad.gguf").write_bytes(content)
        return session(project, "--model=bad.gguf")

    return wrong


WRONG["a `.gguf` file that promises more than it holds"] = gguf_file(gguf({}, tensors=2**60))


def _base_is_an_adapter(project: Project) -> Ending:
    from reasoning_probe.models.files.model_files import ModelFiles

    project.write("adapter/adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "nobody/adapter"}')
    with pytest.MonkeyPatch.context() as patch:  # the hub has this file
        config = project.path / "adapter" / "adapter_config.json"
        patch.setattr(ModelFiles, "path", lambda files, file: config if file == config.name else None)
        patch.setattr("reasoning_probe.models.hub.check_hub", lambda source: None)
        return session(project, "--model=adapter")


WRONG["an adapter whose base on the hub is an adapter"] = _base_is_an_adapter
WRONG["a `.gguf` file of a million layers"] = gguf_file(gguf({"llama.block_count": 1_000_000}))


def _adapter_beside_gguf(project: Project) -> Ending:
    (project.path / "m.gguf").write_bytes(gguf({}))
    project.write("adapter_config.json", "{}")
    return session(project, "--model=m.gguf")


WRONG["an adapter beside a `.gguf` file"] = _adapter_beside_gguf


def setting(what: str, file: str, *args: str, **values: object) -> None:
    """Change *values* of a JSON file of the model."""

    @spoiled(what, *args)
    def _(folder: Path) -> None:
        path = folder / file
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(content | values), encoding="utf-8")


setting("a `config.json` of a million layers", "config.json", n_layer=1_000_000)
setting("a `config.json` of a billion labels", "config.json", num_labels=1_000_000_000)
setting("a `config.json` that makes an encoder of a decoder", "config.json", is_encoder_decoder=True)
setting("a `config.json` whose outputs have no names", "config.json", return_dict=False)
setting("a `config.json` of a billion experts", "config.json", num_experts=1_000_000)
setting("a `config.json` with a size that is none", "config.json", vocab_size=-1)
setting("a `config.json` far larger than the weights", "config.json", n_embd=8192, n_inner=65536, n_layer=8)
setting("a special token that is no id", "config.json", eos_token_id="x")
setting("a `generation_config.json` with a wrong value", "generation_config.json", repetition_penalty="x")
setting(
    "a model whose attention is code from the hub", "config.json", _attn_implementation="kernels-community/flash-attn"
)
setting("a model that is quantised in an unknown way", "config.json", quantization_config={"quant_method": "evil"})
setting("a tokenizer of a class that is none", "tokenizer_config.json", tokenizer_class="AutoModel")
setting("a tokenizer with a wrong setting", "tokenizer_config.json", model_max_length="x")
setting("a tokenizer whose files lie elsewhere", "tokenizer_config.json", fast_tokenizer_files=["../x.1.0.json"])
TWICE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
setting(
    "a tokenizer that lengthens texts without end",
    "tokenizer.json",
    normalizer={"type": "Sequence", "normalizers": [TWICE] * 40},
)
setting(
    "a tokenizer with a pattern that may never end",
    "tokenizer.json",
    pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
)
setting(
    "a tokenizer that adds tokens without end",
    "tokenizer.json",
    post_processor={
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 2000,
        "special_tokens": {"x": {"id": "x", "ids": [0] * 1000, "tokens": ["x"] * 1000}},
    },
)
setting("a tokenizer that pads without end", "tokenizer.json", padding={"strategy": {"Fixed": 2**40}})
setting("a token with an id of 2^31", "tokenizer.json", added_tokens=[{"id": 2**31, "content": "x"}])


def chat(what: str, template: str) -> None:
    setting(what, "tokenizer_config.json", "--probe-chat=on", chat_template=template)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
chat("a chat template that does not end", LOOP)
chat("a chat template that is too long", "x" * 1_000_001)
chat("a chat template that writes too much", "{{ 'a' * 20000000 }}")
chat("a chat template that takes too much memory", "{{ 'a' * 2000000000000 }}")
chat("a chat template that calculates powers", "{{ 9 ** 9 }}")


@spoiled("a decoy beside weights as a Python pickle")
def _(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "decoy.safetensors")


@spoiled("a Python pickle under another name")
def _(folder: Path) -> None:
    torch.save({}, folder / "pickle")
    (folder / "pickle").replace(folder / "model.safetensors")


def index(what: str, weight_map: object) -> None:
    @spoiled(what)
    def _(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        content = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(content), encoding="utf-8")


index("an index that names a Python pickle", {"a": "weights.bin"})
index("an index that names a file elsewhere", {"a": "../outside.safetensors"})
index("an index that names no files", None)


@spoiled("weights of other names")
def _(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")


@spoiled("a pipe or a device in a model's folder")
def _(folder: Path) -> None:
    os.mkfifo(folder / "chat_template.jinja")


def fixture(text: str, *args: str) -> Wrong:
    def wrong(project: Project) -> Ending:
        project.write("conftest.py", f"import pytest\n@pytest.fixture(scope='session')\n{text}\n")
        return session(project, *args)

    return wrong


WRONG["a fixture `probe_model` that gives something else"] = fixture("def probe_model(): return None")
WRONG["a fixture `probe_model` whose heads are not known in time"] = fixture(
    "def probe_model(tmp_path_factory): return None", "--ablate-heads"
)


def _too_long(project: Project) -> Ending:
    project.write("colours.jsonl", f'{GOOD}\n{{"question": "{"What is the colour? " * 40}", "answer": "blue"}}')
    result = going_on(project, "-rs")
    assert [line["item"] for line in project.outcomes()] == ["q1"]
    assert project.summary()["skipped"][0]["item"] == "q2"
    return result


def _unknown_token(project: Project) -> Ending:
    more_words(Path(shutil.copytree(project.model, project.path / "model")), added=True)
    project.write("colours.jsonl", f'{GOOD}\n{{"question": "What is colossal?", "answer": "blue"}}')
    result = going_on(project, "--model=model", "-rs")
    assert [line["item"] for line in project.outcomes()] == ["q1"]
    return result


def _without_part(project: Project) -> Ending:
    marked = '{"question": "What colour is the grass?", "answer": "green", "parts": {"object": [[19, 24]]}}'
    project.write("colours.jsonl", f"{GOOD}\n{marked}")
    result = going_on(project, "--probe-heads=L0H1", "--probe-where=object", "-rs")
    assert {line["item"] for line in project.outcomes()} == {"q2"}
    return result


def unpatched(what: str, line: str) -> None:
    def wrong(project: Project) -> Ending:
        donor = '"counterfactual": {"question": "What colour is the sky?", "answer": "blue"}'
        aligned = f'{{"question": "What colour is the grass?", "answer": "green", {donor}}}'
        project.write("colours.jsonl", f"{line}\n{aligned}")
        result = going_on(project, "--probe-heads=L0H1", "--ablation=patch", "-rs")
        assert {case["item"] for case in project.outcomes()} == {"q2"}
        return result

    WRONG[what] = wrong


unpatched("a question without a counterfactual that is patched", GOOD)
unpatched(
    "a counterfactual of another length",
    GOOD[:-1] + ', "counterfactual": {"question": "What colour is the green grass?", "answer": "green"}}',
)
WRONG["a prompt longer than the context"] = _too_long
WRONG["a question without the part of `--probe-where`"] = _without_part
WRONG["a token added to the tokenizer alone"] = _unknown_token

# -- data -------------------------------------------------------------------------------------------------------------


def data(what: str, content: str | bytes) -> None:
    def wrong(project: Project) -> Ending:
        (project.path / "colours.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
        return session(project)

    WRONG[what] = wrong


def entry(**fields: object) -> str:
    return json.dumps({"question": "Why?", "answer": "blue"} | fields)


option("a file that is not there", "--probe-dataset=colours=gone.jsonl")
option("a name nearly that of a built-in dataset: `arithmatic`", "--probe-dataset=colours=arithmatic")
option("a folder in place of a file", "--probe-dataset=colours=.")
data("a file that holds nothing", "")
data("a file of empty lines", "\n \r\n\n")
data("text that is not UTF-8", GOOD.encode() + b'\n{"question": "\xff"}')
data("a line of 100 MB", b'{"question": "' + b"a" * 10**8)
data("a line that is no JSON", f"{GOOD}\n{{question: 1")
data("a line that is nested without end", f"{GOOD}\n{'[' * 100_000}")
data("a line that is no object", f"{GOOD}\n[1]")
data("no question", '{"answer": "yes"}')
data("no answer", '{"question": "Why?"}')
data("an answer of blanks", entry(answer=" \t"))
data("an answer that is a list", entry(answer=["blue"]))
data("a question that is a number", entry(question=8))
data("nothing after GSM8K's `####`", entry(answer="x\n####"))
data("a kind that is none", entry(kind="colour"))
data("a number that is none", entry(kind="number"))


def _without_math_verify(project: Project) -> Ending:
    (project.path / "colours.jsonl").write_text(entry(kind="expression"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reasoning_probe.data.items.has_math_verify", lambda: False)
        return session(project)


WRONG["an expression without Math-Verify"] = _without_math_verify
data("operands that are no list", entry(operands=3))
data("a tag that is a list", entry(tags={"topic": ["sky", "air"]}))
data("parts that are no object", entry(parts=[[5, 11]]))
data("a part outside of the question", entry(parts={"noun": [[90, 95]]}))
data("a part with the name of a place", entry(parts={"last": [[5, 11]]}))
data("a counterfactual that is no object", entry(counterfactual="What colour is grass?"))
data(
    "a counterfactual with the item's answer",
    entry(counterfactual={"question": "What colour is the sea?", "answer": "blue"}),
)
data("a same_answer with another answer", entry(same_answer={"question": "What colour is grass?", "answer": "green"}))
data("half of a surrogate pair", '{"question": "\\ud800", "answer": "blue"}')
data("a field that may belong to the question", entry(hint="Look up."))
data("a context that is no text", entry(context={"title": "Sky"}))
data("an answer that is none of the columns A to D", entry(A="red", B="blue", C="green", D="grey", answer=0))
option("a named field that no row has", "--probe-dataset=colours=colours.jsonl:answer=reply")
option("a field named for something else: `FILE:colour=q`", "--probe-dataset=colours=colours.jsonl:colour=q")
data("an id twice", f"{entry(id='a')}\n{entry(id='a')}")


def _loop(project: Project) -> Ending:
    (project.path / "colours.jsonl").unlink()
    (project.path / "colours.jsonl").symlink_to("colours.jsonl")
    return session(project)


WRONG["a link that leads to itself"] = _loop


def _pipe(project: Project) -> Ending:
    (project.path / "colours.jsonl").unlink()
    os.mkfifo(project.path / "colours.jsonl")
    return session(project)


def _row_without_end(project: Project) -> Ending:
    project.write("colours.csv", "question,answer\n" + "a," * 1_000_000)
    return session(project, "--probe-dataset=colours=colours.csv")


def _huge_row_groups(project: Project) -> Ending:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    choices = pyarrow.ListArray.from_arrays([0, 30_000_000], pyarrow.nulls(30_000_000, pyarrow.int8()))
    parquet.write_table(pyarrow.table({"question": ["q"], "choices": choices}), project.path / "colours.parquet")
    return session(project, "--probe-dataset=colours=colours.parquet")


def _data_without_end(project: Project) -> Ending:
    item = {"question": "q" * 900_000, "answer": "8"}
    project.write("colours.jsonl", (json.dumps(item) + "\n") * 1200)
    return session(project)


def data_folder(change: Callable[[Path], object]) -> Wrong:
    def wrong(project: Project) -> Ending:
        if find_spec("datasets") is None:
            pytest.skip("datasets is not installed")
        project.write("data/test.jsonl", GOOD)
        project.write("secret.jsonl", GOOD)
        change(project.path / "data")
        return session(project, "--probe-dataset=colours=hf:data:test")

    return wrong


def _task_with_code(project: Project) -> Ending:
    pytest.importorskip("lm_eval")
    project.write("task.yaml", "task: x\nprocess_docs: !function x.f\n")
    return Ending(4, refused(project.run_apart("--probe-dataset=colours=lm-eval:task.yaml")))


WRONG["a pipe or a device as data"] = _pipe
WRONG["a row of a table without end"] = _row_without_end
WRONG["a Parquet file of huge row groups"] = _huge_row_groups
WRONG["data without end"] = _data_without_end
WRONG["a folder that names data elsewhere"] = data_folder(
    text_in("README.md", "---\nconfigs:\n- config_name: default\n  data_files: ../secret.jsonl\n---\n")
)
WRONG["a link out of a folder of data"] = data_folder(
    lambda folder: (folder / "train.jsonl").symlink_to("../secret.jsonl")
)
WRONG["a folder whose head is no YAML"] = data_folder(text_in("README.md", "---\n{[\n---\n"))
WRONG["a folder whose head repeats values without end"] = data_folder(
    text_in("README.md", f"---\na: &a [{'x,' * 999}]\nconfigs: [{'*a,' * 999}]\n---\n")
)
WRONG["packed data that are far larger unpacked"] = data_folder(
    lambda folder: (folder / "test.jsonl.gz").write_bytes(gzip.compress(b" " * 20_000_000))
)
WRONG["data that are packed in an unknown way"] = data_folder(text_in("test.jsonl", "Rar!\x1a\x07"))
WRONG["a task file of lm-eval that runs code"] = _task_with_code


def probe(what: str, before: str, after: str) -> None:
    def wrong(project: Project) -> Ending:
        text = COLOUR_PROBE.replace(before, after)
        assert text != COLOUR_PROBE
        project.write("test_colours.py", text.replace("answer.correct", "True"))
        return session(project)

    WRONG[what] = wrong


probe("a probe of no items", '"colours.jsonl"', "[]")
probe("a probe without a source: `@probe`", '("colours.jsonl")', "")
probe("a probe of something else: `@probe(5)`", '"colours.jsonl"', "5")
probe("a probe whose name is no text", '"colours.jsonl"', '"colours.jsonl", name=5')
probe("a probe whose owner is no text", '"colours.jsonl"', '"colours.jsonl", owner=5')
probe("a probe whose fields are none", '"colours.jsonl"', '"colours.jsonl", fields=5')
probe("a probe of things that are no items", '"colours.jsonl"', "['What?']")
probe("a probe that does not ask for its answer", "(answer)", "()")


def item(what: str, values: str) -> None:
    """A probe whose items are made while they are collected."""
    probe(what, '"colours.jsonl"', f"rp.Item(**{values}) for _ in range(1)")


item("an item whose id is no text", "dict(question='Why?', answer='blue', id=5)")
item("choices that are no texts", "dict(question='Why?', answer='blue', choices=['blue', 5])")
item("an item with half of a surrogate pair", "dict(question='Why \\ud800?', answer='blue')")

# -- files ------------------------------------------------------------------------------------------------------------

option("the reports folder is a file", "--probe-dir=colours.jsonl")
option("the reports folder has too long a name", "--probe-dir=" + "a" * 300)
option("the reports folder has too long a path", "--probe-dir=" + "a/" * 2020)


def _no_permission(project: Project) -> Ending:
    if os.geteuid() == 0:  # permissions do not apply to root
        pytest.skip("root may write everywhere")
    locked = project.path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IREAD | stat.S_IEXEC)
    return session(project, "--probe-dir=locked/reports")


def _link_to_itself(project: Project) -> Ending:
    (project.path / "loop").symlink_to("loop")
    return session(project, "--probe-dir=loop")


def _page_is_a_folder(project: Project) -> Ending:
    (project.path / "reports" / "report.html" / "x").mkdir(parents=True)
    return going_on(project, page=True)


def _outcomes_is_a_folder(project: Project) -> Ending:
    (project.path / "reports" / "outcomes.jsonl" / "x").mkdir(parents=True)
    return going_on(project)


WRONG["the reports folder cannot be written"] = _no_permission
WRONG["the reports folder is a link that leads to itself"] = _link_to_itself
WRONG["a page that cannot be written over"] = _page_is_a_folder
WRONG["a file where the run's files belong is a folder"] = _outcomes_is_a_folder


def _no_temporary_folder(project: Project) -> Ending:
    class NoTemporaryFolder:
        @staticmethod
        def mkdtemp(**options: object) -> str:
            raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "tempfile", NoTemporaryFolder)
        return session(project, "-n1")


WRONG["pytest-xdist without a temporary folder"] = _no_temporary_folder


def _store_is_a_folder(project: Project) -> Ending:
    (project.path / FOLDER / FILE).mkdir(parents=True)
    return going_on(project)


def _store_is_another(project: Project) -> Ending:
    project.write(f"{FOLDER}/{FILE}", "not a database, but long enough to be one" * 10)
    return going_on(project)


def _store_is_altered(project: Project) -> Ending:
    import sqlite3

    project.run()
    db = sqlite3.connect(project.path / FOLDER / FILE)
    with db:
        db.execute("UPDATE outcomes SET response = 'green' WHERE rowid = 1")
    db.close()
    return going_on(project)


def _store_is_open_to_all(project: Project) -> Ending:
    project.run()
    (project.path / FOLDER).chmod(0o777)
    return going_on(project)


def _store_names_another_file(project: Project) -> Ending:
    """Add what is no whole journal, but ends as one that names a super-journal does."""
    project.run()
    (project.path / FOLDER / f"{FILE}-journal").write_bytes(bytes.fromhex("d9d505f920a163d7"))
    return going_on(project)


def _store_is_a_link(project: Project) -> Ending:
    (project.path / FOLDER).mkdir()
    (project.path / FOLDER / FILE).symlink_to(project.path / "elsewhere")
    return going_on(project)


def _junit_is_a_device(project: Project) -> Ending:
    return going_on(project, "--junitxml=/dev/null", "--probe-min-accuracy=0")


WRONG["a JUnit file that is a device, with a gate"] = _junit_is_a_device
WRONG["the outcome store cannot be used"] = _store_is_a_folder
WRONG["an outcome in the store was altered"] = _store_is_altered
WRONG["the outcome store is another user's to write"] = _store_is_open_to_all
WRONG["the outcome store is damaged, or another's"] = _store_is_another
WRONG["the outcome store is a link"] = _store_is_a_link
WRONG["the outcome store has a journal that names another file"] = _store_names_another_file

# -- the gate ---------------------------------------------------------------------------------------------------------

SKIPS = "import pytest\ndef pytest_runtest_setup(item):\n    if 'colours' in item.nodeid: pytest.skip('not today')\n"
NO_ROOM = '{"question": "' + "What is the colour? " * 40 + '", "answer": "blue"}'


def gated(what: str, *args: str, skips: bool = False, items: str = GOOD) -> None:
    def wrong(project: Project) -> Ending:
        project.run()
        project.write("colours.jsonl", items)
        project.write("conftest.py", SKIPS if skips else "")
        project.probe("logic")
        return going_on(project, *args)

    WRONG[what] = wrong


gated("all items are longer than the context", "--probe-min-accuracy=0.9", "-k", "colours", items=NO_ROOM)
gated("a gate where every probe was skipped", "--probe-min-accuracy=0.9", "-k", "colours", skips=True)
gated("a limit for a dataset whose probes were not asked", "--probe-min-accuracy=logic=0.9", "-k", "colours")
gated(
    "a part of a dataset whose wrong answer no test judges: `-m ablated -k NAME`",
    *("--probe-min-accuracy=0.9", "--probe-heads=L1H2", "-m", "ablated", "-k", "colours and q1"),
    items='{"question": "What colour is the sky?", "answer": "no"}\n{"question": "And the sea?", "answer": "no"}',
)
gated("a session that wrote no run beside an earlier one", "--probe-min-accuracy=0.9", "-k", "colours", skips=True)
gated(
    "a reference of no answers: `--probe-update-reference`",
    *("--probe-reference=new.jsonl", "--probe-update-reference", "-k", "colours"),
    items=NO_ROOM,
)

# -- the command line -------------------------------------------------------------------------------------------------


def command(what: str, *args: str, **files: str | bytes) -> None:
    def wrong(project: Project) -> Ending:
        folder = project.path / "run"
        if files:
            write_run(folder, as_run([outcome()]))
        for name, content in files.items():
            path = folder / {"run": "run.json", "outcomes": "outcomes.jsonl", "store": FILE}[name]
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        code = cli.main([*(args or ("show",)), str(folder)])
        return Ending(code, project.stderr())  # type: ignore[attr-defined]

    WRONG[what] = wrong


command("a folder without a run")
command("a `run.json` that is no JSON", run="{")
command("a `run.json` that is not UTF-8", run=b"\xff\xfe")
command("a `run.json` of another version", run='{"schema_version": 99}')
command("a `run.json` that lacks something", run='{"schema_version": 1}')
command("a line of outcomes that is no outcome", outcomes="[]")
command("outcomes that are gone", outcomes="")
command("a number too large in a file", run='{"schema_version": 1e400}')
command("no outcome store", "cache")
command("an outcome store that is none", "cache", store="not a database, but long enough to be one" * 10)


def command_on(what: str, prepare: Callable[[Path], object], *args: str) -> None:
    """Add the mistake that *prepare* makes in a run's folder, to which ``{run}`` in *args* refers."""

    def wrong(project: Project) -> Ending:
        folder = project.path / "run"
        write_run(folder, as_run([outcome(), outcome(item="b", correct=False, answer="7", category="off_by_one")]))
        prepare(folder)
        code = cli.main([arg.format(run=folder) for arg in args or ("show", "{run}")])
        return Ending(code, project.stderr())  # type: ignore[attr-defined]

    WRONG[what] = wrong


def _pipe_as_folder(project: Project) -> Ending:
    os.mkfifo(project.path / "run")
    return Ending(cli.main(["show", str(project.path / "run")]), project.stderr())  # type: ignore[attr-defined]


def _full_output(project: Project) -> Ending:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    write_run(project.path / "run", as_run([outcome()]))
    with contextlib.redirect_stdout(Full()):
        return Ending(cli.main(["show", str(project.path / "run")]), project.stderr())  # type: ignore[attr-defined]


WRONG["a pipe in place of a run's folder"] = _pipe_as_folder
WRONG["output that cannot be written"] = _full_output


def _change(**values: Any) -> Callable[[Path], object]:
    """Return what changes ``run.json``, as an earlier version wrote it: without a digest."""

    def change(folder: Path) -> None:
        path = folder / "run.json"
        summary = json.loads(path.read_text("utf-8")) | values
        del summary["engine"]["outcomes_sha256"]
        path.write_text(json.dumps(summary), "utf-8")

    return change


def _other_outcomes(folder: Path) -> None:
    path = folder / "outcomes.jsonl"
    path.write_text(path.read_text("utf-8").replace(" 8", " so 8"), "utf-8")


def _line_twice(folder: Path) -> None:
    _change()(folder)
    path = folder / "outcomes.jsonl"
    path.write_text(path.read_text("utf-8") + path.read_text("utf-8").splitlines()[0], "utf-8")


def _line_without_end(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text("utf-8").replace('"outcomes_sha256"', '"before"'), "utf-8")
    os.truncate(folder / "outcomes.jsonl", 200_000_000)


def _pipe_for_run(folder: Path) -> None:
    (folder / "run.json").unlink()
    os.mkfifo(folder / "run.json")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))  # its name must be short


def _linked_figures(folder: Path) -> None:
    (folder / "figures").symlink_to("/tmp")


def _linked_export(folder: Path) -> None:
    (folder / "inspect").symlink_to("/tmp")


def _card_of_unequal_lengths() -> dict[str, object]:
    example = {"item": "b", "position": 1, "token_on": "8", "token_off": "7", "direct": None}
    card = {"target": "L0H0", "dataset": "arithmetic", "ablation": "zero", "sentence": "", "behaviour": []}
    return card | {"mistakes": {}, "overlap": [], "examples": [example | {"tokens": ["5"], "attention": []}]}


_SAMPLING = {"samples": 10**12, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "verdict": "majority", "seed": 0}
_ALL_RIGHT = {"items": 2, "correct": 2, "accuracy": 1.0, "ci95": [0.3, 1.0]}
command_on("outcomes of another run", _other_outcomes)
command_on("an outcome that stands twice", _line_twice)
command_on("counts that the outcomes contradict", _change(datasets={"arithmetic": _ALL_RIGHT}))
command_on(
    "an item that was skipped and answered", _change(skipped=[{"dataset": "arithmetic", "item": "b", "reason": ""}])
)
command_on("a dataset that `run.json` lacks", _change(datasets={}))
command_on("a shard that cannot be", _change(shard="999/3"))
command_on("a model of more heads than there are", _change(model={"name": "x", "layers": 10**6, "heads": 10**6}))
command_on("a card whose example contradicts itself", _change(heads=[_card_of_unequal_lengths()]))
command_on("samples that are not as many as `run.json` says", _change(sampling=_SAMPLING))
command_on(
    "a run that lacks how answers end, at `export --format inspect`",
    *(_change(generation={}), "export", "{run}", "--format", "inspect"),
)
command_on("a folder of an export that is a link", _linked_export, "export", "{run}", "--format", "inspect")
command_on("a run that is a named pipe", _pipe_for_run)
command_on("outcomes that no memory holds", lambda folder: os.truncate(folder / "outcomes.jsonl", 2**42))
command_on("a `run.json` without end", lambda folder: os.truncate(folder / "run.json", 2**42))
command_on("a line of outcomes without end", _line_without_end)
command_on("a page that is a socket", _socket, "report", "{run}", "-o", "{run}/socket")
command_on("a page that is a folder", lambda folder: None, "report", "{run}", "-o", "{run}")
command_on("a page that is a pipe", lambda folder: os.mkfifo(folder / "pipe"), "report", "{run}", "-o", "{run}/pipe")
command_on(
    "a card of a head that a run did not switch off: `report DIR --describe L9H9`",
    *(lambda _: None, "report", "{run}", "--describe", "L9H9"),
)
command_on("figures without a page", lambda _: None, "report", "{run}", "-o", "/dev/stdout", "--figures")
command_on("a folder of figures that is a link", _linked_figures, "report", "{run}", "--figures")

# -- the tests --------------------------------------------------------------------------------------------------------

ROWS = list(rows())


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    named = [row.what for row in ROWS]
    assert sorted(named) == sorted(set(named))
    assert set(named) == set(WRONG)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"[^a-z0-9-]+", "-", row.what.lower()).strip("-"))
def test_what_is_said(row: Row, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", GOOD)
    object.__setattr__(project, "stderr", lambda: capsys.readouterr().err.strip())
    if row.what == "a device that is absent" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    if row.what == "a tokenizer whose files are missing" and int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("transformers 4 asks for a library first that would make the tokenizer")
    ending = WRONG[row.what](project)
    assert ending.code == row.code, ending.text
    if (row.code == 4 and "run the same command again" not in row.line) or row.code == 2:
        assert re.fullmatch(row.pattern(), ending.text), ending.text
        assert len(ending.text) < 1000
    else:
        assert re.search(row.pattern(), ending.text), ending.text


BEFORE_OR_AFTER = (
    "a folder without weights",
    "a `config.json` that is half there",
    "weights that are NaN",
    "weights that lack some",
)


@pytest.mark.parametrize("what", BEFORE_OR_AFTER)
def test_the_same_is_said_where_heads_are_to_be_switched_off(what: str, project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", GOOD)
    project.pytester.makeini("[pytest]\nablate_heads = true\n")
    (row,) = (row for row in ROWS if row.what == what)
    assert re.fullmatch(row.pattern(), WRONG[what](project).text)
