"""Shots: worked examples before a question, never among the questions that are asked.

They are the same for every question of a dataset, drawn by the seed, so that an outcome depends on no other question
and the engine runs their part of the prompt once. They come from what the user names, from the generator of generated
data, from a source's items beyond those that are asked, and for GSM8K's format from generated word problems, whose
solutions are in that format.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from reasoning_probe.data import generators
from reasoning_probe.data.datasets import Dataset, read
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.data.sources.records import DatasetError

_OTHER_SEED = 1_000_003  # added to a generator's seed: the shots are other questions than the first that it makes
_MOST_READ = 100_000  # items of a source that are looked at for shots


def few_shot_examples(asked: Dataset, prompting: Prompting, seed: int, beyond: Iterable[Item] = ()) -> tuple[Item, ...]:
    """Return the shots of the dataset *asked*; *beyond* are further items of its source, where it has one.

    Raises ``DatasetError``, one line, where there are too few.
    """
    n = prompting.shots
    if not n:
        return ()
    taken = {_plain(item) for item in asked.items}
    if prompting.shots_from is not None:
        pool = _others(read("shots", prompting.shots_from).items, taken)
        return _drawn(pool, n, seed, f"{prompting.shots_from} has {len(pool)} that are not asked: name another source")
    if generated := _generator(asked):
        return _generated(generated, n, seed, taken)
    pool = _others(beyond, taken)
    if len(pool) < n and asked.format == "gsm8k":
        return _generated("multi_step", n, seed, taken)
    mend = f"ask fewer of them with --probe-items, or name a source: --probe-shots {n}:FILE.jsonl"
    return _drawn(pool, n, seed, f"{asked.name} has {len(pool)} that are not asked: {mend}")


def _generator(asked: Dataset) -> str | None:
    """Return the generator that makes more questions of the kind of *asked*."""
    if generators.is_spec(asked.source):
        return asked.source
    return asked.builtin if asked.builtin in generators.NAMES else None


def _generated(source: str, n: int, seed: int, taken: set[str]) -> tuple[Item, ...]:
    spec = generators.parse(source)
    spec = replace(spec, seed=spec.seed + seed + _OTHER_SEED)
    wanted = n
    while True:
        try:
            found = _others(generators.generate_spec(spec, wanted), taken)
        except ItemError as error:
            raise DatasetError(f"{n} shots of {source}: {error}") from error
        if len(found) >= n:
            return tuple(found[:n])
        wanted += len(taken)


def _drawn(pool: Sequence[Item], n: int, seed: int, said: str) -> tuple[Item, ...]:
    if len(pool) < n:
        raise DatasetError(f"{n} shots need as many items that are not asked, but {said}")
    return tuple(random.Random(seed).sample(pool, n))


def _others(items: Iterable[Item], taken: set[str]) -> list[Item]:
    """Return the first items whose question is not taken, each question once."""
    found: dict[str, Item] = {}
    for _, item in zip(range(_MOST_READ), items, strict=False):
        if _plain(item) not in taken:
            found.setdefault(_plain(item), item)
    return list(found.values())


def _plain(item: Item) -> str:
    return " ".join(item.question.lower().split())
