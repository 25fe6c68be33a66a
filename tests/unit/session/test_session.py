"""Tests a session without pytest: cases outside its plan, in another order, or after the model raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models.head_map import HeadError, HeadMap
from reasoning_probe.session.plan import Case
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.planted_model import CARRIER, planted

COLOURS = {"sky": ("blue", True), "grass": ("green", True), "snow": ("white", False)}
"""The right answers, and whether the planted model's answer is right."""


@pytest.fixture
def session() -> ProbeSession:
    """A session of three questions with the carrier ablated, before anything is planned."""
    new = ProbeSession(Settings(heads=CARRIER))
    new.model_runner.use(planted())
    items = [
        Item(id=word, question=f"What colour is the {word}?", answer=right) for word, (right, _) in COLOURS.items()
    ]
    new.dataset("colours", items)
    return new


def cases(session: ProbeSession) -> dict[tuple[str, str], Case]:
    return {(str(case.item.id), case.target_name): case for case in session.cases(session.datasets["colours"])}


def test_a_case_outside_of_the_plan_is_answered_too(session: ProbeSession) -> None:
    every = cases(session)
    session.select([every["sky", "baseline"]])
    assert session.outcome(every["sky", "baseline"]).correct  # type: ignore[union-attr]
    assert {key[1] for key in session.outcomes} == {"sky"}
    off = session.outcome(every["snow", CARRIER])
    assert off is not None
    assert off.answer == "Unknown"
    assert session.baseline_of(off).answer == "black"  # type: ignore[union-attr]
    assert {key[1] for key in session.outcomes} == {"sky", "snow"}


@pytest.mark.parametrize("whole", [True, False])
def test_an_item_at_which_the_model_raises_costs_no_other(
    session: ProbeSession, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    run = LocalEngine.run

    def raising(self: LocalEngine, plan: Any) -> Iterator[Any]:
        for work in plan:
            if work.query.item_id == "sky":
                raise RuntimeError("the sky is too wide")
            yield from run(self, [work])

    monkeypatch.setattr(LocalEngine, "run", raising)
    every = cases(session)
    session.select(every.values())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="too wide"):
            session.outcome(every["sky", "baseline"], whole_plan=whole)
    for word in ("snow", "grass"):  # out of the plan's order
        outcome = session.outcome(every[word, "baseline"], whole_plan=False)
        assert outcome is not None
        assert outcome.correct == COLOURS[word][1]


def test_progress_counts_what_is_done_and_never_falls(session: ProbeSession) -> None:
    session.select(cases(session).values())
    seen: list[tuple[int, int]] = []
    first = next(iter(cases(session).values()))
    session.outcome(first, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)


def test_what_a_model_of_a_notebook_answers_is_not_kept(session: ProbeSession, tmp_path: Path) -> None:
    """The model's class is in no file, so the cache could not notice a change of it."""
    session.model_runner.settings = replace(session.settings, cache=tmp_path / "store")
    model = session.model_runner.provided.model  # type: ignore[union-attr]
    model.__class__ = type("Mine", (type(model),), {"__module__": "somebodys_notebook"})
    session.select(cases(session).values())
    assert session.outcome(next(iter(cases(session).values()))) is not None
    run = session.finish()
    assert run is not None
    assert run.summary["engine"]["store"].startswith("the model has code or a tokenizer of its own: its outcomes are")
    assert not (tmp_path / "store").exists()


def test_a_model_whose_heads_are_not_its_configs_is_refused(
    session: ProbeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.select(cases(session).values())
    assert len(session.head_map) == 8
    other = HeadMap(session.head_map.attention_layers[:1])
    monkeypatch.setattr("reasoning_probe.models.heads.find_heads", lambda model: other)
    with pytest.raises(HeadError, match="has other heads than its config says: they cannot be switched off reliably"):
        session.outcome(next(iter(cases(session).values())))
