"""Logic: syllogisms, chains, exclusions, "some" and comparisons, answered Yes, No or Unknown in equal shares.

A statement is about three classes A, B and C, or about three people N, M and P. "Unknown" means that the premises
leave both answers possible; "some" means at least one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from reasoning_probe.data.items import Item

ANSWERS = ("Yes", "No", "Unknown")


@dataclass(frozen=True)
class Form:
    """A form of argument: its answer, its premises, which may come in any order, and its question.

    ``{As}`` is the plural of class A, ``{a}`` its singular with an article; ``{N}``, ``{M}``, ``{P}`` are names;
    ``{more}`` is a comparative.
    """

    name: str
    answer: str
    premises: tuple[str, ...]
    question: str


FORMS = (
    Form("syllogism", "Yes", ("All {As} are {Bs}.", "{N} is {a}."), "Is {N} {b}?"),
    Form("chain", "Yes", ("All {As} are {Bs}.", "All {Bs} are {Cs}.", "{N} is {a}."), "Is {N} {c}?"),
    Form("all", "Yes", ("All {As} are {Bs}.", "All {Bs} are {Cs}."), "Are all {As} {Cs}?"),
    Form("some", "Yes", ("Some {As} are {Bs}.", "All {Bs} are {Cs}."), "Are some {As} {Cs}?"),
    Form("compare", "Yes", ("{N} is {more} than {M}.", "{M} is {more} than {P}."), "Is {N} {more} than {P}?"),
    Form("exclusion", "No", ("No {As} are {Bs}.", "{N} is {a}."), "Is {N} {b}?"),
    Form("exclusion-converse", "No", ("No {As} are {Bs}.", "{N} is {b}."), "Is {N} {a}?"),
    Form("negation", "No", ("All {As} are {Bs}.", "{N} is not {b}."), "Is {N} {a}?"),
    Form("exclusion-chain", "No", ("All {As} are {Bs}.", "No {Bs} are {Cs}.", "{N} is {a}."), "Is {N} {c}?"),
    Form("none", "No", ("All {As} are {Bs}.", "No {Bs} are {Cs}."), "Are some {As} {Cs}?"),
    Form("compare-reverse", "No", ("{N} is {more} than {M}.", "{M} is {more} than {P}."), "Is {P} {more} than {N}?"),
    Form("converse", "Unknown", ("All {As} are {Bs}.", "{N} is {b}."), "Is {N} {a}?"),
    Form("denial", "Unknown", ("All {As} are {Bs}.", "{N} is not {a}."), "Is {N} {b}?"),
    Form("some-member", "Unknown", ("Some {As} are {Bs}.", "{N} is {a}."), "Is {N} {b}?"),
    Form("exclusion-denial", "Unknown", ("No {As} are {Bs}.", "{N} is not {a}."), "Is {N} {b}?"),
    Form("chain-converse", "Unknown", ("All {As} are {Bs}.", "All {Bs} are {Cs}.", "{N} is {c}."), "Is {N} {a}?"),
    Form("some-some", "Unknown", ("Some {As} are {Bs}.", "Some {Bs} are {Cs}."), "Are some {As} {Cs}?"),
    Form("compare-open", "Unknown", ("{N} is {more} than {M}.", "{N} is {more} than {P}."), "Is {M} {more} than {P}?"),
)

# fmt: off
PEOPLE = (
    "Max", "Mia", "Leo", "Eva", "Tom", "Ana", "Ben", "Zoe", "Sam", "Amy", "Dan", "Ida",
    "Jack", "Lily", "Noah", "Ruby", "Adam", "Nora", "Paul", "Rosa", "Hugo", "Emma", "Finn", "Clara",
)

# The classes of one question come from one family, so that no statement about them is absurd.
FAMILIES = (
    (
        "poet", "singer", "baker", "farmer", "doctor", "teacher", "runner", "dancer", "painter", "sailor",
        "actor", "artist", "engineer", "gardener", "lawyer", "driver", "reader", "swimmer", "climber", "writer",
    ),
    (
        "dog", "cat", "bird", "animal", "mammal", "pet", "hunter", "swimmer", "insect", "fish", "reptile", "predator",
    ),
)

COMPARATIVES = ("taller", "older", "faster", "heavier", "stronger", "richer", "louder", "kinder")
# fmt: on


def items(rng: random.Random) -> Iterator[Item]:
    """Yield logic items without end."""
    for number in count(1):
        answer = rng.choice(ANSWERS)
        yield draw(rng, rng.choice([form for form in FORMS if form.answer == answer]), number)


def draw(rng: random.Random, form: Form, number: int) -> Item:
    """Return an item of *form* with classes, names and order of premises drawn from *rng*."""
    first, second, third = rng.sample(rng.choice(FAMILIES), 3)
    n, m, p = rng.sample(PEOPLE, 3)
    more = rng.choice(COMPARATIVES)
    words = {"N": n, "M": m, "P": p, "more": more}
    for letter, noun in zip("ABC", (first, second, third), strict=True):
        words |= {f"{letter}s": plural(noun), letter.lower(): with_article(noun)}
    premises = rng.sample(form.premises, len(form.premises))
    subject = f"{n}-{more}" if "{more}" in form.question else (f"{first}-{third}" if "{As}" in form.question else n)
    return Item(
        id=f"{form.name}-{subject}-{number}".lower(),
        question=" ".join((*premises, form.question)).format_map(words),
        answer=form.answer,
        kind="label",
    )


def plural(noun: str) -> str:
    """Return the plural of one of this module's nouns."""
    return noun if noun == "fish" else f"{noun}s"


def with_article(noun: str) -> str:
    """Return *noun* with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
