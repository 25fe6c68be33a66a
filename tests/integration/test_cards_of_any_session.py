"""The card of a head is the same however the session came to its outcomes: computed, known, screened, in shards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasoning_probe.cli import main
from tests.helpers.project import Project

OPTIONS = ("--probe-heads", "L1H2,L0H1,L0H3", "--probe-describe=L1H2")


def cards(project: Project, folder: str) -> list[dict[str, Any]]:
    """Return the cards of a run, with numbers rounded to what another batch may change."""
    heads = project.summary(folder)["heads"]
    rounded: list[dict[str, Any]] = json.loads(json.dumps(heads), parse_float=lambda text: round(float(text), 4))
    assert {card["dataset"] for card in rounded} == {"logic", "arithmetic"}
    return rounded


def test_a_session_whose_outcomes_are_known_makes_the_same_cards(project: Project) -> None:
    project.probe("logic", "arithmetic")
    project.run(*OPTIONS, "--probe-dir=first")
    result = project.run(*OPTIONS, "--probe-dir=again")
    result.stdout.fnmatch_lines(["*outcomes known from earlier runs"])
    assert any(card["examples"] and card["scores"] for card in cards(project, "first"))
    assert cards(project, "again") == cards(project, "first")


def test_a_screened_session_measures_the_same_of_a_head(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_probe.analyses.screening.SAMPLE", 2)  # the model has eight heads
    project.probe("logic", "arithmetic")
    project.run("--ablate-heads", "--probe-describe=L1H2", "--probe-cache=off", "--probe-dir=all")
    project.run(
        "--ablate-heads", "--probe-describe=L1H2", "--probe-screen=3", "--probe-cache=off", "--probe-dir=screened"
    )
    screened = cards(project, "screened")
    assert len(project.outcomes("screened")) < len(project.outcomes("all"))
    for card, whole in zip(screened, cards(project, "all"), strict=True):
        for name in ("target", "dataset", "scores", "labels", "direct", "examples"):
            assert card[name] == whole[name], name
        for of_card, of_whole in zip(card["behaviour"], whole["behaviour"], strict=True):
            assert (of_card["tag"], of_card["lost"]) == (of_whole["tag"], of_whole["lost"])


def test_merged_shards_have_the_cards_of_the_whole(project: Project) -> None:
    project.probe("logic", "arithmetic")
    project.run(*OPTIONS, "--probe-dir=whole")
    for shard in ("1/2", "2/2"):
        project.run(*OPTIONS, f"--probe-shard={shard}", f"--probe-dir=part-{shard[0]}")
    assert (
        main(["merge", *(str(project.path / f"part-{part}") for part in (1, 2)), "-o", str(project.path / "merged")])
        == 0
    )
    for card, whole in zip(cards(project, "merged"), cards(project, "whole"), strict=True):
        for name in ("target", "dataset", "sentence", "behaviour", "mistakes", "overlap"):
            assert card[name] == whole[name], name
        of_tokens = ("previous_token", "duplicate_token", "induction", "first_token")
        assert [card["scores"][name] for name in of_tokens] == [whole["scores"][name] for name in of_tokens]
        items = {example["item"]: example for example in whole["examples"]}
        for example in card["examples"]:
            if example["item"] in items:
                assert example["attention"] == items[example["item"]]["attention"]
