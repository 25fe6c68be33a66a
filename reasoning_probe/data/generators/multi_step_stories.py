"""Stories of several steps about what somebody has, with irrelevant sentences between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from reasoning_probe.data.generators.arithmetic import WORDS
from reasoning_probe.data.generators.difficulty import Spec
from reasoning_probe.data.generators.multi_step import NAMES, THINGS
from reasoning_probe.data.items import Item


@dataclass(frozen=True)
class Event:
    """An event that changes how many things somebody has: the sign of the operation, and the sentence."""

    sign: str
    text: str


EVENTS = (
    Event("+", "{name} finds {n} more {things}."),
    Event("+", "{name} buys {n} {things}."),
    Event("+", "{other} gives {name} {n} {things}."),
    Event("-", "{name} loses {n} {things}."),
    Event("-", "{name} gives {n} {things} to {other}."),
    Event("-", "{name} sells {n} {things}."),
    Event("*", "Then {name} gets so many that there are {n} times as many {things}."),
    Event("/", "{name} puts all {things} into {n} equal piles and keeps one pile."),
)

DISTRACTORS = (
    "{other} has {n} {others}.",
    "{other} is {n} years old.",
    "A bag of {others} costs {n} dollars.",
    "There are {n} houses in the street of {other}.",
    "It takes {n} minutes to walk to the school.",
)


def draws(rng: random.Random, spec: Spec) -> Iterator[Callable[[], Item]]:
    """Yield, without end, what draws the next story.

    It has ``spec["steps"]`` events among ``spec["distractors"]`` irrelevant sentences.
    """
    for number in count(1):
        yield partial(draw, rng, spec["digits"], spec["steps"], spec["distractors"], number)


def draw(rng: random.Random, digits: int, steps: int, distractors: int, number: int) -> Item:
    """Return a story drawn from *rng*; every result is a whole number of at least 1."""
    name, other = rng.sample(NAMES, 2)
    things, others = rng.sample(THINGS, 2)
    while (plot := _plot(rng, digits, steps)) is None:
        pass
    value, events = plot
    sentences = [f"{name} has {value} {things}."]
    lines: list[str] = []
    for event, n, result in events:
        sentences.append(event.text.format(name=name, other=other, things=things, n=n))
        lines.append(f"{value} {event.sign} {n} = <<{value}{event.sign}{n}={result}>>{result}")
        value = result
    for _ in range(distractors):
        text = rng.choice(DISTRACTORS).format(other=other, others=others, n=rng.randint(*_range(digits)))
        sentences.insert(rng.randint(0, len(sentences) - 1), text)
    return Item(
        id=f"story-{name}-{number}".lower(),
        question=" ".join((*sentences, f"How many {things} does {name} have now?")),
        answer=str(value),
        kind="number",
        solution="\n".join((*lines, f"#### {value}")),
        form="-".join(WORDS[event.sign] for event, _, _ in events),
    )


def _plot(rng: random.Random, digits: int, steps: int) -> tuple[int, list[tuple[Event, int, int]]] | None:
    """Return a first amount, and *steps* events, each with its number and its result; ``None`` where one has no result.

    Events and numbers are drawn together, so that events that few numbers fit are rare from the first story on, and
    do not run out before the others.
    """
    low, high = _range(digits)
    first = value = rng.randint(low, high)
    events: list[tuple[Event, int, int]] = []
    for _ in range(steps):
        event = rng.choice(EVENTS)
        n = rng.randint(2, 5) if event.sign in "*/" else rng.randint(low, high)
        result = _apply(event.sign, value, n, 100 * high)
        if result is None:
            return None
        events.append((event, n, result))
        value = result
    return first, events


def _range(digits: int) -> tuple[int, int]:
    """Return the smallest and the largest amount of *digits* digits; one digit begins at 2."""
    return (2, 9) if digits == 1 else (10 ** (digits - 1), 10**digits - 1)


def _apply(sign: str, a: int, b: int, largest: int) -> int | None:
    """Return the result of a step, or ``None`` where it is not a whole number from 1 to *largest*."""
    if sign == "/" and a % b:
        return None
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]
    return result if 1 <= result <= largest else None
