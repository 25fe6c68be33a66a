"""Attention patterns: equal to those that transformers gives out, in every family that gives them out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reasoning_probe.models.attention_patterns import recorded_patterns
from reasoning_probe.models.heads import find_heads
from tests.helpers.model_families import FAMILIES, build

TOKENS = 11
IDS = torch.arange(2 * TOKENS).view(2, TOKENS) * 7 % 90 + 3  # (rows, tokens)


def eager_attentions(family: str) -> Any:
    """Return what transformers gives out of a family's attention, ``None`` where it gives nothing."""
    model = build(family, attn_implementation="eager")
    with torch.no_grad():
        attentions = model(input_ids=IDS, use_cache=False, output_attentions=True).attentions
    return None if not attentions or attentions[0] is None else attentions


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_patterns_are_those_of_output_attentions(family: str, implementation: str) -> None:
    try:
        model = build(family, attn_implementation=implementation)
    except ValueError as error:
        assert "does not support" in str(error)
        return
    head_map = find_heads(model)
    with torch.no_grad(), recorded_patterns(model, head_map) as patterns:
        model(input_ids=IDS, use_cache=False)
    with torch.no_grad(), recorded_patterns(model, head_map, [4, 9]) as of_two:
        model(input_ids=IDS, use_cache=False)
    expected = eager_attentions(family)
    for index, site in enumerate(head_map.attention_layers):
        pattern = patterns[site.layer]
        assert pattern.weights.shape == (2, site.heads, TOKENS, TOKENS)
        torch.testing.assert_close(pattern.weights.sum(-1) + pattern.sinks, torch.ones(2, site.heads, TOKENS))
        torch.testing.assert_close(of_two[site.layer].weights, pattern.weights[:, :, [4, 9]], atol=1e-6, rtol=0)
        if expected is not None:
            torch.testing.assert_close(pattern.weights, expected[index][..., :TOKENS], atol=1e-5, rtol=0)
        assert bool((pattern.sinks > 0.001).any()) == (family == "gpt_oss")
