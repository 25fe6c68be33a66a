"""Tests that every parser takes time linear in its text: eight times the text takes about eight times as long.

A pattern that tries every way to split a text takes 64 times as long, or never ends. Times are of this thread alone,
and the limit leaves room for a factor of three. ``GROWTH=20000 pytest tests/robustness/test_linear_time.py`` is the
long form.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from reasoning_probe.data.datasets import load, safe_ids
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import cut_at_stop
from reasoning_probe.data.shards import parse_shard
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.models.targets import TargetError, check_spelling
from reasoning_probe.pytest_plugin.option_types import OptionError
from reasoning_probe.pytest_plugin.options import OPTIONS
from reasoning_probe.report.html.diff import split_at_difference
from reasoning_probe.results.run import RunError, read_run
from reasoning_probe.scoring.extraction.equations import find_equations
from reasoning_probe.scoring.judge import judge
from reasoning_probe.scoring.lm_eval_filters import flexible_match, strict_match
from reasoning_probe.utils.numbers import find_numbers
from reasoning_probe.utils.text import escape, shorten

SMALL, TIMES = int(os.environ.get("GROWTH", "500")), 8
MOST = 3 * TIMES
UNNOTICED = 0.02
"""Times below this limit, in seconds, are too short for a meaningful ratio."""

UNITS = (
    "a", "1", " ", "\n", "\t", ",", ".", "(", "[[", "{", ")]}", "=", "1=", "1+", "1 + ", "one ", "twenty-", "hundred ",
    "half a ", "1,000,", "1 000 ", "1/", "1-", "- ", "####", "#### ", "\\boxed{", "\\frac{1}{", "$", "$1 ", "1% ",
    "answer ", "the answer is ", "A) ", "yes ", "no, ", "not ", "so ", "no, wait, ", "<|", "<<1", "**", "__", "`",
    "Question: ", "step 1 ", "1. ", "1.\n", "Mr. ", "\u0660", "\u00a0", "\u00bd", "6x", "1e9", "1:0", "May 1, ",
    "add 1 and 2, ", "sum of ", "which is ", "round to ", "if x, ", "cannot ", "Max is ", "8 9 ", "5 or 6 ", "minus ",
    "below zero ", "1 and a half ", "\\text{", "\u2019", "\x00", "\U0001f600", "\ud800",
)  # fmt: skip
RESPONSES = ("The answer is 7. 5 + 3 = 8, so Alice has 7 dollars left.", "Max is not an animal.", " 10 - 4 = 5\n")


def to_question(kind: str, answer: str) -> Callable[[str], None]:
    def read(text: str) -> None:
        with suppress(ItemError):  # half of a surrogate pair
            item = Item(question=f"{text} Is it so?", answer=answer, kind=kind, id="q")  # type: ignore[arg-type]
            for response in RESPONSES:
                judge(item, response)

    return read


def to_response(kind: str, answer: str) -> Callable[[str], None]:
    item = Item(question="Alice has 10 dollars, spends 4. Is it so?", answer=answer, kind=kind)  # type: ignore[arg-type]
    return lambda text: [judge(item, text, truncated) for truncated in (False, True)] and None


def as_item(text: str) -> None:
    with suppress(ItemError):
        item = Item(question="How much is left?", answer=text, solution=text, operands=(text, "3"), operation="+")
        judge(item, RESPONSES[0])


def as_solution(text: str) -> None:
    with suppress(ItemError):
        judge(Item(question="How much is left?", answer="6", solution=text), RESPONSES[0])


def as_options(text: str) -> None:
    for option in OPTIONS:
        if option.read is not None:
            with suppress(OptionError):
                option.read(text)
    with suppress(TargetError):
        check_spelling(text)
    with suppress(ValueError):
        parse_shard(text)


def beside_itself(text: str) -> None:
    split_at_difference(text, text + "x", 4000)
    split_at_difference(text + "x", text, 4000)


PARSERS: dict[str, Callable[[str], object]] = {
    "question of a number": to_question("number", "6"),
    "question of a label": to_question("label", "yes"),
    "question of a text": to_question("text", "blue"),
    "response with a number": to_response("number", "6"),
    "response with a label": to_response("label", "yes"),
    "response with a text": to_response("text", "blue"),
    "item": as_item,
    "solution": as_solution,
    "numbers": find_numbers,
    "equations": find_equations,
    "strict": strict_match,
    "flexible": flexible_match,
    "stop": lambda text: cut_at_stop(text, ("Question:", "\n\n\n\n")),
    "options": as_options,
    "differences": beside_itself,
    "one line": lambda text: shorten(text, 80),
    "escaped": escape,
}


def seconds(read: Callable[[str], object], text: str) -> float:
    started = time.thread_time()
    read(text)
    return time.thread_time() - started


def grows_too_fast(read: Callable[[str], object], unit: str) -> str | None:
    """Return an error message where the time of *read* grows faster than linearly with its text, else ``None``."""
    short, long = (unit * (size // len(unit) or 1) for size in (SMALL, SMALL * TIMES))
    for _ in range(3):  # a busy machine slows one measurement, not three
        after = seconds(read, long)
        if after < UNNOTICED:
            return None
        before = max(seconds(read, short), UNNOTICED / MOST)
        if after / before <= MOST:
            return None
    return f"{unit!r}: {before:.4f} s for {len(short):,} characters, {after:.4f} s for {len(long):,}"


@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_with_the_text(name: str) -> None:
    assert [message for unit in UNITS if (message := grows_too_fast(PARSERS[name], unit))] == []


def test_the_test_sees_what_is_quadratic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SMALL", 500)  # the long form's text would fill the memory
    assert grows_too_fast(lambda text: [None for _ in text for _ in text], "a")


@pytest.mark.parametrize("id", ["é", "-", "日本", "a b"])
def test_thousands_of_ids_that_are_alike(id: str) -> None:
    def read(text: str) -> None:
        safe_ids([id, *(chr(0x4E00 + index) * len(id) for index in range(len(text)))])

    short, long = seconds(read, "x" * 1000), seconds(read, "x" * 8000)
    assert long < UNNOTICED or long / max(short, UNNOTICED / MOST) < MOST


@pytest.mark.parametrize(
    "unit", ["[", '{"a":', '"', "\\", "1", "\ufeff", "\x00", "1e", '{"question":"a","answer":"b"},']
)
def test_a_file_of_one_line_is_refused_at_once(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"

    def read(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DatasetError) as caught:
            load("x", path)
        assert "\n" not in str(caught.value)

    assert grows_too_fast(read, unit) is None


@pytest.mark.parametrize("unit", ["[", '{"a":', "1", '"\\', "[],", " ", "\n"])
def test_a_run_of_one_line_is_refused_at_once(unit: str, tmp_path: Path) -> None:
    def read(text: str) -> None:
        (tmp_path / "run.json").write_text(text, encoding="utf-8")
        (tmp_path / "outcomes.jsonl").write_text(json.dumps({}) + text, encoding="utf-8")
        with pytest.raises(RunError) as caught:
            read_run(tmp_path)
        assert "\n" not in str(caught.value)

    assert grows_too_fast(read, unit) is None
