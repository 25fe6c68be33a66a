"""A model, the queries to answer on it, and the store of its outcomes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.cache import cached_engine, key
from reasoning_probe.engine.cache.store import FILE, OutcomeCache
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import weights
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import parse_targets
from reasoning_probe.results.answer import judge_answer
from reasoning_probe.results.outcome import Outcome
from tests.helpers.planted_model import CARRIER, planted

SKY = Item(question="What colour is the sky?", answer="blue", id="sky")
GRASS = Item(question="What colour is the grass?", answer="green", id="grass")


class Scenario:
    """A model, the queries to answer on it, and how; each test changes one thing."""

    def __init__(self) -> None:
        self.model, self.tokenizer = planted()
        self.items = [SKY, GRASS]
        self.targets = f"{CARRIER},L0"
        self.ablation = "zero"
        self.generation = Generation(8)
        self.references: list[str] | None = None
        self.fresh = False

    def queries(self) -> list[Query]:
        return [query("colours", item, self.generation) for item in self.items]

    def run(self, folder: Path) -> tuple[list[Outcome], int, list[str]]:
        """Return the outcomes, how many of them were computed, and the notes of the cache."""
        head_map = find_heads(self.model)
        references = self.references or [query.prompt for query in self.queries()]
        engine = LocalEngine(self.model, self.tokenizer, head_map, {"colours": references})
        computed = 0

        def counted(plan: Any) -> Any:
            nonlocal computed
            for batch in LocalEngine.run(engine, plan):
                computed += len(batch)
                yield batch

        engine.run = counted  # type: ignore[method-assign]
        context = key.model_context(self.model, self.tokenizer, weights.fingerprint(self.model))
        assert context is not None
        store = OutcomeCache(folder, fresh=self.fresh)
        ablated = tuple((target, self.ablation) for target in parse_targets(self.targets, head_map))
        outcomes = [
            answer.judged(judge_answer(answer))
            for batch in cached_engine.CachedEngine(engine, store, context).run(
                [SweepRequest(query, ablated) for query in self.queries()]
            )
            for answer in batch
        ]
        store.close()
        return outcomes, computed, store.notes


def by_case(outcomes: list[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: (outcome.item, outcome.target))


def rows(folder: Path) -> int:
    with sqlite3.connect(folder / FILE) as db:
        (count,) = db.execute("SELECT count(*) FROM outcomes").fetchone()
    return int(count)


def spoil(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / FILE)
    with db:
        db.execute(statement)
    db.close()
