"""Sampled answers and thoughts on several machines: the answers are those of one engine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pytest

from reasoning_probe.cluster import cluster_engine
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.data.prompts.sampling import Sampling
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.multiple_choice import run_multiple_choice
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.engine.sampled_answers import run_samples
from reasoning_probe.engine.thoughts import Thinking, run_thoughts
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.answer import Answer
from tests.helpers.ray_plan import HEAD_MAP, MODEL, REFERENCES, TOKENIZER, WORDS, replica_config
from tests.unit.cluster.test_cluster_engine import InProcess

SAMPLING = Sampling(3, temperature=20.0, top_p=0.9)
"""So warm that the planted model's samples differ."""

THINKING = Thinking(4, (("colour", "?"),))
"""The planted model's prompts end in ``Answer:``; the mark is put before it answers."""


def plan() -> list[SweepRequest]:
    ablated = tuple((target, "zero") for target in every_head(HEAD_MAP))
    requests = []
    for word in WORDS:
        asked = query("colours", Item(question=f"What colour is the {word}?", answer="blue", id=word), Generation(6))
        requests.append(SweepRequest(replace(asked, prompt=f"{asked.prompt} colour"), ablated))
    return requests


def by_case(engine: Engine, samples: bool, thoughts: bool) -> dict[tuple[Any, ...], Answer]:
    ask: Any = partial(run_thoughts, thinking=THINKING) if thoughts else run_multiple_choice
    batches = run_samples(engine, plan(), SAMPLING.draws(0), ask) if samples else ask(engine, plan())
    answers = {}
    for answer in chain(*batches):
        draw = answer.query.draw
        key = (answer.item, answer.target, answer.ablation, draw and draw.sample)
        assert key not in answers, "an answer came twice"
        answers[key] = answer
    return answers


@pytest.mark.parametrize(("samples", "thoughts"), [(True, False), (False, True), (True, True)])
def test_answers_are_those_of_one_engine(monkeypatch: pytest.MonkeyPatch, samples: bool, thoughts: bool) -> None:
    """Replicas die on the way."""
    expected = by_case(LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), samples, thoughts)
    monkeypatch.setattr(cluster_engine, "ActorPool", type("Pool", (InProcess,), {"chance": 0.2, "seed": 3}))
    shared = cluster_engine.ClusterEngine(ClusterSpec(), replica_config(), (MODEL, TOKENIZER), chunk_rows=8)
    answers = by_case(shared, samples, thoughts)
    assert len(answers) == len(WORDS) * (1 + len(every_head(HEAD_MAP))) * (SAMPLING.samples if samples else 1)
    assert answers.keys() == expected.keys()
    for key, answer in answers.items():
        other = expected[key]
        assert (answer.response, answer.query.thought) == (other.response, other.query.thought)
        assert answer.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-4)
    assert shared.facts()["lost"] > 0
    assert not thoughts or all(answer.query.thought is not None for answer in answers.values())
    if samples:
        assert any(answers[key].response != answers[(*key[:3], 0)].response for key in answers)
