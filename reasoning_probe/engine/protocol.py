"""What can answer a plan: one protocol for the local engine, the cached one and the cluster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from reasoning_probe.results.outcome import Outcome

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import SweepRequest, Timing
    from reasoning_probe.engine.plain_path import Counts


class Counting(Protocol):
    """What answers, here or on a cluster, and counts what it does."""

    timing: Timing
    counts: Counts


class Runner(Protocol):
    """What runs a plan: an engine, the outcome store before it, or a cluster of engines."""

    def run(self, plan: Sequence[SweepRequest], /) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan*, a query's in each list, as they are found."""


class Referencing(Runner, Protocol):
    """A runner whose answers depend on reference prompts."""

    @property
    def references(self) -> Mapping[str, Sequence[str]]:
        """By dataset, the prompts that ``mean`` and ``resample`` take their values from."""

    @property
    def seed(self) -> int:
        """Of the donors that ``resample`` draws."""
