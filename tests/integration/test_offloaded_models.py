"""Tests that models offloaded to CPU memory or disk, divided by a device map, or quantised get the same answers.

The oracle is the same model in one piece; for quantised weights, the same model with the dequantised weights.
"""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from reasoning_probe.data.items import Item
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models import loading, weights
from reasoning_probe.models.device_map import DeviceMap, parse_device_map
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.heads import find_heads, verify_heads
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.session.api import sweep
from tests.helpers.model_families import build
from tests.helpers.planted_model import planted
from tests.helpers.project import ROOT, Project

WORDS = ("3", "sky", "Max")
ITEMS = [Item(question=f"What is the colour of {word}?", answer=word, id=word) for word in WORDS]


def on_cpu(model: Any, folder: Path) -> Any:
    from accelerate import cpu_offload

    return cpu_offload(model, execution_device=torch.device("cpu"))


def on_disk(model: Any, folder: Path) -> Any:
    from accelerate import disk_offload

    return disk_offload(model, str(folder / "weights"), execution_device=torch.device("cpu"))


def in_parts(model: Any, folder: Path) -> Any:
    """Keep the embedding in memory and the rest on disk, as a device map does where memory is short."""
    from accelerate import dispatch_model

    first = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is first)
    others = {path.rpartition(".")[0] for path, _ in model.named_parameters() if not path.startswith(f"{name}.")}
    device_map = {name: "cpu"} | dict.fromkeys(sorted(others), "disk")
    return dispatch_model(model, device_map, main_device="cpu", offload_dir=str(folder / "weights"), force_hooks=True)


OFFLOADS = pytest.mark.parametrize("offload", [on_cpu, on_disk, in_parts], ids=lambda offload: offload.__name__)

EVERY_WAY = pytest.mark.parametrize(
    ("family", "offload"),
    [
        ("llama", on_cpu),
        ("llama", on_disk),
        ("llama", in_parts),
        ("gpt2", in_parts),
        ("gpt_neox", on_disk),
        ("opt", on_cpu),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)


def small(family: str) -> tuple[Any, Any]:
    """Return a small model of *family* and the planted model's tokenizer, which has fewer tokens than the model."""
    return build(family), planted()[1]


def outcomes(model: Any, tokenizer: Any, **options: Any) -> list[Outcome]:
    return sweep(model, tokenizer, ITEMS, max_new_tokens=4, **options)


def same(ours: list[Outcome], theirs: list[Outcome], tolerance: float = 1e-4) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=tolerance)
        assert replace(one, answer_logprob=None) == replace(other, answer_logprob=None)


