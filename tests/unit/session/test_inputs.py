"""What a notebook begins with: a model by name, items by name, and a bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import reasoning_probe as rp
from reasoning_probe.data.datasets import builtin
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.models.errors import ModelError
from reasoning_probe.session.arguments import ArgumentError


def test_three_calls_are_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = rp.load("tiny-reasoner")
    sweep = rp.sweep(model, tokenizer, rp.items("arithmetic", 3), "L3H1,L0H0", progress=True)
    assert len(sweep) == 9
    assert sweep.run.summary["model"]["name"].endswith("tiny-reasoner")
    bar = capsys.readouterr().err
    assert "sweep" in bar
    assert "9/9" in bar


def test_a_sweep_is_silent_unless_a_bar_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    rp.sweep(*rp.load(), rp.items("arithmetic", 1), ())
    assert capsys.readouterr().err == ""


def test_items_are_those_of_the_options(tmp_path: Path) -> None:
    assert rp.items("logic") == builtin("logic").items
    assert rp.items("multi_step", 12) == builtin("multi_step", 12).items
    assert len(rp.items("logic:steps=3", 5)) == 5
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": "What colour is the sky?", "answer": "blue"}\n')
    assert [item.answer for item in rp.items(file)] == [item.answer for item in rp.items(str(file))] == ["blue"]


@pytest.mark.parametrize(
    ("source", "n", "error", "message"),
    [
        ("arithmetik", None, DatasetError, "did you mean arithmetic?"),
        ("gsm8k", 999, DatasetError, "has 5 items, not 999"),
        ("arithmetic", 0, ArgumentError, "n=0 is not a whole number from 1 on"),
        ("arithmetic", True, ArgumentError, "n=True is not"),
        ("", None, ArgumentError, "source='' names no dataset"),
        (5, None, ArgumentError, "source=5 names no dataset"),
    ],
)
def test_what_names_no_items_is_one_line(source: Any, n: Any, error: type[ValueError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        rp.items(source, n)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": "no/such/model"}, ModelError, "there is no model at no/such/model"),
        ({"name": ""}, ArgumentError, "name='' names no model"),
        ({"name": 5}, ArgumentError, "name=5 names no model"),
        ({"dtype": "int8"}, ModelError, "unknown dtype 'int8'"),
        ({"device": "tpu"}, ModelError, "there is no device 'tpu'"),
    ],
)
def test_what_names_no_model_is_one_line(options: dict[str, Any], error: type[ValueError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        rp.load(**options)
    assert "\n" not in str(caught.value)
