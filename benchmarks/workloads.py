"""The questions that benchmarks ask, and what the engine is given for them."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.data import datasets
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import Engine
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.targets import Target


def queries(items: int, new_tokens: int) -> list[Query]:
    """Return *items* of the built-in questions, evenly spread over the datasets."""
    every = [(name, item) for name in datasets.BUILTIN for item in datasets.builtin(name).items]
    return [query(*every[at * len(every) // items], Generation(new_tokens)) for at in range(items)]


def jobs_of(engine: Engine, asked: Sequence[Query], targets: Sequence[Target]) -> list[AblationJob]:
    """Return what the engine's ways answer: each query with its baseline's reply, *targets* off one at a time."""
    found = []
    for each in asked:
        encoded, stop = engine.codec.encode(each), each.generation.stop
        found.append(AblationJob(encoded, stop, engine.plain.baseline(encoded, stop), tuple(targets), ZERO))
    return found
