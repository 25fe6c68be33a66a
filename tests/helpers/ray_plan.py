"""The planted model's sweep that the tests of clusters run, and the configuration of their replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reasoning_probe.cluster.replica import ReplicaConfig
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import weights
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.outcome import Outcome
from tests.helpers.planted_model import planted

MODEL, TOKENIZER = planted()
HEAD_MAP = find_heads(MODEL)
WORDS = ("sky", "grass", "snow", "3", "10", "6", "20")


def plan(*, ablations: tuple[str, ...] = ("zero", "mean")) -> list[SweepRequest]:
    items = [Item(question=f"What colour is the {word}?", answer="blue", id=word) for word in WORDS]
    items.append(Item(question="What is the " * 30, answer="blue", id="too-long"))
    ablated = tuple((target, name) for name in ablations for target in every_head(HEAD_MAP))
    return [SweepRequest(query("colours", item, Generation(8)), ablated) for item in items]


REFERENCES = {"colours": [request.query.prompt for request in plan()[:-1]]}


def replica_config(**changes: Any) -> ReplicaConfig:
    context = model_context(MODEL, TOKENIZER, weights.fingerprint(MODEL))
    assert context is not None
    config = ReplicaConfig(None, "cpu", "auto", None, None, 0, REFERENCES, HEAD_MAP, context)
    return replace(config, **changes)


def by_case(outcomes: list[Outcome]) -> dict[tuple[str, ...], Outcome]:
    cases: dict[tuple[str, ...], Outcome] = {
        (outcome.item, outcome.target, str(outcome.ablation)): outcome for outcome in outcomes
    }
    assert len(cases) == len(outcomes)  # none twice
    return cases


def same(ours: list[Outcome], theirs: list[Outcome]) -> bool:
    one, other = by_case(ours), by_case(theirs)
    assert one.keys() == other.keys()
    for key, outcome in one.items():
        assert outcome.answer_logprob == pytest.approx(other[key].answer_logprob, abs=1e-4)
        assert replace(outcome, answer_logprob=None) == replace(other[key], answer_logprob=None)
    return True
