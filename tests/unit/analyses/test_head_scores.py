"""Scores of heads: planted heads have their labels, heads without a role and random models have none."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.analyses.head_scores import (
    ScoredHeads,
    repeated_tokens,
    score_heads,
)
from reasoning_probe.models.heads import find_heads
from tests.helpers.planted_heads import ASKING, DECIDING, PLACES, ROLES, VOCABULARY, planted_heads, prompts


def scored(model: Any, seed: int = 0, count: int = 10) -> ScoredHeads:
    tokens = repeated_tokens(VOCABULARY, seed, context=PLACES)
    return score_heads(model, find_heads(model), tokens, prompts(count, seed), seed)


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
