"""The rules of a gate: limits by dataset, and the reference that a run is held to. Imported by every session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

EVERY = ""
"""The dataset of a limit that holds for all datasets without one of their own."""

MAX_DROP = 0.05
_SHARE = re.compile(r"0|1|0?\.\d{1,9}|1\.0{1,9}", re.ASCII)


@dataclass(frozen=True)
class GateRules:
    """The limits, the reference's file or folder, and how far below it a run may be."""

    min_accuracy: Mapping[str, float] = field(default_factory=dict)
    reference: Path | None = None
    max_drop: float = MAX_DROP
    update: bool = False  # this run becomes the reference, and is not held to the one that was
    named: frozenset[str] = frozenset()  # the datasets that must be there, since somebody typed their names
    # Whether the gate is this session's, and not one of the ini file for whatever is asked.
    typed: bool = field(default=False, compare=False, repr=False)

    @property
    def on(self) -> bool:
        """Whether there is a gate, which takes the verdict from the single answers."""
        return bool(self.min_accuracy) or self.reference is not None

    def limit(self, dataset: str) -> float | None:
        """Return the least accuracy asked of *dataset*."""
        return self.min_accuracy.get(dataset, self.min_accuracy.get(EVERY))

    def judges(self, dataset: str) -> bool:
        """Tell whether a check is made of *dataset*."""
        return self.limit(dataset) is not None or self.reference is not None


def verdict(checks: Iterable[bool | None]) -> bool | None:
    """Return whether a gate passed whose *checks* did: one that failed fails it, one that is open leaves it open.

    >>> verdict([True, None]), verdict([None, False]), verdict([])
    (None, False, None)
    """
    verdicts = {*checks}
    return False if False in verdicts else None if None in verdicts or not verdicts else True


def parse_share(text: str) -> float:
    """Return a share from 0 to 1. Raises ``ValueError`` with one line.

    >>> parse_share("0.9"), parse_share("1")
    (0.9, 1.0)
    """
    if _SHARE.fullmatch(text.strip()) is None:
        raise ValueError(f"cannot read {text.strip()[:40]!r}: write a number from 0 to 1, such as 0.9")
    return float(text)


def parse_limits(text: str) -> dict[str, float]:
    """Return the limits by dataset; one without a name is for every other dataset. Raises ``ValueError``.

    >>> parse_limits("0.9"), parse_limits("arithmetic=0.9, logic=0.5")
    ({'': 0.9}, {'arithmetic': 0.9, 'logic': 0.5})
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.rpartition("=")
        name = name.strip()
        if equals and not name:
            raise ValueError(f"cannot read {part.strip()[:40]!r}: write 0.9, or arithmetic=0.9,logic=0.5")
        if name in limits:
            raise ValueError(f"{f'the limit of {name[:40]!r}' if name else 'a limit for all'} is given twice")
        limits[name] = parse_share(share)
    return limits
