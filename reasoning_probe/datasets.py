"""Datasets: the built-in ones, and the user's own JSONL files.

A file holds one JSON object a line: ``question`` and ``answer``, and where they are known ``id``, ``solution``,
``kind``, ``operands`` and ``operation`` (see :class:`~reasoning_probe.items.Item`). GSM8K's files are read as they are:
an answer that ends with ``#### N`` is the solution, and N the answer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast, get_args

from reasoning_probe import generators
from reasoning_probe.items import AnswerKind, Item, ItemError

BUILTIN = ("arithmetic", "multi_step", "logic", "gsm8k")
"""The names of the built-in datasets."""

Format = Literal["plain", "gsm8k"]

_LONGEST_LINE = 1_000_000  # bytes; a longer one is a file without line ends, not a question
_GSM8K_ANSWER = re.compile(r"^#### *(.*)\Z", re.MULTILINE)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class DatasetError(ValueError):
    """A dataset that cannot be read; the message is one line with the file, the line number and the mend."""


class _Number(str):
    """A number of a JSON file as it is written there, so that no digit is lost."""


@dataclass(frozen=True)
class Dataset:
    """Items under a name; each has an id that no other has.

    ``format`` is ``gsm8k`` where answers came as ``#### N``; ``source`` says where the items are from.
    """

    name: str
    items: tuple[Item, ...]
    format: Format
    source: str


def builtin(name: str, limit: int | None = None) -> Dataset:
    """Return a built-in dataset, or *limit* items of it: generated (seed 0), or the first ones of gsm8k.

    Raises :class:`DatasetError` for an unknown name, and for more items than there are.
    """
    if name not in BUILTIN:
        raise DatasetError(
            f"there is no built-in dataset {name!r}: use one of {', '.join(BUILTIN)}, "
            f"or give its file: --probe-dataset {name}=FILE.jsonl"
        )
    if limit is not None and name in generators.NAMES:
        try:
            return Dataset(name, generators.generate(name, limit), "plain", "generated with seed 0")
        except ItemError as problem:
            raise DatasetError(str(problem)) from problem
    found = load(name, Path(__file__).parent / "data" / f"{name}.jsonl", limit)
    return Dataset(name, found.items, found.format, "built in")


def load(name: str, source: str | Path, limit: int | None = None) -> Dataset:
    """Return the dataset in the file *source*, or its first *limit* items, under *name*.

    Items without an id are called ``q1``, ``q2`` ... by their position. Raises :class:`DatasetError`.
    """
    path = Path(os.path.expanduser(source))  # unlike the method of Path, it never raises
    items = ((number, _item(text, f"{path}, line {number}")) for number, text in _lines(path))
    found = _collect(name, items, str(path), "line", limit)
    return replace(found, source=str(source))


def from_items(name: str, items: Iterable[Item], limit: int | None = None) -> Dataset:
    """Return *items*, or the first *limit* of them, as a dataset; items without an id are called ``q1``, ``q2`` ...

    Raises :class:`DatasetError`.
    """
    return _collect(name, enumerate(_checked(name, items), 1), f"the items of {name}", "item", limit)


def _collect(
    name: str, items: Iterable[tuple[int, tuple[Item, Format]]], source: str, unit: str, limit: int | None
) -> Dataset:
    """Return the first *limit* of the numbered *items* as a dataset, every one with an id of its own."""
    if limit is not None and limit < 1:
        raise DatasetError(f"cannot take {limit} items of {source}: ask for at least 1")
    found: dict[str, Item] = {}
    places: dict[str, int] = {}
    formats: set[Format] = set()
    for number, (item, form) in islice(items, limit):
        id = item.id or f"q{len(found) + 1}"
        if id in found:
            raise DatasetError(
                f"{source}, {unit} {number}: the id {_shown(id)} is that of {unit} {places[id]} too: make ids unique"
            )
        found[id], places[id] = replace(item, id=id), number
        formats.add(form)
    if not found:
        raise DatasetError(f"{source}: no items: give at least one question with its answer")
    if limit is not None and len(found) < limit:
        raise DatasetError(f"{source}: there are {len(found)} items, not {limit}: ask for {len(found)} or fewer")
    return Dataset(name, tuple(found.values()), "gsm8k" if formats == {"gsm8k"} else "plain", source)


def _checked(name: str, items: Iterable[Item]) -> Iterator[tuple[Item, Format]]:
    """Yield *items*, which a test module wrote, where they are items."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, Item):
            raise DatasetError(f"the items of {name}, item {number}: {_shown(item)} is not an Item: give Items")
        yield item, "plain"


