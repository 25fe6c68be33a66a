"""Datasets: items under a name, which are built in, generated, read from a source, or given in memory."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from reasoning_probe.data import generators
from reasoning_probe.data.donors.annotate import annotated
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.base import DatasetError, Format, NumberedItems
from reasoning_probe.data.sources.registry import OPENERS, open_source, scheme_of
from reasoning_probe.utils.text import quoted

BUILTIN = ("arithmetic", "multi_step", "logic", "gsm8k")
"""The names of the built-in datasets."""

MOST_ITEMS = 1_000_000
MOST_CHARACTERS = 1_000_000_000
"""The most that a dataset may hold, so that a source without end is noticed while there is memory left."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Dataset:
    """Items under a name, each with a unique id.

    ``format`` is ``gsm8k`` if all answers came as ``#### N``; ``source`` says where the items are from; ``generation``
    is how the source wants them answered, if it says so; ``builtin`` is the name of the built-in dataset, if it is one.
    """

    name: str
    items: tuple[Item, ...]
    format: Format
    source: str
    generation: Generation | None = None
    builtin: str | None = None


def read(
    name: str,
    source: str | Path | Iterable[Item] | None,
    limit: int | None = None,
    *,
    at_most: bool = False,
    trusted: bool = False,
) -> Dataset:
    """Return the dataset *name*, or *limit* items of it. *source* is ``None`` for the built-in dataset of that name.

    Otherwise it is a built-in dataset's name, a generator's spec, a source's text or path, or items in memory. With
    *at_most* a dataset that has fewer items gives all of them; a *trusted* source may run code. Raises
    :class:`DatasetError`.
    """
    if source is None or (isinstance(source, str) and source in BUILTIN):
        return replace(builtin(str(source or name), limit, at_most=at_most), name=name)
    if generators.is_spec(source):
        return generated(name, str(source), limit)
    if isinstance(source, str | Path):
        _refuse_misspelt(source)
        return load(name, source, limit, at_most=at_most, trusted=trusted)
    return from_items(name, source, limit, at_most=at_most)


def _refuse_misspelt(source: str | Path) -> None:
    """Refuse a file that does not exist and is called nearly as a built-in dataset or a generator."""
    if scheme_of(source) in OPENERS:
        return
    word, colon, _ = Path(source).name.partition(":")
    near = difflib.get_close_matches(word.lower(), generators.NAMES if colon else BUILTIN, cutoff=0.7)
    if near and not Path(word).suffix and not os.path.lexists(os.path.expanduser(source)):
        names = " or ".join(f"{name}{colon}..." if colon else name for name in near)
        raise DatasetError(f"there is no file {source}, and no built-in dataset {word!r}: did you mean {names}?")


def generated(name: str, source: str, limit: int | None = None) -> Dataset:
    """Return the items that *source*, such as ``arithmetic:digits=3``, asks for. Raises :class:`DatasetError`."""
    try:
        spec = generators.parse(source)
        items = tuple(annotated(generators.generate_spec(spec, limit or spec.items)))
        return Dataset(name, items, "plain", source)
    except ItemError as error:
        raise DatasetError(str(error)) from error


def builtin(name: str, limit: int | None = None, *, at_most: bool = False) -> Dataset:
    """Return a built-in dataset. With a *limit*, gsm8k is cut to it and the others are generated with seed 0.

    Raises :class:`DatasetError` for an unknown name, and for more items than there are unless *limit* is *at_most*.
    """
    if name not in BUILTIN:
        raise DatasetError(
            f"there is no built-in dataset {name!r}: use one of {', '.join(BUILTIN)}, "
            f"or give its file: --probe-dataset {name}=FILE.jsonl"
        )
    if limit is not None and name in generators.NAMES:
        try:
            items = tuple(annotated(generators.generate(name, limit)))
            return Dataset(name, items, "plain", "generated with seed 0", builtin=name)
        except ItemError as error:
            raise DatasetError(str(error)) from error
    file = Path(__file__).parent / "builtin" / f"{name}.jsonl"
    dataset = load(name, file)
    if limit is not None and limit > len(dataset.items) and not at_most:
        raise DatasetError(
            f"the built-in {name} has {len(dataset.items)} items, not {limit}: give more of them, --probe-dataset"
            f" {name}=FILE, or ask for {len(dataset.items)} or fewer"
        )
    dataset = dataset if limit is None else load(name, file, limit, at_most=at_most)
    return replace(dataset, items=tuple(annotated(dataset.items)), source="built in", builtin=name)


