"""The engine of a cluster: it spreads requests over replicas of the model and collects their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

from reasoning_probe.cluster.actor_pool import ActorPool, ClusterError, PooledActor
from reasoning_probe.cluster.chunk_queue import GIVEN_UP_AFTER, Chunk, ChunkQueue
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.cluster.replica import ChunkResult, ReplicaConfig
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.pace import Pace
from reasoning_probe.engine.plain_path import Counts
from reasoning_probe.engine.protocol import Analysis, Result, SweepRequest, Timing
from reasoning_probe.engine.tokenization import Baseline
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import BASELINE, ItemKey

CHUNK_S = 5.0
"""Seconds that a chunk is to take: long beside what sending it costs, short beside what losing it costs."""

FIRST_ROWS = 64
"""Rows of a replica's first chunk, before it has shown how fast it is."""

LEAST_ROWS = {"cuda": 256, "cpu": 16}
"""So many rows keep a kind of device busy: a chunk has as many, however long they take."""

SHARES = 2
"""A chunk is at most a replica's share of what is left, in so many parts, so that all of them end together."""


class ItemError(RuntimeError):
    """The model raised at an item, or ended the process that answered it."""


class _Trace(Exception):
    """Where the model raised, on the node: the cause of an :class:`ItemError`."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class ClusterEngine:
    """Answers requests as :class:`~reasoning_probe.engine.engine.LocalEngine` does, on the nodes of a cluster.

    Baselines are answered once each; rows of one item are spread over replicas where it has many. A chunk whose process
    or node ends is answered again; where the model raises, the item is left out, the others are answered, and the error
    is raised at the end.
    """

    def __init__(
        self, spec: ClusterSpec, config: ReplicaConfig, model: Any = None, *, chunk_rows: int | None = None
    ) -> None:
        self.references: Mapping[str, Sequence[str]] = config.references
        self.seed, self.where = config.seed, config.where
        self.skipped: list[dict[str, str]] = []
        self.timing = Timing()
        self.counts, self.pace = Counts(), Pace()
        self.path_name = self.why = ""
        self.chunks = 0
        self._rows = chunk_rows
        self._baselines: dict[Query, Baseline] = {}  # the curve asks some queries again
        self._peaks: dict[Any, int] = {}
        self._hosts: set[str] = set()
        self.actor_pool = ActorPool(spec, config, model)
        try:
            while not self.actor_pool.idle():
                self.actor_pool.scale_up()
                for _ in self.actor_pool.events():
                    pass
        except BaseException:
            self.close()
            raise
        self.context = self.actor_pool.context

    @property
    def device(self) -> str:
        """Return the kind of device that the replicas run on."""
        return self.context.get("device", "cpu")

    def close(self) -> None:
        """Let the replicas go."""
        self.actor_pool.close()

    def facts(self) -> dict[str, Any]:
        """Return what the replicas did, in plain values, as an engine does: counts and memory are summed over them."""
        return asdict(self.counts) | {
            "path": self.path_name,
            "why": self.why,
            "numerics": self.context.get("numerics", "settle").partition(",")[0],
            "numerics_why": self.actor_pool.numerics_why,
            "peak_bytes": sum(self._peaks.values()),
            "replicas": len(self._peaks),
            "nodes": len(self._hosts),
            "chunks": self.chunks,
            "lost": self.actor_pool.lost,
            "notes": "; ".join(self.actor_pool.notes),
        }

    # -- the plan -----------------------------------------------------------------------------------------------------

    def run(self, requests: Sequence[SweepRequest]) -> Iterator[list[Answer]]:
        """Yield the answers to *requests* as they come in: each query's baseline first, and none twice."""
        chunks = ChunkQueue(requests, self._baselines)
        seen: set[ItemKey] = set()  # items whose baseline was yielded
        errors: list[ItemError] = []

        def take(actor: PooledActor) -> Chunk | None:
            return chunks.take(self._rows_for(actor, chunks.remaining_rows))

        for chunk, actor, result in self._spread(lambda: bool(chunks), take, "answer"):
            if result is None:
                hopeless = chunks.put_back(chunk)
                if hopeless is not None:
                    chunks.drop(hopeless)
                    errors.append(_ended(hopeless, actor))
                continue
            self._account(actor, chunk, result)
            skipped = {(skip["dataset"], skip["item"]) for skip in result.skipped}
            for request in chunk.requests:
                if (request.query.dataset, request.query.item_id) in skipped:
                    chunks.drop(request.query)
                elif result.error and len(chunk.requests) == 1:
                    chunks.drop(request.query)
                    errors.append(_raised(request.query, actor, result))
            self.skipped += result.skipped
            self._baselines |= result.baselines
            chunks.complete(chunk, result.answers, result.baselines)
            if result.error:
                chunks.send_alone(request.query for request in chunk.requests)
            for batch in result.answers:
                new = {answer.item_key for answer in batch if answer.target == BASELINE}
                if not new & seen:
                    seen |= new
                    yield batch
        if errors:
            raise errors[0]

    def _rows_for(self, actor: PooledActor, left: int) -> int:
        """Return how many rows to send: some seconds' worth, and less towards the end."""
        if self._rows is not None:
            return self._rows
        wanted = int(actor.rate * CHUNK_S) if actor.rate else FIRST_ROWS
        wanted = max(wanted, LEAST_ROWS.get(self.device, 1))
        share = -(-left // (SHARES * len(self.actor_pool.actors)))
        return max(min(wanted, share), wanted // 20, 1)

    def _account(self, actor: PooledActor, chunk: Chunk, result: ChunkResult) -> None:
        self.chunks += 1
        for name, count in result.counts.items():
            setattr(self.counts, name, getattr(self.counts, name) + count)
        for part in fields(Timing):
            setattr(self.timing, part.name, getattr(self.timing, part.name) + result.seconds[part.name])
        self.path_name, self.why = result.path or self.path_name, result.why or self.why
        self._peaks[actor] = result.peak_bytes
        self._hosts.add(actor.node)
        spent = result.seconds["baseline_s"] + result.seconds["sweep_s"]
        if spent > 0:
            actor.rate = chunk.rows / spent

    # -- analyses -----------------------------------------------------------------------------------------------------

    def measure(self, analysis: Analysis[Result]) -> Result | None:
        """Return the result of *analysis*, measured by all replicas, each for its part.

        Where a part is lost time after time, or the cluster is gone, :class:`ClusterError` is raised, or ``None``
        returned where the run goes on without the result. Raises :class:`~reasoning_probe.models.head_map.HeadError`
        where a replica's model forbids it.
        """
        try:
            return analysis.merge(list(self._results(analysis)))
        except ClusterError as error:
            if analysis.failure:
                raise
            if str(error):
                self.actor_pool.notes.append(str(error))
            return None

    def _results(self, analysis: Analysis[Result]) -> Iterator[Result]:
        """Yield the results of the parts of *analysis* as they come in."""
        parts = analysis.split(max(1, len(self.actor_pool.actors)))
        waiting, unfinished = list(parts), {id(part) for part in parts}
        losses: Counter[int] = Counter()
        for part, _, answer in self._spread(
            lambda: bool(unfinished), lambda _: waiting.pop() if waiting else None, "measure"
        ):
            if answer is None:
                losses[id(part)] += 1
                waiting.append(part)
                if losses[id(part)] >= GIVEN_UP_AFTER:
                    raise ClusterError(analysis.failure)
                continue
            result, seconds, error = answer
            vars(self.timing)[analysis.timing] += seconds
            if error:
                raise HeadError(error)
            unfinished.discard(id(part))
            yield result

    @contextmanager
    def aside(self, timing: str) -> Iterator[None]:
        """While open, count nothing but the seconds, and those under *timing*."""
        with self.timing.only(timing), self.counts.paused():
            yield

    # -- sending and receiving ----------------------------------------------------------------------------------------

    def _spread(
        self, unfinished: Callable[[], bool], take: Callable[[PooledActor], Any], method: str
    ) -> Iterator[tuple[Any, PooledActor, Any]]:
        """Send what *take* gives to whoever is idle; yield each task with what came back, ``None`` where it was lost.

        What an earlier call, whose caller went away, had sent is received and forgotten.
        """
        sent: set[int] = set()
        pool = self.actor_pool
        while unfinished():
            pool.scale_up()
            for actor in pool.idle():
                task = take(actor)
                if task is None:
                    break
                sent.add(id(task))
                pool.submit(actor, method, task, task)
            for event in list(pool.events()):
                if id(event.task) in sent:
                    sent.discard(id(event.task))
                    yield event.task, event.actor, event.result


def _raised(query: Query, actor: PooledActor, result: ChunkResult) -> ItemError:
    error = ItemError(f"{result.error} (item {query.item_id} of {query.dataset}, on the node {actor.host})")
    error.__cause__ = _Trace(result.trace)
    return error


def _ended(query: Query, actor: PooledActor) -> ItemError:
    return ItemError(
        f"every process that answered item {query.item_id} of {query.dataset} ended, the last on the node"
        f" {actor.host}: if memory ran out there, give --probe-memory"
    )
