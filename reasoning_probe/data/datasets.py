"""Datasets: the built-in ones, generated ones, and those read from a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from reasoning_probe.data import generators
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.records import DatasetError, Format
from reasoning_probe.data.sources.registry import open_source

BUILTIN = ("arithmetic", "multi_step", "logic", "gsm8k")
"""The names of the built-in datasets."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")

__all__ = [
    "BUILTIN",
    "Dataset",
    "DatasetError",
    "Format",
    "builtin",
    "from_items",
    "load",
    "read",
    "safe_id",
    "safe_ids",
]


@dataclass(frozen=True)
class Dataset:
    """Items under a name; each has an id that no other has.

    ``format`` is ``gsm8k`` where answers came as ``#### N``; ``source`` says where the items are from; ``generation``
    is how the source wants them answered, where it says so; ``builtin`` is the built-in dataset's own name.
    """

    name: str
    items: tuple[Item, ...]
    format: Format
    source: str
    generation: Generation | None = None
    builtin: str | None = None


def read(name: str, source: str | Path | Iterable[Item] | None, limit: int | None = None) -> Dataset:
    """Return the dataset *name*, or *limit* items of it: built in, generated, from a source, or of items in memory.

    Raises :class:`DatasetError`.
    """
    if source is None or (isinstance(source, str) and source in BUILTIN):
        return replace(builtin(str(source or name), limit), name=name)
    if generators.is_spec(source):
        return generated(name, str(source), limit)
    if isinstance(source, str | Path):
        return load(name, source, limit)
    return from_items(name, source, limit)


def generated(name: str, spec: str, limit: int | None = None) -> Dataset:
    """Return the items that *spec*, such as ``arithmetic:digits=3``, asks for. Raises :class:`DatasetError`."""
    try:
        given = generators.parse(spec)
        return Dataset(name, generators.generate_spec(given, limit or given.items), "plain", spec)
    except ItemError as error:
        raise DatasetError(str(error)) from error


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
            return Dataset(name, generators.generate(name, limit), "plain", "generated with seed 0", builtin=name)
        except ItemError as error:
            raise DatasetError(str(error)) from error
    file = Path(__file__).parent / "builtin" / f"{name}.jsonl"
    found = load(name, file)
    if limit is not None and limit > len(found.items):
        raise DatasetError(
            f"the built-in {name} has {len(found.items)} items, not {limit}: give more of them, --probe-dataset"
            f" {name}=FILE, or say of which dataset you want {limit}, --probe-items arithmetic={limit}"
        )
    found = found if limit is None else load(name, file, limit)
    return Dataset(name, found.items, found.format, "built in", builtin=name)


def load(name: str, source: str | Path, limit: int | None = None) -> Dataset:
    """Return the dataset in the file (or other source) *source*, or its first *limit* items, under *name*.

    Items without an id are called ``q1``, ``q2`` ... by their position. Raises :class:`DatasetError`.
    """
    opened = open_source(source)
    found = _collect(name, opened.items, opened.shown, opened.unit, limit)
    return replace(found, source=str(source), generation=opened.generation)


def from_items(name: str, items: Iterable[Item], limit: int | None = None) -> Dataset:
    """Return *items*, or the first *limit* of them, as a dataset; items without an id are called ``q1``, ``q2`` ...

    Raises :class:`DatasetError`.
    """
    if isinstance(items, str | bytes | Item) or not isinstance(items, Iterable):
        raise DatasetError(
            f"the items of {name}: {_shown(items)} holds no Items: give a list of them, or name a source"
        )
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


def _shown(value: object) -> str:
    """Return *value* as it may stand in a message: on one line, in printable ASCII, not too long."""
    return ascii(value)[:60]
