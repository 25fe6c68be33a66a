"""Shards: a sweep in several parts that do not overlap, for the jobs of a CI matrix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_probe.data.datasets import Dataset

_SEVERAL = re.compile(r"(\d{1,6}(?:,\d{1,6})*)/(\d{1,6})", re.ASCII)
_SPELLING = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Part *number* (from 1 on) of *of*; written ``2/8``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Return the shard that *text* names. Raises ``ValueError`` with one line.

    >>> parse_shard("2/8")
    Shard(number=2, of=8)
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"cannot read the shard {text[:40]!r}: write 2/8 for the second of eight")
    return Shard(int(match[1]), int(match[2]))


def parse_shards(text: str) -> tuple[Shard, ...]:
    """Return the shards that ``shard`` of a run's file names, one or several. Raises ``ValueError`` with one line.

    >>> parse_shards("1,3/8")
    (Shard(number=1, of=8), Shard(number=3, of=8))
    """
    match = _SEVERAL.fullmatch(text)
    return (
        tuple(parse_shard(f"{number}/{match[2]}") for number in match[1].split(",")) if match else (parse_shard(text),)
    )


def joined(parts: Iterable[Shard]) -> str:
    """Return *parts*, shards of one number, in one word: ``1,3/8``."""
    numbers = {part.number: part.of for part in parts}
    return f"{','.join(map(str, sorted(numbers)))}/{next(iter(numbers.values()))}"


def missing(text: str) -> list[str]:
    """Return what the shards that *text* names lack of the whole.

    >>> missing("1,3/4")
    ['2/4', '4/4']
    """
    there = parse_shards(text)
    numbers, of = {part.number for part in there}, there[0].of
    return [f"{number}/{of}" for number in range(1, of + 1) if number not in numbers]


def shards(dataset: Dataset, of: int) -> dict[str, int]:
    """Return the shard, 1 to *of*, of every item of *dataset* by its id.

    Items are dealt out in the order of a hash of their dataset's name and id, so hard and easy ones mix, and sizes
    differ by one at most. It depends on the dataset alone, never on what is selected of it.
    """
    ids = sorted((str(item.id) for item in dataset.items), key=lambda id: _hash(dataset.name, id))
    first = int.from_bytes(_hash(dataset.name)[:8], "big")  # small datasets do not all begin with the same shard
    return {id: (first + place) % of + 1 for place, id in enumerate(ids)}


def places(datasets: Iterable[Dataset], asked: Container[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Return where each of the *asked* items, ``(dataset, item id)``, stands among all items of *datasets*.

    Every shard counts alike, so that their outcomes can be put into the whole's order again.
    """
    found: dict[str, dict[str, int]] = {}
    ids = ((dataset.name, str(item.id)) for dataset in datasets for item in dataset.items)
    for place, (name, id) in enumerate(ids):
        if (name, id) in asked:
            found.setdefault(name, {})[id] = place
    return found


def _hash(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
