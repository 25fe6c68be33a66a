"""Scores of heads: planted heads have their labels, heads without a role and random models have none."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from reasoning_probe.analyses import prompt_scores as prompt_scores_module
from reasoning_probe.analyses.head_scores import ScoredHeads, labels_of, repeated_tokens, score_heads
from reasoning_probe.analyses.prompt_scores import AnsweredPrompt, answer_tokens
from reasoning_probe.models.attention_patterns import recorded_patterns
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.permuted_weights import permute_weights, query_key_features
from tests.helpers.model_families import build
from tests.helpers.planted_heads import ASKING, DECIDING, PLACES, ROLES, VOCABULARY, planted_heads, prompts

FUSED_AND_APART = ("gpt2", "llama", "falcon", "phi3", "gpt_neox", "deepseek_v3", "bloom", "bert")
"""Families that make queries, keys and values in one layer, in layers of their own, or in two steps."""


def scored(model: Any, seed: int = 0) -> ScoredHeads:
    tokens = repeated_tokens(VOCABULARY, seed, context=PLACES)
    return score_heads(model, find_heads(model), tokens, prompts(seed=seed), seed)


@pytest.fixture(scope="module")
def planted() -> ScoredHeads:
    return scored(planted_heads())


@pytest.mark.parametrize("role", ROLES)
def test_a_planted_head_has_its_label(planted: ScoredHeads, role: str) -> None:
    dataset = DECIDING if role == "deciding" else ASKING
    assert role in (planted.labels(dataset, ROLES[role]) or ())


def test_the_other_heads_have_no_label(planted: ScoredHeads) -> None:
    others = {(layer, head) for layer in range(3) for head in range(4)} - set(ROLES.values())
    assert [planted.labels(dataset, head) for dataset in (ASKING, DECIDING) for head in others] == [()] * 12
    assert planted.notes == ()


@pytest.mark.parametrize(("family", "seed"), [("gpt2", 0), ("llama", 1)])
def test_heads_of_random_models_have_no_label(family: str, seed: int) -> None:
    model = build(family, seed, vocab_size=VOCABULARY, max_position_embeddings=PLACES)
    result = scored(model, seed)
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    assert [result.labels(name, head) for name in (ASKING, DECIDING) for head in heads] == [()] * 24


@pytest.mark.parametrize("family", FUSED_AND_APART)
def test_permuted_weights_make_queries_and_keys_and_leave_with_the_context(family: str) -> None:
    model = build(family)
    head_map = find_heads(model)
    features = query_key_features(model, head_map)
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    permuted = permute_weights(model, features, seed=1)
    ids = torch.arange(11)[None] * 7 % 90 + 3
    patterns, values = [], []
    for context in (nullcontext(), permuted.swapped_in(), nullcontext()):
        with context, torch.no_grad(), recorded_patterns(model, head_map, values=True) as recorded:
            model(input_ids=ids, use_cache=False)
        patterns.append(recorded[0].weights)
        values.append(recorded[0].values)
    assert float((patterns[0] - patterns[1]).abs().max()) > 0.1
    torch.testing.assert_close(values[0], values[1])  # of the first layer, whose input is the same
    assert torch.equal(patterns[0], patterns[2])
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.state_dict().items())
    other = permute_weights(model, features, seed=1)
    assert all(torch.equal(weight, other.weights[path]) for path, weight in permuted.weights.items())


def test_random_tokens_are_said_twice_after_the_prefix_and_hold_nothing_special() -> None:
    tokens = repeated_tokens(40, 3, special=[1, 2], prefix=[1], context=31)
    assert (tokens.prefix, tokens.half, tokens.ids.shape) == (1, 15, (4, 31))
    for row in tokens.ids.tolist():
        assert row[0] == 1
        assert row[1:16] == row[16:]
        assert len({*row[1:16]}) == 15
        assert not {1, 2} & {*row[1:]}
    assert torch.equal(tokens.ids, repeated_tokens(40, 3, special=[1, 2], prefix=[1], context=31).ids)
    with pytest.raises(HeadError, match="too short"):
        repeated_tokens(40, 3, context=7)


def test_a_label_takes_the_threshold_and_the_quantile() -> None:
    scores = {"induction": 0.6, "previous_token": 0.45, "first_token": 0.8, "copying_eigenvalues": 0.9, "copying": 0.7}
    quantiles = {"induction": 0.5, "previous_token": 0.1, "first_token": 0.8, "copying_eigenvalues": 0.1}
    assert labels_of(scores, quantiles) == ("induction",)


def test_a_prompt_without_operands_has_no_retrieval(planted: ScoredHeads) -> None:
    assert "retrieval" in planted.of_head(ASKING, (0, 2))
    assert "retrieval" not in planted.of_head(DECIDING, (0, 2))
    assert answer_tokens([AnsweredPrompt((1, 2, 3), 1), AnsweredPrompt((1, 2, 4), 1)]) == (1, [3, 4])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "falcon", "bloom", "mixtral"])
def test_prompts_of_unlike_length_have_the_same_scores_in_one_pass_as_alone(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(family)
    answered = {
        "sums": [AnsweredPrompt((*range(5 + n, 12 + 2 * n), 7 + n, 9 + n), 7 + n, frozenset([2, 4])) for n in range(8)]
    }
    tokens = repeated_tokens(90, 0, context=40)
    together = score_heads(model, find_heads(model), tokens, answered)
    monkeypatch.setattr(prompt_scores_module, "MOST_TOKENS", 1)
    alone = score_heads(model, find_heads(model), tokens, answered)
    assert {"retrieval", "deciding"} <= set(alone.scores["sums"])
    for name, of_name in alone.scores["sums"].items():
        assert together.scores["sums"][name] == pytest.approx(of_name, abs=1e-6), name
    assert together.quantiles["sums"] == pytest.approx(alone.quantiles["sums"], abs=1e-6)
