"""Few-shot examples: worked questions before a question, never among the questions that are asked.

The shots are the same for every question of a dataset and drawn by the seed, so that an outcome depends on no other
question and the engine runs their part of the prompt once. They come from the source that the user names for them, from
the generator of a generated dataset, or from the items of a source that are not asked. A dataset in GSM8K's format that
has too few of these gets generated word problems, whose solutions are in that format.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from reasoning_probe.data import generators
from reasoning_probe.data.datasets import Dataset, read
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.data.sources.base import DatasetError

_SEED_OFFSET = 1_000_003  # added to a generator's seed, so that the shots are not the first questions that it makes
_MOST_READ = 100_000  # items of a source that are read for shots


def few_shot_examples(
    dataset: Dataset,
    prompting: Prompting,
    seed: int,
    unused_items: Iterable[Item] = (),
    *,
    trusted: bool = False,
) -> tuple[Item, ...]:
    """Return the shots of *dataset*; *unused_items* are the items of its source that are not in it.

    The code of a *trusted* source of shots is run. Raises ``DatasetError``, one line, if there are too few.
    """
    n = prompting.shots
    if not n:
        return ()
    excluded = {_normalised(item) for item in dataset.items}
    if prompting.shots_from is not None:
        pool = _without(read("shots", prompting.shots_from, trusted=trusted).items, excluded)
        reason = f"{prompting.shots_from} has {len(pool)} that are not asked: name another source"
        return _draw(pool, n, seed, reason)
    if spec := _generator(dataset):
        return _generate(spec, n, seed, excluded)
    pool = _without(unused_items, excluded)
    if len(pool) < n and dataset.format == "gsm8k":
        return _generate("multi_step", n, seed, excluded)
    fix = f"ask fewer of them with --probe-items, or name a source: --probe-shots {n}:FILE.jsonl"
    return _draw(pool, n, seed, f"{dataset.name} has {len(pool)} that are not asked: {fix}")


def _generator(dataset: Dataset) -> str | None:
    """Return the generator that made *dataset*, ``None`` if none did."""
    if generators.is_spec(dataset.source):
        return dataset.source
    return dataset.builtin if dataset.builtin in generators.NAMES else None


def _generate(generator: str, n: int, seed: int, excluded: set[str]) -> tuple[Item, ...]:
    """Return *n* items of *generator* that are not *excluded*, which holds the questions that are asked."""
    spec = generators.parse(generator)
    spec = replace(spec, seed=spec.seed + seed + _SEED_OFFSET)
    count = n
    while True:
        try:
            items = _without(generators.generate_spec(spec, count), excluded)
        except ItemError as error:
            raise DatasetError(f"{n} shots of {generator}: {error}") from error
        if len(items) >= n:
            return tuple(items[:n])
        count += len(excluded)


def _draw(pool: Sequence[Item], n: int, seed: int, reason: str) -> tuple[Item, ...]:
    """Return *n* items drawn from *pool*; *reason* ends the message if it has fewer."""
    if len(pool) < n:
        raise DatasetError(f"{n} shots need as many items that are not asked, but {reason}")
    return tuple(random.Random(seed).sample(pool, n))


def _without(items: Iterable[Item], excluded: set[str]) -> list[Item]:
    """Return the first *items* whose question is not *excluded*, each question once."""
    by_question: dict[str, Item] = {}
    for _, item in zip(range(_MOST_READ), items, strict=False):
        question = _normalised(item)
        if question not in excluded:
            by_question.setdefault(question, item)
    return list(by_question.values())


def _normalised(item: Item) -> str:
    """Return the question of *item* without differences of case and spacing."""
    return " ".join(item.question.lower().split())
