"""A plan in chunks: what is left of it, what is being answered somewhere, and what comes back when a node is lost."""

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
"""How often, one time after another, an item's chunk is lost until the item is sent alone, and until it is given up."""


@dataclass(frozen=True)
class Chunk:
    """Some of a plan's work, for one replica; ``known`` are the baselines of its queries that were answered before."""

    works: tuple[SweepRequest, ...]
    known: Mapping[Query, Baseline] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many ablated rows there are, and baselines to be answered."""
        return sum(len(work.ablated) + (work.query not in self.known) for work in self.works)


@dataclass
class _Item:
    """What is left of one query's work."""

    work: SweepRequest
    baseline: Baseline | None = None
    opened: bool = False  # its baseline is known, or some replica answers it at present


class ChunkQueue:
    """The work of a plan that is not done yet, handed out in chunks; *known* are baselines of an earlier plan.

    An item's first chunk answers its baseline; until that is known no other replica gets more of the item, so that a
    baseline is answered once, however many replicas share the item's targets.
    """

    def __init__(self, plan: Sequence[SweepRequest], known: Mapping[Query, Baseline] | None = None) -> None:
        baselines = known or {}
        self._items = {
            _key(work.query): _Item(work, baselines.get(work.query), work.query in baselines) for work in plan
        }
        self._out = 0
        self._losses: Counter[ItemKey] = Counter()
        self._alone: set[ItemKey] = set()
        self._dropped: set[ItemKey] = set()

    def __bool__(self) -> bool:
        return bool(self._items) or self._out > 0

    @property
    def left(self) -> int:
        """Rows that are not handed out."""
        return sum(len(item.work.ablated) + (not item.opened) for item in self._items.values())

    def take(self, rows: int) -> Chunk | None:
        """Return a chunk of about *rows* rows in the plan's order; ``None`` where nothing can be handed out now."""
        works: list[SweepRequest] = []
        known: dict[Query, Baseline] = {}
        room = max(1, rows)
        for key, item in self._items.items():
            query, ablated = item.work.query, item.work.ablated
            if (item.opened and item.baseline is None) or (key in self._alone and works):
                continue
            room -= not item.opened
            if works and len(ablated) > room:
                break  # whoever comes next takes it from its beginning
            now = ablated[: max(room, int(item.opened))]
            room -= len(now)
            works.append(SweepRequest(query, now))
            if item.baseline is not None:
                known[query] = item.baseline
            item.opened, item.work = True, SweepRequest(query, ablated[len(now) :])
            if room < 1 or key in self._alone:
                break
        for query in known:
            if not self._items[_key(query)].work.ablated:
                del self._items[_key(query)]
        if not works:
            return None
        self._out += 1
        return Chunk(tuple(works), known)

    def answered(self, chunk: Chunk, outcomes: Sequence[Sequence[Answer]], found: Mapping[Query, Baseline]) -> None:
        """Take note of a chunk that came back, whole or in part: what of it is not in *outcomes* is left again."""
        self._out -= 1
        done = {outcome.key for batch in outcomes for outcome in batch if outcome.ablation is not None}
        for work in chunk.works:
            self._losses.pop(_key(work.query), None)
            missing = tuple(
                (target, ablation)
                for target, ablation in work.ablated
                if (*_key(work.query), target.name, ablation) not in done
            )
            self._put_back(SweepRequest(work.query, missing), found.get(work.query) or chunk.known.get(work.query))

    def lost(self, chunk: Chunk) -> Query | None:
        """Put a whole chunk back whose process ended; return the item that seems to be what ends the processes."""
        self._out -= 1
        for work in chunk.works:
            self._put_back(work, chunk.known.get(work.query))
            self._losses[_key(work.query)] += 1
        self.separate([work.query for work in chunk.works if self._losses[_key(work.query)] >= ALONE_AFTER])
        (first, *others) = chunk.works
        return first.query if not others and self._losses[_key(first.query)] >= GIVEN_UP_AFTER else None

    def _put_back(self, work: SweepRequest, baseline: Baseline | None) -> None:
        """Add *work* to what is left of its item, whose baseline this may be the first to know."""
        key = _key(work.query)
        if key in self._dropped:
            return
        item = self._items.setdefault(key, _Item(SweepRequest(work.query)))
        item.work = SweepRequest(work.query, (*work.ablated, *item.work.ablated))
        item.baseline = item.baseline or baseline
        item.opened = item.baseline is not None
        if item.opened and not item.work.ablated:
            del self._items[key]

    def separate(self, queries: Iterable[Query]) -> None:
        """From now on send these items, one of which the model fails at, each alone."""
        self._alone |= {_key(query) for query in queries}

    def drop(self, query: Query) -> None:
        """Forget what is left of an item: it does not fit the context, or the model fails at it."""
        self._items.pop(_key(query), None)
        self._dropped.add(_key(query))


def _key(query: Query) -> ItemKey:
    return query.dataset, query.item_id