def load(
    name: str, source: str | Path, limit: int | None = None, *, at_most: bool = False, trusted: bool = False
) -> Dataset:
    """Return the items of a file or another *source*, or the first *limit* of them, as the dataset *name*.

    Items without an id are called ``q1``, ``q2`` ... by their position. Raises :class:`DatasetError`.
    """
    opened = open_source(source, trusted)
    dataset = _collect(name, opened.items, opened.name, opened.unit, limit, at_most)
    return replace(dataset, source=str(source), generation=opened.generation)


def from_items(name: str, items: Iterable[Item], limit: int | None = None, *, at_most: bool = False) -> Dataset:
    """Return *items*, or the first *limit* of them, as a dataset; items without an id are called ``q1``, ``q2`` ...

    Raises :class:`DatasetError`.
    """
    if isinstance(items, str | bytes | Item) or not isinstance(items, Iterable):
        raise DatasetError(
            f"the items of {name}: {quoted(items)} holds no Items: give a list of them, or name a source"
        )
    return _collect(name, enumerate(_checked(name, items), 1), f"the items of {name}", "item", limit, at_most)


def _collect(name: str, items: NumberedItems, source: str, unit: str, limit: int | None, at_most: bool) -> Dataset:
    """Return the first *limit* of *items* as a dataset, each with an id; messages name *source* and *unit*."""
    if limit is not None and limit < 1:
        raise DatasetError(f"cannot take {limit} items of {source}: ask for at least 1")
    by_id: dict[str, Item] = {}
    numbers: dict[str, int] = {}
    formats: set[Format] = set()
    characters = 0
    for number, (item, form) in islice(items, limit):
        id = item.id or f"q{len(by_id) + 1}"
        if id in by_id:
            raise DatasetError(
                f"{source}, {unit} {number}: the id {quoted(id)} is that of {unit} {numbers[id]} too: make ids unique"
            )
        by_id[id], numbers[id] = replace(item, id=id), number
        characters += len(item.question) + len(item.answer) + len(item.solution or "") + len(item.prompt or "")
        if len(by_id) > MOST_ITEMS or characters > MOST_CHARACTERS:
            raise DatasetError(
                f"{source}: more than {MOST_ITEMS:,} items, or {MOST_CHARACTERS:,} characters: ask for fewer of them"
                " with --probe-items"
            )
        formats.add(form)
    if not by_id:
        raise DatasetError(f"{source}: no items: give at least one question with its answer")
    if limit is not None and len(by_id) < limit and not at_most:
        raise DatasetError(f"{source}: there are {len(by_id)} items, not {limit}: ask for {len(by_id)} or fewer")
    return Dataset(name, tuple(by_id.values()), "gsm8k" if formats == {"gsm8k"} else "plain", source)


def _checked(name: str, items: Iterable[Item]) -> Iterator[tuple[Item, Format]]:
    """Yield *items* with their format. Raises :class:`DatasetError` at an object that is no item."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, Item):
            raise DatasetError(f"the items of {name}, item {number}: {quoted(item)} is not an Item: give Items")
        yield item, "plain"


def safe_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return *ids* with every character outside ``A-Z a-z 0-9 . _ -`` as ``-``, kept unique by ``-2``, ``-3`` ...

    Ids that are safe already stay as they are, whatever comes before them.

    >>> safe_ids(["max is a dog", "max-is-a-dog", "größe"])
    ('max-is-a-dog-2', 'max-is-a-dog', 'gr--e')
    """
    ids = tuple(ids)
    taken = {id for id in ids if id == safe_id(id)}
    safe = []
    last_number: dict[str, int] = {}  # by safe name, so that thousands of similar ids take no quadratic time
    for id in ids:
        name = base = safe_id(id)
        if name != id:
            number = last_number.get(base, 1)
            while name in taken:
                number += 1
                name = f"{base}-{number}"
            last_number[base] = number
            taken.add(name)
        safe.append(name)
    return tuple(safe)


def safe_id(id: str) -> str:
    """Return *id* with every character outside ``A-Z a-z 0-9 . _ -`` as ``-``, for test ids and file names."""
    return _UNSAFE.sub("-", id) or "-"