@EVERY_WAY
def test_an_offloaded_model_answers_as_it_does_in_one_piece(
    family: str, offload: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    model, tokenizer = small(family)
    alone = outcomes(model, tokenizer, ablation="zero,mean")
    away = offload(copy.deepcopy(model), tmp_path)
    assert any(parameter.is_meta for parameter in away.parameters())
    assert weights.offloaded(away)
    assert not weights.offloaded(model)
    assert len({outcome.response for outcome in alone}) > 3
    same(outcomes(away, tokenizer, ablation="zero,mean"), alone)


@OFFLOADS
def test_the_fast_path_takes_an_offloaded_model(offload: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    model, tokenizer = small("llama")
    paths = []
    for each in (model, offload(copy.deepcopy(model), tmp_path)):
        engine = LocalEngine(each, tokenizer, find_heads(each))
        assert engine.path is not engine.plain
        paths.append((engine.path_name, engine.why))
    assert paths[0] == paths[1]


@EVERY_WAY
def test_fingerprint_and_context_are_of_the_numbers_wherever_they_are(
    family: str, offload: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    model, tokenizer = small(family)
    away = offload(copy.deepcopy(model), tmp_path)
    mark = weights.fingerprint(model)
    assert weights.fingerprint(away) == mark
    context = model_context(model, tokenizer, mark)
    assert context is not None
    assert model_context(away, tokenizer, mark) == context
    assert weights.device_of(away) == torch.device("cpu")


@OFFLOADS
def test_one_changed_weight_changes_the_fingerprint(offload: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    model, _ = small("llama")
    mark = weights.fingerprint(model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] += 1e-6
    assert weights.fingerprint(offload(model, tmp_path)) != mark


@OFFLOADS
def test_an_infinite_weight_is_seen_on_disk(offload: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    model, _ = small("llama")
    weights.check_finite(offload(copy.deepcopy(model), tmp_path / "good"), "good")
    with torch.no_grad():
        model.model.layers[2].self_attn.o_proj.weight[0, 1] = float("nan")
    with pytest.raises(
        ModelError, match=r"the weights of bad hold NaN or infinity \(model\.layers\.2\.self_attn\.o_proj"
    ):
        weights.check_finite(offload(model, tmp_path / "bad"), "bad")


@EVERY_WAY
def test_the_heads_of_an_offloaded_model_are_proved(
    family: str, offload: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    model, _ = small(family)
    head_map = find_heads(model)
    away = offload(copy.deepcopy(model), tmp_path)
    assert find_heads(away) == head_map
    verify_heads(away, head_map)


def test_a_weight_without_data_is_no_fingerprint() -> None:
    with torch.device("meta"):
        empty = build("llama")
    with pytest.raises(ModelError, match=r"the weight lm_head\.weight of LlamaForCausalLM cannot be read"):
        weights.fingerprint(empty)


# -- device maps ------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model, tokenizer = small("llama")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("device_map", ["auto", "cpu=60KB"], ids=["all fits", "half goes to disk"])
def test_a_model_loaded_in_parts_is_the_model(saved: Path, device_map: str) -> None:
    source = loading.resolve_model(str(saved))
    alone = loading.load_model(source, "cpu")
    divided = loading.load_model(source, "cpu", device_map=parse_device_map(device_map))
    assert weights.offloaded(divided.model) == (device_map != "auto")
    assert (divided.device, divided.dtype) == (alone.device, alone.dtype)
    assert weights.fingerprint(divided.model) == weights.fingerprint(alone.model)
    same(outcomes(divided.model, divided.tokenizer), outcomes(alone.model, alone.tokenizer))


def test_a_model_no_part_of_which_fits_into_memory_is_read_from_disk(saved: Path) -> None:
    source, nothing = loading.resolve_model(str(saved)), parse_device_map("cpu=1KB")
    if transformers.__version__.startswith("4."):
        with pytest.raises(ModelError, match=r"no part of it fits into what --probe-device-map allows: allow more, or"):
            loading.load_model(source, "cpu", device_map=nothing)
        return
    divided = loading.load_model(source, "cpu", device_map=nothing)
    assert set(divided.model.hf_device_map.values()) == {"disk"}
    alone = loading.load_model(source, "cpu")
    same(outcomes(divided.model, divided.tokenizer), outcomes(alone.model, alone.tokenizer))


def test_a_session_of_a_model_in_parts(project: Project) -> None:
    project.probe("logic")
    common = ("--probe-heads=L0,L1H2", "--probe-device=cpu")
    project.run(*common, "--probe-dir=one").assert_outcomes(passed=7, failed=1, xfailed=4)
    again = project.run(*common, "--probe-device-map=cpu=250KB", "--probe-dir=two")
    again.stdout.fnmatch_lines(["*12 outcomes known from earlier runs*"])  # it is the same model
    fresh = project.run(*common, "--probe-device-map=cpu=250KB", "--probe-fresh", "--probe-dir=three")
    fresh.assert_outcomes(passed=7, failed=1, xfailed=4)
    fresh.stdout.no_fnmatch_line("*warning*")
    assert project.outcomes("three") == project.outcomes("one")


def test_offloaded_weights_leave_nothing_behind(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loaded: Any = loading.load_model(
        loading.resolve_model(str(saved)), "cpu", "bfloat16", device_map=parse_device_map("cpu=30KB")
    )
    (folder,) = tmp_path.glob("reasoning-probe-weights-*")
    del loaded
    gc.collect()
    assert not folder.exists()


def test_an_adapter_is_not_merged_into_parts(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    text = f'{{"base_model_name_or_path": "{saved}"}}'
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"cannot be merged into a model that lies in parts: merge it first"):
        loading.load_model(loading.resolve_model(str(tmp_path / "adapter")), "cpu", device_map=DeviceMap())


@pytest.mark.parametrize(
    ("text", "device_map"),
    [
        ("auto", DeviceMap()),
        ("sequential", DeviceMap("sequential")),
        ("0=20GB, cuda:1=1.5GiB,cpu=60GB", DeviceMap("auto", ((0, 20 * 10**9), (1, 3 * 2**29), ("cpu", 60 * 10**9)))),
    ],
)
def test_device_maps(text: str, device_map: DeviceMap) -> None:
    assert parse_device_map(text) == device_map


@pytest.mark.parametrize("text", ["", "cuda", "0=", "0=20", "cpu", "tpu=1GB", "cpu=1GB,", "0=-1GB", "٣=1GB"])
def test_device_maps_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"write auto, or sizes such as 0=20GB,cpu=60GB"):
        parse_device_map(text)


# -- quantised weights ------------------------------------------------------------------------------------------------


def test_quantised_weights_pass_through_the_same_engine(tmp_path: Path) -> None:
    if importlib.util.find_spec("torchao") is None:
        pytest.skip("torchao is not installed")
    command = [sys.executable, "-m", "tests.integration.quantised_script", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.split()[-1] == "passed"
