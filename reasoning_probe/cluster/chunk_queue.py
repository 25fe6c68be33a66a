"""A plan in chunks: what remains of it, what replicas are answering, and what is put back when one is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.tokenization import Baseline
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import ItemKey

ALONE_AFTER, GIVEN_UP_AFTER = 2, 4
"""How many times in a row an item's chunk is lost before the item is sent alone, and before it is given up."""


@dataclass(frozen=True)
class Chunk:
    """Some requests of a plan, for one replica; ``baselines`` are those of its queries that are already known."""

    requests: tuple[SweepRequest, ...]
    baselines: Mapping[Query, Baseline] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of ablated rows and of baselines to be answered."""
        return sum(len(request.ablated) + (request.query not in self.baselines) for request in self.requests)


@dataclass
class _Item:
    """What remains of one query's request."""

    request: SweepRequest
    baseline: Baseline | None = None
    opened: bool = False  # its baseline is known, or a replica is answering it


class ChunkQueue:
    """The requests of a plan that are not done yet, in chunks; *baselines* are those of an earlier plan.

    An item's first chunk answers its baseline; until that is known no other replica gets more of the item, so that a
    baseline is answered once, however many replicas share the item's targets.
    """

    def __init__(self, plan: Sequence[SweepRequest], baselines: Mapping[Query, Baseline] | None = None) -> None:
        known = baselines or {}
        self._items = {
            _key(request.query): _Item(request, known.get(request.query), request.query in known) for request in plan
        }
        self._in_flight = 0
        self._losses: Counter[ItemKey] = Counter()
        self._alone: set[ItemKey] = set()
        self._dropped: set[ItemKey] = set()

    def __bool__(self) -> bool:
        return bool(self._items) or self._in_flight > 0

    @property
    def remaining_rows(self) -> int:
        """Number of rows that no replica has been sent."""
        return sum(len(item.request.ablated) + (not item.opened) for item in self._items.values())

    def take(self, rows: int) -> Chunk | None:
        """Return a chunk of about *rows* rows in the plan's order; ``None`` if no row can be sent now."""
        requests: list[SweepRequest] = []
        baselines: dict[Query, Baseline] = {}
        room = max(1, rows)
        for key, item in self._items.items():
            query, ablated = item.request.query, item.request.ablated
            if (item.opened and item.baseline is None) or (key in self._alone and requests):
                continue
            room -= not item.opened
            if requests and len(ablated) > room:
                break  # the next chunk takes it from its beginning
            taken = ablated[: max(room, int(item.opened))]
            room -= len(taken)
            requests.append(SweepRequest(query, taken))
            if item.baseline is not None:
                baselines[query] = item.baseline
            item.opened, item.request = True, SweepRequest(query, ablated[len(taken) :])
            if room < 1 or key in self._alone:
                break
        for query in baselines:
            if not self._items[_key(query)].request.ablated:
                del self._items[_key(query)]
        if not requests:
            return None
        self._in_flight += 1
        return Chunk(tuple(requests), baselines)

    def complete(self, chunk: Chunk, answers: Sequence[Sequence[Answer]], baselines: Mapping[Query, Baseline]) -> None:
        """Record the result of a chunk, whole or partial: rows that are not in *answers* are put back."""
        self._in_flight -= 1
        done = {answer.key for batch in answers for answer in batch if answer.ablation is not None}
        for request in chunk.requests:
            query = request.query
            self._losses.pop(_key(query), None)
            missing = tuple(
                (target, ablation)
                for target, ablation in request.ablated
                if (*_key(query), target.name, ablation) not in done
            )
            self._put_back(SweepRequest(query, missing), baselines.get(query) or chunk.baselines.get(query))

    def put_back(self, chunk: Chunk) -> Query | None:
        """Put back a chunk whose process ended; return the query that seems to end the processes, if any."""
        self._in_flight -= 1
        for request in chunk.requests:
            self._put_back(request, chunk.baselines.get(request.query))
            self._losses[_key(request.query)] += 1
        queries = [request.query for request in chunk.requests]
        self.send_alone(query for query in queries if self._losses[_key(query)] >= ALONE_AFTER)
        (first, *others) = queries
        return first if not others and self._losses[_key(first)] >= GIVEN_UP_AFTER else None

    def _put_back(self, request: SweepRequest, baseline: Baseline | None) -> None:
        """Add *request* to what remains of its item; *baseline* may be the first that is known of it."""
        key = _key(request.query)
        if key in self._dropped:
            return
        item = self._items.setdefault(key, _Item(SweepRequest(request.query)))
        item.request = SweepRequest(request.query, (*request.ablated, *item.request.ablated))
        item.baseline = item.baseline or baseline
        item.opened = item.baseline is not None
        if item.opened and not item.request.ablated:
            del self._items[key]

    def send_alone(self, queries: Iterable[Query]) -> None:
        """Send each of these items alone from now on, as the model fails at one of them."""
        self._alone |= {_key(query) for query in queries}

    def drop(self, query: Query) -> None:
        """Remove what remains of an item that does not fit the context or at which the model fails."""
        self._items.pop(_key(query), None)
        self._dropped.add(_key(query))


def _key(query: Query) -> ItemKey:
    return query.dataset, query.item_id
