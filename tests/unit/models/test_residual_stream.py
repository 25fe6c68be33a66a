"""What heads and MLPs write to the logits, against formulas written out here for six shapes of models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.hooks import first_tensor
from reasoning_probe.models.residual_stream import MLP, Component, DirectPaths, recorded_stream
from tests.helpers.model_families import FAMILIES, build

PLACES = [3, 10]
IDS = torch.arange(11)[None] * 7 % 90 + 3  # (1, tokens)
ON, OFF = [5, 40], [9, 41]

# Of each shape: the layer's path, then its projection, its MLP, and the final norm.
SHAPES = {
    "gpt2": ("transformer.h.{}", "attn.c_proj", "mlp", "transformer.ln_f"),
    "llama": ("model.layers.{}", "self_attn.o_proj", "mlp", "model.norm"),
    "gemma2": ("model.layers.{}", "self_attn.o_proj", "mlp", "model.norm"),
    "mixtral": ("model.layers.{}", "self_attn.o_proj", "mlp", "model.norm"),
    "falcon": ("transformer.h.{}", "self_attention.dense", "mlp", "transformer.ln_f"),
    "phi": ("model.layers.{}", "self_attn.dense", "mlp", "model.final_layernorm"),
}
BEHIND = {"gemma2": ("post_attention_layernorm", "post_feedforward_layernorm")}
"""The norms behind a layer's attention and its MLP."""


def rough(family: str, **changes: Any) -> Any:
    """Return a random model whose norms and biases differ from 1 and 0."""
    model = build(family, **changes)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return model


def measured(model: Any) -> list[dict[Component, float]]:
    head_map = find_heads(model)
    with torch.no_grad(), recorded_stream(model, head_map, PLACES) as record:
        model(input_ids=IDS, use_cache=False)
    return DirectPaths(model, head_map, record).logit_differences(ON, OFF)


def frozen(norm: Any, part: Tensor, whole: Tensor) -> Tensor:
    """Return what *norm* makes of a *part* of its input, by the formulas of LayerNorm, RMSNorm and Gemma's."""
    if isinstance(norm, torch.nn.LayerNorm):
        scale = (whole.var(unbiased=False) + norm.eps).sqrt()
        return (part - part.mean()) / scale * norm.weight
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    gains = 1 + norm.weight if "Gemma" in type(norm).__name__ else norm.weight
    return part / (whole.square().mean() + epsilon).sqrt() * gains


@pytest.mark.parametrize("family", SHAPES)
@torch.no_grad()
def test_parts_of_the_logits_are_those_of_the_formulas(family: str) -> None:
    model = rough(family)
    block, projection, mlp, final = SHAPES[family]
    modules = {
        name: model.get_submodule(name)
        for layer in range(3)
        for name in (f"{block.format(layer)}.{part}" for part in (projection, mlp, *BEHIND.get(family, ())))
    } | {final: model.get_submodule(final)}
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: Any, args: Any, output: Any) -> None:
            hidden = first_tensor(output)
            assert hidden is not None
            seen[name] = args[0][0].clone(), hidden[0].clone()  # Falcon adds to its MLP's output in place

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    logits = model(input_ids=IDS, use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    parts = measured(model)
    for row, place in enumerate(PLACES):
        direction = model.lm_head.weight[ON[row]] - model.lm_head.weight[OFF[row]]

        def along(written: Tensor, place: int = place, direction: Tensor = direction) -> float:
            return float(frozen(modules[final], written, seen[final][0][place]) @ direction)

        expected = {}
        for layer in range(3):
            of_layer = block.format(layer)
            x, output = (tensor[place] for tensor in seen[f"{of_layer}.{projection}"])
            weight = modules[f"{of_layer}.{projection}"].weight
            weight = weight.T if family == "gpt2" else weight  # (hidden, heads * head_dim)
            size = weight.shape[1] // 4
            heads = [weight[:, h * size : (h + 1) * size] @ x[h * size : (h + 1) * size] for h in range(4)]
            added = seen[f"{of_layer}.{mlp}"][1].view(len(IDS[0]), -1)[place]
            if family in BEHIND:
                behind, behind_mlp = (f"{of_layer}.{name}" for name in BEHIND[family])
                heads = [frozen(modules[behind], head, output) for head in heads]
                added = frozen(modules[behind_mlp], added, added)
            expected |= {(layer, number): along(head) for number, head in enumerate(heads)}
            expected[layer, MLP] = along(added)
        assert parts[row] == pytest.approx(expected, abs=1e-4, rel=1e-4)
        assert max(map(abs, expected.values())) > 0.05
    assert logits.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_parts_that_sum_to_its_logits_or_says_why_not(family: str) -> None:
    model = rough(family)
    if family in ("bert", "openai-gpt"):  # their norms stand in the stream itself
        with pytest.raises(HeadError, match=r"layer 0: .* residual stream"):
            measured(model)
    else:
        assert len(measured(model)[0]) == 15  # four heads and an MLP in each of three layers: their sum is proved


def test_a_layer_whose_parts_are_scaled_is_measured() -> None:
    parts = measured(rough("granite", residual_multiplier=0.5))
    assert len(parts[0]) == 15


def test_what_does_not_sum_to_the_logits_is_refused() -> None:
    model = rough("llama")
    head_map = find_heads(model)
    with torch.no_grad(), recorded_stream(model, head_map, PLACES) as record:
        model(input_ids=IDS, use_cache=False)
    assert record.logits is not None
    record.logits[0, ON[0]] += 0.1
    with pytest.raises(HeadError, match="do not sum to them"):
        DirectPaths(model, head_map, record).logit_differences(ON, OFF)
