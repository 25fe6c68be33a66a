"""Probes of other data than the built-in: from a hook's source, from a file of choices, from items in Python."""

from __future__ import annotations

from typing import Any

import pytest

import reasoning_probe as rp


@rp.probe("roman:3")
def test_roman_numerals(answer: rp.Outcome) -> None:
    assert answer.correct


@rp.probe("capitals.csv")
def test_capitals(answer: rp.Outcome) -> None:
    assert answer.correct


@rp.probe([rp.Item(id="twelve", question="What is 6 + 6?", answer="12", operands=("6", "6"), operation="+")])
def test_with_every_fixture(item: rp.Item, ablation: str, answer: rp.Outcome, probe_model: Any) -> None:
    model, tokenizer = probe_model
    assert len(tokenizer(item.question)["input_ids"]) < model.config.max_position_embeddings
    if ablation == "baseline" and not answer.correct:
        pytest.xfail("a small model may not know it")
    assert answer.correct


@rp.probe("logic:steps=3,negation=1,items=4")
def test_longer_arguments(answer: rp.Outcome) -> None:
    assert answer.category != "incomplete"
