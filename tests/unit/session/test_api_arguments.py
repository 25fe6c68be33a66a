"""Tests that ``rp.sweep`` rejects each invalid argument before it runs, with the package's own error of one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import reasoning_probe as rp
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.models.targets import Target, TargetError
from reasoning_probe.session.arguments import ArgumentError
from tests.helpers.planted_model import planted

MODEL, TOKENIZER = planted()
ITEM = rp.Item(question="What colour is the sky?", answer="blue")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 is not a whole number from 1 on"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1 is not"),
        ({"max_new_tokens": 2.5}, "max_new_tokens=2.5 is not"),
        ({"max_new_tokens": True}, "max_new_tokens=True is not"),
        ({"max_new_tokens": "8"}, "max_new_tokens='8' is not"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0 on"),
        ({"seed": None}, "seed=None is not"),
        ({"ablation": ""}, "unknown ablation '': use zero, mean, resample"),
        ({"ablation": ()}, r"ablation=\(\) names no ablation: use zero, mean, resample"),
        ({"ablation": "noise"}, "unknown ablation 'noise'"),
        ({"ablation": [3]}, "unknown ablation 3"),
        ({"ablation": [["zero"]]}, r"unknown ablation \['zero'\]"),
        ({"ablation": None}, "ablation=None names no ablation"),
        ({"race": "yes"}, "race='yes' is neither True nor False"),
        ({"race": 1}, "race=1 is neither True nor False"),
        ({"race": True, "targets": ()}, r"race stops targets, and nothing is switched off: leave out targets=\(\)"),
        ({"race": True, "samples": 2}, "race takes answers that are decoded greedily: leave out samples"),
        ({"dataset": ""}, "dataset='' is not a name: give a text"),
        ({"dataset": 3}, "dataset=3 is not a name"),
        ({"stop": "Question:"}, "stop='Question:' holds no stop strings: give a tuple of texts, "),
        ({"stop": ("",)}, r"stop=\(''\,\) holds no stop strings"),
        ({"stop": None}, "stop=None holds no stop strings"),
        ({"cache": ""}, "cache='' is not a folder"),
        ({"cache": 3}, "cache=3 is not a folder"),
        ({"cache": "a\0b"}, "is not a folder"),
        ({"cache": "\ud800"}, "is not a folder"),
        ({"seed": -(10**5000)}, "seed=a value of the type int is not a whole number from 0 on"),
        ({"prompting": rp.Prompting(template=5)}, "template=5 is not a text: give one, or None"),  # type: ignore[arg-type]
        ({"prompting": rp.Prompting(shots_from=5)}, "shots_from=5 is not a text"),  # type: ignore[arg-type]
        ({"prompting": rp.Prompting(cot="yes")}, "cot='yes' is neither True nor"),  # type: ignore[arg-type]
        ({"where": ["all"]}, "where=.* is not a place"),
        ({"targets": ""}, "targets is empty: write L3H7"),
        ({"targets": 3}, "targets=3 names no target: write 'L3H7,L5', or a list of such"),
        ({"targets": ["L0", 3]}, "3 is not a target: write 'L3H7', or give a Target"),
        ({"targets": [Target("none", frozenset())]}, "the target 'none' switches nothing off: leave it out"),
        ({"prompting": "auto"}, r"prompting='auto' is not a Prompting: give rp.Prompting\(...\)"),
        ({"prompting": rp.Prompting(shots=-1)}, "shots=-1 is not a whole number from 0 on"),
        ({"prompting": rp.Prompting(chat="yes")}, "chat='yes' is not one of auto, on, off"),  # type: ignore[arg-type]
        ({"prompting": rp.Prompting(choices="x")}, "choices='x' is not one of logprob, gene"),  # type: ignore[arg-type]
        ({"prompting": rp.Prompting(chat="on", chat_kwargs={"a b": 1})}, "is not a dict of names: give one"),
        ({"prompting": rp.Prompting(chat_kwargs={"a": 1})}, "which is off: give prompting=rp.Prompting"),
        ({"chat_kwargs": {"a": 1}}, "chat_kwargs is for the chat template, which is off"),
        ({"chat_kwargs": "a=1"}, "chat_kwargs='a=1' is not a dict of names: give one, {'enable_thinking': False}"),
        ({"chat_kwargs": {"tokenize": True}}, "chat_kwargs: tokenize is not for you to pass"),
        ({"chat_kwargs": {"a": {1, 2}}}, "give values of JSON's types"),
        ({"generation": "greedy"}, "generation='greedy' is not one of model, plain"),
        ({"generation": ["plain"]}, r"generation=\['plain'\] is not one of model, plain"),
        ({"prompting": rp.Prompting(think="<plan>")}, "think='<plan>' is not a pair of marks: write auto, off, or two"),
        ({"model": None}, "None is not a model: give a causal language model of transformers, loaded"),
        ({"tokenizer": None}, "None is not a tokenizer: give the model's own"),
        ({"tokenizer": MODEL}, "is not a tokenizer: give the model's own"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "tokenizer": TOKENIZER, "items": [ITEM], "targets": "L1H2"} | changes
    with pytest.raises(ArgumentError, match=message) as refused:
        rp.sweep(**arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("items", ["What?", ITEM, 3, None, [], ["What?"], [None]])
def test_items_that_are_none_are_refused(items: Any) -> None:
    with pytest.raises(DatasetError, match="the items of items"):
        rp.sweep(MODEL, TOKENIZER, items, "L1H2")


def test_a_target_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(TargetError, match="cannot read the target"):
        rp.sweep(MODEL, TOKENIZER, [ITEM], ["L1H2", ""])


def test_what_makes_sense_is_taken() -> None:
    outcomes = rp.sweep(MODEL, TOKENIZER, iter([ITEM]), ("L1H2",), ["zero", "mean"], 4, stop=["Question:"], seed=3)
    assert [outcome.target for outcome in outcomes] == ["baseline", "L1H2", "L1H2"]
    assert len(rp.sweep(MODEL, TOKENIZER, [ITEM], (), max_new_tokens=1)) == 1


EVIL = "a\n::error::b\x1b[2J\u202e"


@pytest.mark.parametrize(
    "call",
    [
        lambda: rp.load(EVIL),
        lambda: rp.load(5),  # type: ignore[arg-type]
        lambda: rp.items(EVIL),
        lambda: rp.items("a\0b"),
        lambda: rp.items("\ud800"),
        lambda: rp.items(10**5000),  # type: ignore[arg-type]
        lambda: rp.judge(ITEM, 5),  # type: ignore[arg-type]
        lambda: rp.judge("x", "y"),  # type: ignore[arg-type]
        lambda: swept().head(EVIL),
        lambda: swept().head("L1H2", EVIL),
        lambda: swept().head("L1H2", None, EVIL),
        lambda: swept().heatmap(EVIL),  # type: ignore[arg-type]
        lambda: swept().heatmap(["x"]),  # type: ignore[arg-type]
        lambda: swept().heatmap("accuracy", EVIL),
        lambda: swept().to_dataframe(EVIL),  # type: ignore[arg-type]
        lambda: swept().save("a\0b"),
        lambda: swept().save("/etc/passwd"),
        lambda: swept().save("x" * 5000),
        lambda: swept().save(5),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_elsewhere_is_one_line(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the message is anything of one line
        call()
    assert str(refused.value).isprintable()
    assert "\n" not in str(refused.value)


def swept() -> rp.Sweep:
    return rp.sweep(MODEL, TOKENIZER, [ITEM], "L1H2", max_new_tokens=1)
