"""The questions that the bundled model is trained on, and the reserved ones that it is not.

The built-in items are reserved, and the first 400 items of seed 0 of each generated dataset: the first 200 are the test
set, the last 200 the validation set. No reserved question is trained on. The operand pairs of reserved additions and
subtractions are reserved in every phrasing. A multiplication table can only be memorised, so reserved products and
quotients can be inferred from the same fact in another phrasing, from the commuted fact and from the inverse fact.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from reasoning_probe.data.datasets import builtin
from reasoning_probe.data.generators import NAMES, arithmetic, generate, logic, multi_step
from reasoning_probe.data.items import Item

TEST_ITEMS = 200
VALIDATION_ITEMS = 200

SHARES = {"+": 0.4, "-": 0.4, "*": 0.1, "/": 0.1}
"""The share of each operation among the arithmetic examples that are drawn."""

SIGN_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
PHRASINGS = (
    "What is {a} {sign} {b}?",
    "Calculate {a} {sign} {b}.",
    "{a} {sign} {b} = ?",
    "What is {a} {word} {b}?",
    "How much is {a} {word} {b}?",
)

ONE_PREMISE = tuple(
    logic.Form("one-premise", answer, (premise,), question)
    for premise, question, answer in (
        ("{N} is {a}.", "Is {N} {a}?", "Yes"),
        ("{N} is not {a}.", "Is {N} {a}?", "No"),
        ("{N} is {a}.", "Is {N} {b}?", "Unknown"),
        ("{N} is {a}.", "Is {M} {a}?", "Unknown"),
        ("{N} is {more} than {M}.", "Is {N} {more} than {M}?", "Yes"),
        ("{N} is {more} than {M}.", "Is {M} {more} than {N}?", "No"),
        ("{N} is {more} than {M}.", "Is {M} {more} than {P}?", "Unknown"),
        ("All {As} are {Bs}.", "Are all {As} {Bs}?", "Yes"),
        ("No {As} are {Bs}.", "Are some {Bs} {As}?", "No"),
        ("All {As} are {Bs}.", "Are all {Bs} {As}?", "Unknown"),
        ("All {As} are {Bs}.", "Are all {As} {Cs}?", "Unknown"),
    )
)
"""Arguments of one premise, learned first to teach the model to match words; the logic dataset has none."""

TRAINED_TEMPLATES = ("wallet", "boxes", "gift", "twice", "shelves", "fewer", "bus", "savings")
"""The templates of the word problems in the corpus; problems of the other templates are new to the model."""

ONE_STEP = (
    ("{name} has {a} {things}, {loses} {b}. How many left?", "-"),
    ("{name} has {a} dollars, {loses} {b}. How much left?", "-"),
    ("{name} has {a} {things}, {gains} {b}. How many now?", "+"),
    ("{name} has {a} dollars, {gains} {b}. How much now?", "+"),
    ("{name} shares {a} {things} equally among {b} children. How many {things} does each child get?", "/"),
    ("{name} has {a} bags with {b} {things} in each. How many {things} are there?", "*"),
)
LOSES = ("spends", "loses", "gives away", "uses")
GAINS = ("earns", "finds", "gets", "wins")

_SMALL_FACTS = {
    operation.sign: [(a, b, result) for a, b, result in operation.facts if max(a, b) <= 50 and min(a, b, result) > 0]
    for operation in arithmetic.OPERATIONS
}


@dataclass(frozen=True)
class Example:
    """A question and its answer, drawn ``weight`` times as often as others of its kind."""

    question: str
    answer: str
    weight: float = 1.0


def reserved() -> tuple[Item, ...]:
    """Return every item that must not be trained on."""
    built_in = [item for name in (*NAMES, "gsm8k") for item in builtin(name).items]
    return (*built_in, *(item for name in NAMES for item in generate(name, TEST_ITEMS + VALIDATION_ITEMS)))


def examples(seed: int, logic_examples: int = 60_000, story_examples: int = 30_000) -> dict[str, tuple[Example, ...]]:
    """Return the training data by kind: arithmetic, logic, its single premises, stories and long stories."""
    rng = random.Random(f"training {seed}")  # a text seed: no clash with the integer seeds of `generate`
    reserved_items = reserved()
    questions = {item.question for item in reserved_items}
    pairs = {(item.operation, *map(int, item.operands)) for item in reserved_items if item.operation in ("+", "-")}
    kinds: dict[str, Iterable[Example]] = {
        "arithmetic": _arithmetic(pairs),
        "logic": islice(_logic(rng), logic_examples),
        "premises": islice(_premises(random.Random(f"premises {seed}")), logic_examples // 3),
        "stories": islice(_stories(rng), story_examples),
        "long": islice(_long(rng), story_examples // 10),
    }
    return {
        kind: tuple(example for example in candidates if example.question not in questions)
        for kind, candidates in kinds.items()
    }


def _arithmetic(pairs: set[tuple[object, ...]]) -> Iterator[Example]:
    """Yield every fact in every phrasing; the plain phrasing and facts of one-digit operands weigh more."""
    for operation in arithmetic.OPERATIONS:
        for a, b, result in operation.facts:
            if (operation.sign, a, b) in pairs:
                continue
            weight = SHARES[operation.sign] / len(operation.facts) * (3 if max(a, b) < 10 else 1)
            for phrasing in PHRASINGS:
                question = phrasing.format(a=a, b=b, sign=operation.sign, word=SIGN_WORDS[operation.sign])
                yield Example(question, str(result), weight * (3 if phrasing == PHRASINGS[0] else 1))


def _logic(rng: random.Random) -> Iterator[Example]:
    for draw in logic.draws(rng):
        item = draw()
        yield Example(item.question, item.answer)


def _premises(rng: random.Random) -> Iterator[Example]:
    for number in count(1):
        item = logic.draw(rng, rng.choice(ONE_PREMISE), (0,), number)
        yield Example(item.question, item.answer)


def _stories(rng: random.Random) -> Iterator[Example]:
    """Yield word problems of the trained templates and one-step problems."""
    templates = [template for template in multi_step.TEMPLATES if template.name in TRAINED_TEMPLATES]
    for number in count(1):
        if rng.random() < 0.3:
            yield _one_step(rng)
        else:
            item = multi_step.draw(rng, rng.choice(templates), number)
            yield Example(item.question, item.answer)


def _one_step(rng: random.Random) -> Example:
    text, sign = rng.choice(ONE_STEP)
    a, b, result = rng.choice(_SMALL_FACTS[sign])
    story = text.format(
        name=rng.choice(multi_step.NAMES),
        things=rng.choice(multi_step.THINGS),
        loses=rng.choice(LOSES),
        gains=rng.choice(GAINS),
        a=a,
        b=b,
    )
    return Example(story, str(result))


def _long(rng: random.Random) -> Iterator[Example]:
    """Yield questions behind several unrelated sentences, so that later positions of the context are trained too."""
    stories = _stories(rng)
    for example in stories:
        unrelated = " ".join(next(stories).question.rpartition(". ")[0] + "." for _ in range(rng.randint(2, 8)))
        yield Example(f"{unrelated} {example.question}", example.answer)
