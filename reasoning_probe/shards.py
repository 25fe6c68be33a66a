"""Shards: a sweep in several parts that do not overlap, for the jobs of a CI matrix."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_probe.datasets import Dataset

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


def shards(dataset: Dataset, of: int) -> dict[str, int]:
    """Return the shard, 1 to *of*, of every item of *dataset* by its id.

    Items are dealt out in the order of a hash of their dataset's name and id, so hard and easy ones mix, and sizes
    differ by one at most. It depends on the dataset alone, never on what is selected of it.
    """
    ids = sorted((str(item.id) for item in dataset.items), key=lambda id: _hash(dataset.name, id))
    first = int.from_bytes(_hash(dataset.name)[:8], "big")  # small datasets do not all begin with the same shard
    return {id: (first + place) % of + 1 for place, id in enumerate(ids)}


def _hash(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
