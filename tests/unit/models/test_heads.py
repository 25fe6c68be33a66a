"""Heads are found by watching the model run, on the meta device too, and verified on the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForCausalLM

from reasoning_probe.models.ablation import ablate
from reasoning_probe.models.head_map import HeadError, HeadMap
from reasoning_probe.models.heads import find_heads, verify_heads
from reasoning_probe.models.targets import Target
from tests.helpers.model_families import FAMILIES, build, config_of


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_its_heads_found_and_proved(family: str) -> None:
    model = build(family)
    head_map = find_heads(model)
    assert head_map.layers == (0, 1, 2)
    assert {attention_layer.heads for attention_layer in head_map.attention_layers} == {4}
    for attention_layer in head_map.attention_layers:
        projection = model.get_submodule(attention_layer.path)
        width = getattr(projection, "in_features", None) or projection.weight.shape[0]
        assert attention_layer.heads * attention_layer.head_dim == width
        assert attention_layer.path.startswith(attention_layer.block + ".")
    verify_heads(model, head_map)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_without_weights_has_the_same_heads(family: str) -> None:
    config = config_of(family)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    assert find_heads(skeleton) == find_heads(build(family))


def test_head_dim_is_the_projections_not_the_hidden_sizes() -> None:
    """Qwen3's projection input is wider than its hidden size: hidden_size // heads would be 8."""
    head_map = find_heads(build("qwen3"))
    assert {attention_layer.head_dim for attention_layer in head_map.attention_layers} == {16}


def test_a_model_without_attention_gets_a_clear_line() -> None:
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=2, state_size=4, vocab_size=50)
    with pytest.raises(HeadError, match="has no attention heads"):
        find_heads(AutoModelForCausalLM.from_config(config).eval())


def test_a_hybrid_has_exactly_its_attention_layers() -> None:
    config = AutoConfig.for_model(
        "jamba",
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_layer_period=3,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        num_experts=2,
        num_experts_per_tok=1,
        mamba_d_state=4,
        mamba_dt_rank=4,
        use_mamba_kernels=False,
        pad_token_id=0,
    )
    head_map = find_heads(AutoModelForCausalLM.from_config(config).eval())
    assert head_map.layers == (1, 4)


def test_the_users_attention_implementation_is_left_alone() -> None:
    for implementation in ("eager", "sdpa"):
        model = build("llama")
        model.set_attn_implementation(implementation)
        verify_heads(model, find_heads(model))
        assert model.config._attn_implementation == implementation


class Curved(nn.Linear):
    """A projection in which the heads do not simply add up."""

    def forward(self, x: Any) -> Any:
        return torch.tanh(super().forward(x))


class Residual(nn.Linear):
    """A projection whose output is not its bias where its input is zero."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) + 1.0


@pytest.mark.parametrize(
    ("projection", "says"),
    [(Curved, "not the sum of its heads"), (Residual, "more than its bias")],
    ids=["curved", "residual"],
)
def test_the_proof_fails_where_zeroing_a_slice_is_not_switching_off_a_head(projection: Any, says: str) -> None:
    model = build("llama")
    old = model.model.layers[1].self_attn.o_proj
    new = projection(old.in_features, old.out_features, bias=False)
    new.weight = old.weight
    model.model.layers[1].self_attn.o_proj = new
    with pytest.raises(HeadError, match=says):
        verify_heads(model, find_heads(model))


class Inside(nn.Module):
    """A module in the projection's place that holds the projection and calls it through *call*."""

    def __init__(self, old: nn.Linear, call: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.inner, self.call = old, call

    def forward(self, x: Any) -> Any:
        return self.call(self.inner, x)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda inner, x: inner(x.flatten(0, 1)).view(*x.shape[:2], -1), r"takes an input of shape \(7, \d+\)"),
        (lambda inner, x: inner(x) + inner(x), "ran 2 times in one pass"),
    ],
    ids=["flat", "twice"],
)
def test_the_proof_fails_where_a_projection_is_called_otherwise(call: Any, says: str) -> None:
    model = build("llama")
    attention = model.model.layers[1].self_attn
    attention.o_proj = Inside(attention.o_proj, call)
    with pytest.raises(HeadError, match=f"o_proj.inner {says}"):
        verify_heads(model, find_heads(model))


