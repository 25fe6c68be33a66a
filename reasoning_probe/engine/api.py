"""The sweep as one call, for notebooks and scripts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasoning_probe.cache import OutcomeCache
from reasoning_probe.datasets import from_items
from reasoning_probe.engine.run import Engine, Work
from reasoning_probe.heads import HeadMap, find_heads, prove_heads
from reasoning_probe.items import Item
from reasoning_probe.models import fingerprint
from reasoning_probe.outcome import BASELINE, Outcome
from reasoning_probe.prompts import Generation, query
from reasoning_probe.resume import Resumer, context_of
from reasoning_probe.targets import ABLATIONS, Target, TargetError, every_head, parse_targets


def sweep(
    model: Any,
    tokenizer: Any,
    items: Iterable[Item],
    targets: str | Sequence[str | Target] | None = None,
    ablation: str | Sequence[str] = "zero",
    max_new_tokens: int = 32,
    *,
    seed: int = 0,
    dataset: str = "items",
    stop: tuple[str, ...] = Generation.stop,
    cache: str | Path | None = None,
) -> list[Outcome]:
    """Ask *model* every item, as it is and with each target switched off, and return the outcomes.

    *targets* is a spec such as ``"L3H7,L5,L8-L11"``, a sequence of specs or of
    :class:`~reasoning_probe.targets.Target`, or ``None`` for every head one at a time; ``()`` asks for the baseline
    alone. *ablation* is ``zero``, ``mean``, ``resample`` or several of them, as a sequence or as ``"zero,mean"``;
    *seed* is that of the items which ``resample`` draws. An item whose prompt does not fit the model's context
    yields no outcomes. Items without an id are called ``q1``, ``q2``, ... by their place.

    With *cache*, a folder, outcomes are kept in its store as they are found and taken from there where they are known.

    Raises ``DatasetError``, ``TargetError`` or ``HeadError`` (all ``ValueError``) with one line that says
    what is wrong.
    """
    parts = ablation.split(",") if isinstance(ablation, str) else ablation
    ablations = tuple(dict.fromkeys(part.strip() for part in parts))
    for name in ablations:
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}: use {', '.join(ABLATIONS)}")
    asked = from_items(dataset, items).items
    head_map = HeadMap(())
    chosen: list[Target] = []
    if targets is None or len(targets):
        head_map = find_heads(model)
        if targets is None:
            chosen = every_head(head_map)
        else:
            for part in [targets] if isinstance(targets, str) else targets:
                chosen += [part] if isinstance(part, Target) else parse_targets(part, head_map)
        prove_heads(model, head_map, chosen)
    if len({target.name: target for target in chosen}) < len(set(chosen)):
        raise TargetError("two targets have the same name and other heads: give each a name of its own")
    queries = [query(dataset, item, Generation(max_new_tokens, stop)) for item in asked]
    engine = Engine(model.eval(), tokenizer, head_map, {dataset: [query.prompt for query in queries]}, seed=seed)
    plan = [Work(query, tuple((target, name) for name in ablations for target in chosen)) for query in queries]
    item_place = {work.query.item_id: at for at, work in enumerate(plan)}
    keys = [(BASELINE, None), *((target.name, name) for name in ablations for target in chosen)]
    target_place = {key: at for at, key in enumerate(keys)}
    with _resuming(engine, cache) as runner:
        outcomes = [outcome for batch in runner.run(plan) for outcome in batch]
    return sorted(
        outcomes, key=lambda outcome: (item_place[outcome.item], target_place[outcome.target, outcome.ablation])
    )


@contextmanager
def _resuming(engine: Engine, folder: str | Path | None) -> Iterator[Engine | Resumer]:
    """Yield what runs a plan: *engine*, with the store in *folder* before it where that can be used."""
    context = None if folder is None else context_of(engine.model, engine.tokenizer, fingerprint(engine.model))
    if folder is None or context is None:
        yield engine
        return
    cache = OutcomeCache(Path(folder))
    try:
        yield Resumer(engine, cache, context, str(getattr(engine.model.config, "_name_or_path", "")))
    finally:
        cache.close()
        for note in cache.notes:
            warnings.warn(note, stacklevel=4)
