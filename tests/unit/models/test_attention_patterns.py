"""Attention patterns: equal to those that transformers gives out, in every family that gives them out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reasoning_probe.models.attention_patterns import Patterns, recorded_patterns
from reasoning_probe.models.head_map import HeadError, HeadMap
from reasoning_probe.models.heads import find_heads
from tests.helpers.model_families import FAMILIES, build

TOKENS, SOME = 11, [4, 9]
IDS = torch.arange(2 * TOKENS).view(2, TOKENS) * 7 % 90 + 3  # (rows, tokens)


def recorded(model: Any, head_map: HeadMap, queries: list[int] | None = None, *, values: bool = False) -> Patterns:
    with torch.no_grad(), recorded_patterns(model, head_map, queries, values=values) as patterns:
        model(input_ids=IDS, use_cache=False)
    return patterns


@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_are_those_of_output_attentions(family: str) -> None:
    eager = build(family, attn_implementation="eager")
    head_map = find_heads(eager)
    with torch.no_grad():
        expected = eager(input_ids=IDS, use_cache=False, output_attentions=True).attentions
    assert len(expected) == 3
    for model in (eager, build(family)):
        patterns, of_some = recorded(model, head_map, values=True), recorded(model, head_map, SOME)
        for site, attention in zip(head_map.attention_layers, expected, strict=True):
            pattern = patterns[site.layer]
            torch.testing.assert_close(pattern.weights, attention[..., :TOKENS], atol=1e-5, rtol=0)
            torch.testing.assert_close(of_some[site.layer].weights, pattern.weights[:, :, SOME], atol=1e-6, rtol=0)
            torch.testing.assert_close(pattern.weights.sum(-1) + pattern.sinks, torch.ones(2, 4, TOKENS))
            assert bool((pattern.sinks > 0.001).any()) == (family == "gpt_oss")
            assert pattern.values is not None


def test_a_layer_without_one_pattern_has_none() -> None:
    model = build("llama")
    head_map = find_heads(model)
    head_map = HeadMap((head_map.attention_layers[0],))
    twice = model.model.layers[0].self_attn.v_proj.register_forward_hook(
        lambda module, args, output: output + 0 * torch.softmax(torch.ones(2, 4, TOKENS, TOKENS), -1).sum()
    )
    patterns = recorded(model, head_map)
    twice.remove()
    with pytest.raises(HeadError, match="layer 0: 2 patterns of its heads ran, not one"):
        patterns[0]
