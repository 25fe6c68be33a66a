"""Sampled answers with any engine: each draw of an item is a query of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.sampling import Draw, item_of, sample_id
from reasoning_probe.engine.multiple_choice import run_multiple_choice
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.results.answer import Answer

Ask = Callable[[Engine, Sequence[SweepRequest]], Iterator[list[Answer]]]
"""Answers requests on an engine, each in one case's way."""


def run_samples(
    engine: Engine, requests: Sequence[SweepRequest], draws: Sequence[Draw], ask: Ask = run_multiple_choice
) -> Iterator[list[Answer]]:
    """*Ask* each of *requests* on *engine* once for every one of *draws*; an answer's query says which it is.

    The draws of an item follow each other, so that they share the pass over its prompt.
    """
    items = {(request.query.dataset, request.query.item_id): request.query.item for request in requests}
    drawn = [replace(request, query=_drawn(request.query, draw)) for request in requests for draw in draws]
    for batch in ask(engine, drawn):
        for skip in engine.skipped:
            skip["item"] = item_of(skip["item"])
        yield [
            replace(answer, query=replace(answer.query, item=items[answer.dataset, item_of(answer.item)]))
            for answer in batch
        ]


def _drawn(query: Query, draw: Draw) -> Query:
    item = replace(query.item, id=sample_id(query.item_id, draw.sample))
    return replace(query, item=item, draw=draw)
