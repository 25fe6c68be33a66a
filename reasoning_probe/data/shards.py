"""Shards: the parts of a sweep, which do not overlap, for the jobs of a CI matrix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_probe.data.datasets import Dataset

_SHARDS = re.compile(r"(\d{1,6}(?:,\d{1,6})*)/(\d{1,6})", re.ASCII)
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Part ``number``, from 1, of ``of`` parts; written ``2/8``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Return the shard that *text* names. Raises ``ValueError``, one line.

    >>> parse_shard("2/8")
    Shard(number=2, of=8)
    """
    match = _SHARD.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"cannot read the shard {text[:40]!r}: write 2/8 for the second of eight")
    return Shard(int(match[1]), int(match[2]))


def parse_shards(text: str) -> tuple[Shard, ...]:
    """Return the shards that *text*, ``shard`` of ``run.json``, names: one or several. Raises ``ValueError``, one line.

    >>> parse_shards("1,3/8")
    (Shard(number=1, of=8), Shard(number=3, of=8))
    """
    match = _SHARDS.fullmatch(text)
    if match is None:
        return (parse_shard(text),)
    return tuple(parse_shard(f"{number}/{match[2]}") for number in match[1].split(","))


def joined(parts: Iterable[Shard]) -> str:
    """Return the text that names all *parts*, which are shards of the same whole: ``1,3/8``."""
    numbers = {part.number: part.of for part in parts}
    return f"{','.join(map(str, sorted(numbers)))}/{next(iter(numbers.values()))}"


def missing(text: str) -> list[str]:
    """Return the shards that are missing from those that *text* names.

    >>> missing("1,3/4")
    ['2/4', '4/4']
    """
    parts = parse_shards(text)
    numbers, of = {part.number for part in parts}, parts[0].of
    return [f"{number}/{of}" for number in range(1, of + 1) if number not in numbers]


def shards(dataset: Dataset, of: int) -> dict[str, int]:
    """Return the shard, 1 to *of*, of every item of *dataset* by its id.

    Items are distributed in the order of a hash of their dataset's name and id, so that hard and easy ones mix and
    sizes differ by at most one. The shard depends on the dataset alone, never on which of its items are selected.
    """
    ids = sorted((str(item.id) for item in dataset.items), key=lambda id: _hash(dataset.name, id))
    first = int.from_bytes(_hash(dataset.name)[:8], "big")  # small datasets do not all begin with the same shard
    return {id: (first + index) % of + 1 for index, id in enumerate(ids)}


def places(datasets: Iterable[Dataset], selected: Container[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Return the index of each *selected* item, ``(dataset, item id)``, among all items of *datasets*, by dataset.

    The indices are the same in every shard, so that merged outcomes can be put into the order of the whole sweep.
    """
    indices: dict[str, dict[str, int]] = {}
    ids = ((dataset.name, str(item.id)) for dataset in datasets for item in dataset.items)
    for index, (name, id) in enumerate(ids):
        if (name, id) in selected:
            indices.setdefault(name, {})[id] = index
    return indices


def _hash(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
