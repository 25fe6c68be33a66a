"""What an engine is: its requests, what it counts, and the protocol that local, cached and cluster engines meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.models.targets import Target
from reasoning_probe.results.answer import Answer

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.pace import Pace
    from reasoning_probe.engine.plain_path import Counts

Result = TypeVar("Result")


@dataclass(frozen=True)
class SweepRequest:
    """A query with the targets to switch off, each with its ablation."""

    query: Query
    ablated: tuple[tuple[Target, str], ...] = ()


@dataclass
class Timing:
    """Seconds spent on baseline answers, ablated ones, the proof of the fast path, and each analysis."""

    baseline_s: float = 0.0
    sweep_s: float = 0.0
    proof_s: float = 0.0
    control_s: float = 0.0
    directions_s: float = 0.0
    describe_s: float = 0.0
    paths_s: float = 0.0
    circuits_s: float = 0.0
    screen_s: float = 0.0
    curve_s: float = 0.0

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """While open, count the time that passes under *name* alone."""
        before, started = vars(self).copy(), time.perf_counter()
        try:
            yield
        finally:
            vars(self).update(before)
            vars(self)[name] += time.perf_counter() - started


class Analysis(Protocol[Result]):
    """A measurement on the model of one engine, beside the sweep; a cluster splits it over its replicas."""

    @property
    def timing(self) -> str:
        """The field of :class:`Timing` that its seconds are counted in."""

    @property
    def failure(self) -> str:
        """The error to raise where every process that measured a part ended; empty where a run goes on without."""

    def measure(self, engine: LocalEngine) -> Result:
        """Return the result on *engine*, whose timing it adds to. Raises ``HeadError`` where the model forbids it."""

    def split(self, parts: int) -> Sequence[Analysis[Result]]:
        """Return at most *parts* analyses that together measure what this one does."""

    def merge(self, results: Sequence[Result]) -> Result:
        """Return the whole result from those of the parts, in any order."""


class Engine(Protocol):
    """Answers requests exactly: on this machine, from the outcome store, or on a cluster."""

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Items whose prompt does not fit the model's context, each with its dataset and the reason."""

    @property
    def references(self) -> Mapping[str, Sequence[str]]:
        """By dataset, the prompts that ``mean`` and ``resample`` take their values from."""

    @property
    def seed(self) -> int:
        """The seed of the donors that ``resample`` draws."""

    @property
    def where(self) -> str:
        """The place at which heads are off."""

    @property
    def timing(self) -> Timing:
        """The seconds spent so far."""

    @property
    def counts(self) -> Counts:
        """The rows answered so far, by how they were settled."""

    @property
    def pace(self) -> Pace:
        """How far the sweep is and how fast; on a cluster it stands still."""

    def run(self, requests: Sequence[SweepRequest], /) -> Iterator[list[Answer]]:
        """Yield the answers to *requests* as they are found, those of one query in each list."""

    def measure(self, analysis: Analysis[Result], /) -> Result | None:
        """Return the result of *analysis*; ``None`` where a cluster could not measure it and a run goes on without."""

    def aside(self, timing: str, /) -> AbstractContextManager[None]:
        """Return a context in which only the seconds under *timing* are counted: what runs is no part of the sweep."""

    def facts(self) -> dict[str, Any]:
        """Return what the engine did, as ``engine`` in ``run.json`` holds it."""

    def close(self) -> None:
        """Release what the engine holds beside the model: a cluster's replicas, the store's connection."""
