"""The names of targets: how what is switched off is written, and how such a name is read.

=============  ======================================================
``L3``         all heads of layer 3
``L3H7``       head 7 of layer 3
``L3KV1``      the heads of layer 3 that share key/value head 1
``L3MLP``      the MLP of layer 3
``L3H7+L5``    several of these jointly
``baseline``   nothing
``L8-L11``     a range of layers: users write it, no target is called so
=============  ======================================================

Names are read as they are written here, in capital letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

BASELINE = "baseline"
"""The target that switches nothing off."""

PartKind = Literal["", "H", "KV", "MLP"]
"""The kinds of parts: all heads of a layer, one head, the heads that share a key/value head, the MLP."""

_PART = re.compile(r"L(\d{1,5})(?:(H|KV)(\d{1,5})|(MLP))?", re.ASCII)
_RANGE = re.compile(r"L(\d{1,5})-L(\d{1,5})", re.ASCII)


class TargetPart(NamedTuple):
    """A part of a layer; ``number`` is that of the head or the key/value head, and 0 for other kinds."""

    layer: int
    kind: PartKind
    number: int

    @property
    def column(self) -> str:
        """The name without its layer: ``H7``, ``KV1``, ``MLP``, or nothing for all heads."""
        return f"{self.kind}{self.number}" if self.kind in ("H", "KV") else self.kind


def part_name(layer: int, kind: PartKind = "", number: int = 0) -> str:
    """Return the name of a part of *layer*.

    >>> part_name(3), part_name(3, "H", 7), part_name(3, "KV", 1), part_name(3, "MLP")
    ('L3', 'L3H7', 'L3KV1', 'L3MLP')
    """
    return f"L{layer}{TargetPart(layer, kind, number).column}"


def read_part(name: str) -> TargetPart | None:
    """Return the part of a layer that *name* names, ``None`` if it is the name of anything else."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    layer, kind, number, mlp = match.groups()
    return TargetPart(int(layer), cast("PartKind", kind or mlp or ""), int(number or 0))


def read_range(text: str) -> tuple[int, int] | None:
    """Return the first and the last layer of ``L8-L11``, ``None`` for any other text."""
    match = _RANGE.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


def join_parts(names: Iterable[str]) -> str:
    """Return the name of the target that switches the parts *names* off jointly."""
    return "+".join(names)


def split_parts(name: str) -> list[str]:
    """Return the names of the parts that *name* joins, without the spaces around them."""
    return [part.strip() for part in name.split("+")]


def head_of(target: str) -> tuple[int, int] | None:
    """Return (layer, head) of a target that is one head, else ``None``."""
    part = read_part(target)
    return (part.layer, part.number) if part and part.kind == "H" else None


def layer_of(target: str) -> int | None:
    """Return the layer of a target that is all heads of a layer, else ``None``."""
    part = read_part(target)
    return part.layer if part and not part.kind else None


def cell_of(target: str) -> tuple[int, str] | None:
    """Return (layer, column) of a target that is one part of a layer: ``H7``, ``KV1`` or ``MLP``; else ``None``."""
    part = read_part(target)
    return (part.layer, part.column) if part and part.kind else None


def kv_groups_of(target: str) -> frozenset[tuple[int, int]]:
    """Return the (layer, key/value head) pairs among the parts of *target*."""
    parts = [part for name in split_parts(target) if (part := read_part(name))]
    return frozenset((part.layer, part.number) for part in parts if part.kind == "KV")
