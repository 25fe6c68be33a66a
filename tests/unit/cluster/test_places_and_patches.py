"""Heads that are off at one place, or patched, on several machines: the outcomes are those of one engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from reasoning_probe.cluster import cluster_engine
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data.items import Donor, Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models.targets import every_head
from tests.helpers.ray_plan import HEAD_MAP, MODEL, REFERENCES, TOKENIZER, WORDS, replica_config, same
from tests.unit.cluster.test_cluster_engine import InProcess

PLACES = ("all", "prompt", "answer", "last", "thing")


def asked(word: str, other: str) -> Query:
    """Return a question about *word*, whose donors ask about *other* and about *word* in another way."""
    question, start = f"What colour is the {word}?", len("What colour is the ")
    item = Item(
        question=question,
        answer="blue",
        id=word,
        counterfactual=Donor(question=f"What colour is the {other}?", answer="green"),
        parts={"thing": ((start, start + len(word)),)},
    )
    donors = tuple(
        (arm, query("colours", Item(question=text, answer="blue"), Generation(8)).prompt)
        for arm, text in (
            ("counterfactual", f"What colour is the {other}?"),
            ("same_answer", f"What colour is that {word}?"),
        )
    )
    plain_query = query("colours", item, Generation(8))
    start = plain_query.prompt.index(question)
    return replace(plain_query, donors=donors, question_start=start)  # type: ignore[arg-type]


def plan(*ablations: str) -> list[SweepRequest]:
    ablated = tuple((target, name) for name in ablations for target in every_head(HEAD_MAP))
    pairs = zip(WORDS, (*WORDS[1:], WORDS[0]), strict=True)
    return [SweepRequest(asked(word, other), ablated) for word, other in pairs]


@pytest.mark.parametrize(
    ("where", "ablations"),
    [
        *((where, ("zero", "mean")) for where in PLACES),
        *((where, ("patch", "patch-same")) for where in ("all", "thing")),
    ],
)
def test_outcomes_are_those_of_one_engine(
    monkeypatch: pytest.MonkeyPatch, where: str, ablations: tuple[str, ...]
) -> None:
    """Two of three replicas die on the way."""
    alone = LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES, where=where)
    expected = list(chain(*alone.run(plan(*ablations))))
    everywhere = list(chain(*LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES).run(plan(*ablations))))
    monkeypatch.setattr(cluster_engine, "ActorPool", type("Pool", (InProcess,), {"chance": 0.2, "seed": 3}))
    config = replica_config(where=where)
    shared = cluster_engine.ClusterEngine(ClusterSpec(), config, (MODEL, TOKENIZER), chunk_rows=20)
    outcomes = list(chain(*shared.run(plan(*ablations))))
    assert len(outcomes) == len(WORDS) * (1 + len(ablations) * len(every_head(HEAD_MAP)))
    assert same(outcomes, expected)
    assert shared.skipped == []
    assert shared.facts()["lost"] > 0
    changed = [one for one, other in zip(expected, everywhere, strict=True) if one != other]
    assert bool(changed) is (where in ("answer", "thing")), "the planted head reads the prompt's last token"
