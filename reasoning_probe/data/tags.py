"""Tags and parts of questions: what a question is like, and where its operands, names and claim stand.

They are read from the text of the question, so a run that was written before items had tags gets the same ones. The
questions of the generators and those built in are known; any other has the tags that its answer, choices and solution
give.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.data.readers.argument import read_argument
from reasoning_probe.data.readers.calculation import read_calculation
from reasoning_probe.data.readers.reading import Reading, Spans, step_tags
from reasoning_probe.data.readers.story import read_story

_ANNOTATION = re.compile(r"<<([^<>=]+)=[^<>]*>>")
_ONE_STEP = re.compile(r"(\d+)([-+*/])(\d+)", re.ASCII)
_LONGEST = 10_000  # characters of a question that is read


def tags_of(
    question: str, answer: str = "", choices: Sequence[str] = (), solution: str | None = None
) -> dict[str, str]:
    """Return the tags of *question*, those that its text, its *answer*, its *choices* and its *solution* give.

    >>> tags_of("What is 27 + 46?", "73")
    {'steps': '1', 'digits': '2', 'operation': '+', 'carries': '1'}
    >>> tags_of("Which is wet?", "rain", ("sand", "rain"))
    {'position': '2'}
    """
    return dict(_tags_of(question, answer, tuple(choices), solution))


def item_tags(item: Item) -> dict[str, str]:
    """Return the tags of *item*: those that its question gives, and its own, which go before them."""
    return {**_tags_of(item.question, item.answer, item.choices, item.solution), **item.tags}


def parts_of(question: str) -> dict[str, Spans]:
    """Return the parts of *question* by name, none if it is none of the generators.

    >>> parts_of("What is 5 + 3?")["operator"]
    ((10, 11),)
    """
    reading = read_question(question)
    return dict(reading.parts) if reading else {}


@lru_cache(maxsize=10_000)
def read_question(question: str) -> Reading | None:
    """Return what is read from the text of *question*, ``None`` if it is not one of the generators'."""
    if len(question) > _LONGEST:
        return None
    return read_calculation(question) or read_story(question) or read_argument(question)


@lru_cache(maxsize=10_000)
def _tags_of(question: str, answer: str, choices: tuple[str, ...], solution: str | None) -> Mapping[str, str]:
    reading = read_question(question)
    tags = dict(reading.tags) if reading else _solution_tags(solution or _built_in_solutions().get(question, ""))
    if (label := label_of(answer)) is not None:
        tags["label"] = label
    if answer in choices:
        tags["position"] = str(choices.index(answer) + 1)
    return tags


def _solution_tags(solution: str) -> dict[str, str]:
    """Return the tags of a solution with GSM8K's annotations: of its steps, and more where all are of whole numbers."""
    calculations = [text.replace(" ", "") for text in _ANNOTATION.findall(solution)]
    steps = [_ONE_STEP.fullmatch(calculation) for calculation in calculations]
    if not calculations or not all(steps):
        return {"steps": str(len(calculations))} if calculations else {}
    known = [(int(step[1]), step[2], int(step[3])) for step in steps if step]
    return step_tags(known, [number for left, _, right in known for number in (left, right)])


@cache
def _built_in_solutions() -> dict[str, str]:
    """Return the solutions of the built-in questions by question, annotated as GSM8K's."""
    solutions: dict[str, str] = {}
    for file in sorted((Path(__file__).parent / "builtin").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            one_step = f"<<{row.get('operation', '').join(row.get('operands', ()))}={row['answer']}>>"
            solutions[row["question"]] = row.get("solution") or (row["answer"] if "<<" in row["answer"] else one_step)
    return solutions