def test_a_projection_that_says_it_takes_other_features_is_refused() -> None:
    model = build("llama")
    head_map = find_heads(model)
    model.model.layers[1].self_attn.o_proj.in_features = 7
    with pytest.raises(HeadError, match="takes 7 features, not 4 heads"):
        verify_heads(model, head_map)


class Gated(nn.Module):
    """A projection behind a gate and a router of a few features."""

    def __init__(self, old: nn.Linear) -> None:
        super().__init__()
        self.router, self.gate, self.last = nn.Linear(3, 1), nn.Linear(old.in_features, old.in_features), old

    def forward(self, x: Any) -> Any:
        return self.last(x * self.gate(x).sigmoid() * self.router(x[..., :3]).sigmoid())


def test_the_last_linear_layer_of_the_attention_is_its_projection() -> None:
    model = build("llama")
    for layer in model.model.layers:
        layer.self_attn.o_proj = Gated(layer.self_attn.o_proj)
    head_map = find_heads(model)
    assert [attention_layer.path for attention_layer in head_map.attention_layers] == [
        f"model.layers.{layer}.self_attn.o_proj.last" for layer in range(3)
    ]
    verify_heads(model, head_map)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        split = x.view(1, -1, 2, 4).transpose(1, 2)  # (1, heads, tokens, head_dim)
        return self.out(scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(2))


class Custom(nn.Module):
    """A model outside transformers with *parts* that run one after the other."""

    def __init__(self, parts: nn.Module, looks: bool = False) -> None:
        super().__init__()
        self.embed, self.parts, self.looks = nn.Embedding(20, 8), parts, looks
        self.config = AutoConfig.for_model("gpt2", vocab_size=20, n_head=2)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    def forward(self, input_ids: Any, use_cache: bool) -> Any:
        x = self.embed(input_ids)
        for part in self.parts.children():
            x = part(x)
        return x if not self.looks or x[0, 0].tolist() == [] else x + 1


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (nn.ModuleDict({"only": Attention()}), "parts.only.out is in no numbered layer"),
        (nn.ModuleList([nn.Sequential(Attention(), Attention())]), "several attention modules in a layer"),
    ],
    ids=["no-number", "two"],
)
def test_what_no_target_could_name_is_refused(parts: Any, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        find_heads(Custom(parts))


def test_a_model_that_looks_at_its_values_cannot_be_seen_without_weights() -> None:
    with torch.device("meta"), pytest.raises(HeadError, match=r"Custom cannot be run without its weights.* meta "):
        find_heads(Custom(nn.ModuleList([Attention()]), looks=True))


def test_what_a_model_with_weights_raises_is_its_own() -> None:
    with pytest.raises(RuntimeError, match="indices"):
        find_heads(Custom(nn.ModuleList([nn.Embedding(2, 8)])))


def test_a_config_that_lies_about_its_heads_is_refused() -> None:
    model = build("llama")
    model.config.num_attention_heads = 8
    with pytest.raises(HeadError, match="the config says 8 heads"):
        find_heads(model)


def test_a_layer_that_runs_twice_has_no_single_targets() -> None:
    model = build("llama")
    model.model.layers[2] = model.model.layers[1]
    with pytest.raises(HeadError, match="more than once"):
        find_heads(model)


def test_an_empty_target_changes_no_bit() -> None:
    model = build("gpt2")
    ids = torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids).logits
    with ablate(model, find_heads(model), [Target("nothing", frozenset())]):
        assert torch.equal(model(input_ids=ids).logits, before)


def test_a_batch_of_another_size_is_refused_not_passed_over() -> None:
    model = build("gpt2")
    head_map = find_heads(model)
    rows = [Target("L0H0", frozenset({(0, 0)}))] * 2
    with ablate(model, head_map, rows), pytest.raises(HeadError, match="for 2 rows"):
        model(input_ids=torch.tensor([[5, 6, 7]]))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_an_unknown_layer_has_no_site() -> None:
    with pytest.raises(KeyError):
        HeadMap(()).attention_layer(3)