def safe_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return *ids* with every character outside ``A-Z a-z 0-9 . _ -`` as ``-``, kept unique by ``-2``, ``-3`` ...

    Ids that are safe already stay as they are, wherever they come.

    >>> safe_ids(["max is a dog", "max-is-a-dog", "größe"])
    ('max-is-a-dog-2', 'max-is-a-dog', 'gr--e')
    """
    given = tuple(ids)
    taken = {id for id in given if id == safe_id(id)}
    safe = []
    tried: dict[str, int] = {}  # up to which number a name is taken: thousands of ids may be alike
    for id in given:
        name = base = safe_id(id)
        if name != id:
            nth = tried.get(base, 1)
            while name in taken:
                nth += 1
                name = f"{base}-{nth}"
            tried[base] = nth
            taken.add(name)
        safe.append(name)
    return tuple(safe)


def safe_id(id: str) -> str:
    """Return *id* with every character outside ``A-Z a-z 0-9 . _ -`` as ``-``: fit for a test id and a file name."""
    return _UNSAFE.sub("-", id) or "-"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line of *path* that is not blank."""
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_LONGEST_LINE + 1):
                number += 1
                if len(raw) > _LONGEST_LINE:
                    raise DatasetError(
                        f"{path}, line {number}: longer than {_LONGEST_LINE:,} bytes: write one JSON object a line"
                    )
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as problem:
                    raise DatasetError(f"{path}, line {number}: not UTF-8: save the file as UTF-8") from problem
                if text:
                    yield number, text
    except FileNotFoundError as problem:
        raise DatasetError(f"there is no file {path}: give the path of a JSONL file") from problem
    except IsADirectoryError as problem:
        raise DatasetError(f"{path} is a folder: give the path of a JSONL file in it") from problem
    except OSError as problem:
        raise DatasetError(f"cannot read {path} ({problem.strerror}): give a JSONL file that can be read") from problem


def _item(text: str, where: str) -> tuple[Item, Format]:
    """Return the item on a line, and the format it is in."""
    try:
        data = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError) as problem:
        said = problem.msg if isinstance(problem, json.JSONDecodeError) else "cannot be read"
        raise DatasetError(f"{where}: not JSON ({said}): write one JSON object a line") from problem
    if not isinstance(data, dict):
        raise DatasetError(f'{where}: not a JSON object: write {{"question": ..., "answer": ...}}')
    question = _text(data, "question", where)
    answer = _text(data, "answer", where, numbers=True)
    solution = _text(data, "solution", where, optional=True)
    form: Format = "plain"
    if found := _GSM8K_ANSWER.search(answer.rstrip()):
        form, solution, answer = "gsm8k", answer, found.group(1)
        if not answer:
            raise DatasetError(f"{where}: no answer after ####: end the answer with #### and the number")
    try:
        item = Item(
            id=_text(data, "id", where, numbers=True, optional=True) or None,
            question=question,
            answer=answer,
            solution=solution or None,
            kind=_kind(data, where),
            operands=_operands(data, where),
            operation=_text(data, "operation", where, optional=True) or None,
        )
    except ItemError as problem:
        raise DatasetError(f"{where}: {problem}") from problem
    return item, form


def _text(data: dict[str, Any], key: str, where: str, numbers: bool = False, optional: bool = False) -> str:
    """Return the text at *key*, a number as text where *numbers* may stand for one; ``""`` where it is optional."""
    value = data.get(key)
    if value is None:
        if optional:
            return ""
        raise DatasetError(f'{where}: no {key}: add "{key}"')
    if not isinstance(value, str) or (isinstance(value, _Number) and not numbers):
        wanted = "a text or a number" if numbers else "a text"
        raise DatasetError(f"{where}: {key} is {_json_name(value)}: make it {wanted}")
    if not value.strip():
        if optional:
            return ""
        raise DatasetError(f"{where}: {key} is empty: give it a text")
    if _LONE_SURROGATE.search(value):
        raise DatasetError(f"{where}: {key} holds half of a surrogate pair: write the whole character")
    return str(value)


def _kind(data: dict[str, Any], where: str) -> AnswerKind | None:
    kind = data.get("kind")
    if kind is not None and kind not in get_args(AnswerKind):
        raise DatasetError(f"{where}: kind is {_shown(kind)}: use one of {', '.join(get_args(AnswerKind))}")
    return cast("AnswerKind | None", kind)


def _operands(data: dict[str, Any], where: str) -> tuple[str, ...]:
    given = data.get("operands")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise DatasetError(f"{where}: operands is {_json_name(given)}: make it a list of numbers")
    return tuple(_text({"operand": operand}, "operand", where, numbers=True) for operand in given)


def _json_name(value: object) -> str:
    """Return what JSON calls *value*."""
    names = {bool: "true or false", list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    """Return *value* as it may stand in a message: on one line, in printable ASCII, not too long."""
    return ascii(value)[:60]
