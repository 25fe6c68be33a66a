"""Checks quantised weights in the engine: ``python -m tests.integration.quantised_script FOLDER``.

The weights are torchao's int8; the oracle is the model with the dequantised float32 weights. The script runs in a
process of its own because torchao writes to stderr on import, and transformers imports it where it is installed.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_probe.data.items import Item
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models import loading, weights
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.heads import find_heads, verify_heads
from reasoning_probe.session.api import sweep
from tests.helpers.model_families import build
from tests.helpers.planted_model import planted

ITEMS = [Item(question=f"What is the colour of {word}?", answer=word, id=word) for word in ("3", "sky", "Max")]


def plain_weights(model: Any, original: Any) -> Any:
    """Return a copy of *original* with the dequantised weights of *model*."""
    twin = copy.deepcopy(original)
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        quantised = type(module.weight) is not torch.nn.Parameter
        plain = module.weight.dequantize() if quantised else module.weight
        with torch.no_grad():
            twin.get_submodule(name).weight.copy_(plain)
    return twin


def spoil(model: Any, value: float) -> None:
    """Set one scale of one quantised weight."""
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.scale.view(-1)[0] = value


def main(folder: Path) -> None:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import AutoModelForCausalLM, TorchAoConfig

    original = build("llama", hidden_size=64, intermediate_size=128, num_key_value_heads=4, head_dim=16)
    _, tokenizer = planted()
    original.save_pretrained(folder / "original")
    config = TorchAoConfig(Int8WeightOnlyConfig())
    quantised = AutoModelForCausalLM.from_pretrained(
        folder / "original", quantization_config=config, dtype=torch.float32
    )
    quantised.save_pretrained(folder / "small")
    tokenizer.save_pretrained(folder / "small")

    loaded = loading.load_model(loading.resolve_model(str(folder / "small")), "cpu")
    model = loaded.model
    weight_bytes = sum(tensor.nbytes for name, tensor in weights.tensors(model) if ".o_proj." in name)
    assert weight_bytes < 0.4 * sum(layer.self_attn.o_proj.weight.nbytes for layer in original.model.layers), (
        weight_bytes
    )

    mark = weights.fingerprint(model)
    assert mark != weights.fingerprint(original)
    assert mark == weights.fingerprint(loading.load_model(loading.resolve_model(str(folder / "small")), "cpu").model)
    weights.check_finite(model, "quantised")
    head_map = find_heads(model)
    assert head_map == find_heads(original)
    verify_heads(model, head_map)
    assert model_context(model, loaded.tokenizer, mark) is not None

    engine = LocalEngine(model, loaded.tokenizer, head_map)
    assert engine.path is not engine.plain, engine.why
    ours = sweep(model, loaded.tokenizer, ITEMS, max_new_tokens=6, ablation="zero,mean")
    theirs = sweep(plain_weights(model, original), tokenizer, ITEMS, max_new_tokens=6, ablation="zero,mean")
    assert len({outcome.response for outcome in ours}) > 3
    for one, other in zip(ours, theirs, strict=True):
        assert one.response == other.response, (one, other)
        assert abs(one.answer_logprob - other.answer_logprob) < 1e-3, (one, other)
    assert weights.fingerprint(model) == mark  # running it changed nothing

    spoil(model, 0.123)
    assert weights.fingerprint(model) != mark
    spoil(model, float("inf"))
    with pytest.raises(ModelError, match=r"hold NaN or infinity \(model\.layers\.1\.self_attn\.o_proj\.weight"):
        weights.check_finite(model, "quantised")
    print("passed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
