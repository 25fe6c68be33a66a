"""Generated questions: seeded, no question twice, each with an answer that is right by construction.

The first 200 of 400 items are the 200 items of the same seed, so a larger run extends a smaller one, and the share of
each kind of question is the same in both. Two questions that differ in names or in the order of the operands of a sum
or a product are one question: only the first of them is yielded.
:mod:`~reasoning_probe.data.generators.difficulty` reads how hard they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from itertools import islice

from reasoning_probe.data.generators import (
    arithmetic,
    arithmetic_steps,
    logic,
    logic_chains,
    multi_step,
    multi_step_stories,
)
from reasoning_probe.data.generators.difficulty import Spec, is_spec, parse
from reasoning_probe.data.items import Item, ItemError

__all__ = ["NAMES", "Spec", "available", "generate", "generate_spec", "is_spec", "parse"]

_SOURCES = {"arithmetic": arithmetic.draws, "multi_step": multi_step.draws, "logic": logic.draws}
_HARDER = {"arithmetic": arithmetic_steps.draws, "multi_step": multi_step_stories.draws, "logic": logic_chains.draws}

NAMES = tuple(_SOURCES)
"""The names of the datasets that can be generated."""

_EXAMPLES = {"arithmetic": "arithmetic:digits=3", "multi_step": "multi_step:digits=3", "logic": "logic:steps=3"}
_MAX_REPEATS = 1_000  # draws in a row without a new question after which a generator counts as exhausted
_STEP = re.compile(r"<<(\d+)([-+*/])(\d+)=\d+>>")
_WORD = re.compile(r"\w+")


def generate(name: str, n: int, seed: int = 0) -> tuple[Item, ...]:
    """Return *n* items of the dataset *name*, ``logic`` or ``logic:steps=4``, the same ones for the same *seed*.

    Raises :class:`~reasoning_probe.data.items.ItemError` for an unknown name, for fewer than one item, and for more
    items than there are without a change of the shares of the kinds of questions.
    """
    return generate_spec(replace(parse(name), seed=seed), n)


def generate_spec(spec: Spec, n: int) -> tuple[Item, ...]:
    """Return *n* items of *spec*. Raises as :func:`generate` does."""
    if n < 1:
        raise ItemError(f"cannot generate {n} items: ask for at least 1")
    items = _items(spec, n)
    if len(items) < n:
        raise ItemError(
            f"cannot generate {n} different {spec.name} items: ask for {len(items)} or fewer, after which some kind of"
            f" question runs out, or for harder ones, as in {_EXAMPLES[spec.name]}"
        )
    return items


def available(name: str, most: int) -> int:
    """Return how many items of the dataset *name* there are, counted up to *most*. Raises as :func:`generate` does."""
    return len(_items(parse(name), most))


def _items(spec: Spec, most: int) -> tuple[Item, ...]:
    rng = random.Random(spec.seed)
    draws = _SOURCES[spec.name](rng) if spec.knobs is None else _HARDER[spec.name](rng, spec)
    return tuple(islice(_distinct(draws), most))


def _distinct(draws: Iterator[Callable[[], Item | None]]) -> Iterator[Item]:
    """Yield one new item a draw; end at the first draw that has none, so that no kind of question grows rarer."""
    yielded: set[Hashable] = set()
    for draw in draws:
        for _ in range(_MAX_REPEATS):
            item = draw()
            if item is not None and (identity := _identity(item)) not in yielded:
                yielded.add(identity)
                yield item
                break
        else:
            return


def _identity(item: Item) -> Hashable:
    """Return what two items share that ask the same: form and calculation, or the question without its names."""
    if item.solution:
        return item.form, tuple(_step(*step) for step in _STEP.findall(item.solution))
    if item.operation:
        return _step(item.operands[0], item.operation, item.operands[1])
    if " than " in item.question:
        return item.question  # a comparison is about people alone
    names: dict[str, str] = {}
    return _WORD.sub(
        lambda word: names.setdefault(word[0], f"#{len(names)}") if word[0] in logic.PEOPLE else word[0], item.question
    )


def _step(left: str, sign: str, right: str) -> tuple[str, str, str]:
    """Return one step of a calculation, with the operands of a sum or a product in one order."""
    if sign in "+*" and int(right) < int(left):
        left, right = right, left
    return left, sign, right
