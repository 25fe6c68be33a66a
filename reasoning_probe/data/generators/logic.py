"""Logic: syllogisms, chains, exclusions, "some" and comparisons, answered Yes, No or Unknown.

A statement is about three classes A, B and C, or about three people N, M and P. "Unknown" means that the premises
leave both answers possible; "some" means at least one.

The words alone do not give the answer away. Questions of one *skeleton* have the same words but for nouns and names:
only which noun stands where decides the answer. Within a skeleton, and within each order of its premises, the answers
come in equal shares, Unknown among them: so no rule that ignores which words are equal does better than always
answering Unknown, the commonest answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from reasoning_probe.data.generators.blocks import shuffled_blocks
from reasoning_probe.data.items import Item


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


@dataclass(frozen=True)
class Skeleton:
    """Forms whose premises, in the order listed, and questions differ in nouns and names alone.

    ``share`` is how many of :data:`BLOCK` items are of the skeleton.
    """

    share: int
    forms: tuple[Form, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers of the forms, each once."""
        return tuple(dict.fromkeys(form.answer for form in self.forms))


ALL_AB, ALL_BC, ALL_CB, NO_AB, NO_AC, NO_BC = (
    "All {As} are {Bs}.", "All {Bs} are {Cs}.", "All {Cs} are {Bs}.",
    "No {As} are {Bs}.", "No {As} are {Cs}.", "No {Bs} are {Cs}.",
)  # fmt: skip
N_OVER_M, N_OVER_P, M_OVER_P = (
    "{N} is {more} than {M}.", "{N} is {more} than {P}.", "{M} is {more} than {P}.",
)  # fmt: skip

SKELETONS = (
    Skeleton(
        3,
        (
            Form("syllogism", "Yes", (ALL_AB, "{N} is {a}."), "Is {N} {b}?"),
            Form("converse", "Unknown", (ALL_AB, "{N} is {b}."), "Is {N} {a}?"),
        ),
    ),
    Skeleton(
        4,
        (
            Form("negation", "No", (ALL_AB, "{N} is not {b}."), "Is {N} {a}?"),
            Form("denial", "Unknown", (ALL_AB, "{N} is not {a}."), "Is {N} {b}?"),
        ),
    ),
    Skeleton(
        3,
        (
            Form("chain", "Yes", (ALL_AB, ALL_BC, "{N} is {a}."), "Is {N} {c}?"),
            Form("chain-converse", "Unknown", (ALL_AB, ALL_BC, "{N} is {c}."), "Is {N} {a}?"),
            Form("chain-fork", "Unknown", (ALL_AB, ALL_CB, "{N} is {a}."), "Is {N} {c}?"),
        ),
    ),
    Skeleton(
        3,
        (
            Form("all", "Yes", (ALL_AB, ALL_BC), "Are all {As} {Cs}?"),
            Form("all-converse", "Unknown", (ALL_AB, ALL_BC), "Are all {Cs} {As}?"),
            Form("all-fork", "Unknown", (ALL_AB, ALL_CB), "Are all {As} {Cs}?"),
        ),
    ),
    Skeleton(
        3,
        (
            Form("some", "Yes", ("Some {As} are {Bs}.", ALL_BC), "Are some {As} {Cs}?"),
            Form("some-open", "Unknown", ("Some {Bs} are {Cs}.", ALL_AB), "Are some {As} {Cs}?"),
        ),
    ),
    Skeleton(
        4,
        (
            Form("none", "No", (ALL_AB, NO_BC), "Are some {As} {Cs}?"),
            Form("none-open", "Unknown", (ALL_AB, NO_AC), "Are some {Bs} {Cs}?"),
        ),
    ),
    Skeleton(
        4,
        (
            Form("exclusion", "No", (NO_AB, NO_BC, "{N} is {a}."), "Is {N} {b}?"),
            Form("exclusion-gap", "Unknown", (NO_AB, NO_BC, "{N} is {a}."), "Is {N} {c}?"),
        ),
    ),
    Skeleton(
        12,
        (
            Form("exclusion-member", "Yes", (ALL_AB, NO_BC, "{N} is {a}."), "Is {N} {b}?"),
            Form("exclusion-chain", "No", (ALL_AB, NO_BC, "{N} is {a}."), "Is {N} {c}?"),
            Form("exclusion-back", "No", (ALL_AB, NO_BC, "{N} is {c}."), "Is {N} {a}?"),
            Form("exclusion-open", "Unknown", (ALL_AB, NO_AC, "{N} is {b}."), "Is {N} {c}?"),
        ),
    ),
    Skeleton(
        12,
        (
            Form("compare", "Yes", (N_OVER_M, M_OVER_P), "Is {N} {more} than {P}?"),
            Form("compare-reverse", "No", (N_OVER_M, M_OVER_P), "Is {P} {more} than {N}?"),
            Form("compare-open", "Unknown", (N_OVER_M, N_OVER_P), "Is {M} {more} than {P}?"),
            Form("compare-below", "Unknown", (N_OVER_P, M_OVER_P), "Is {M} {more} than {N}?"),
        ),
    ),
)

FORMS = tuple(form for skeleton in SKELETONS for form in skeleton.forms)

BLOCK = sum(skeleton.share for skeleton in SKELETONS)
"""Every so many items hold each skeleton exactly as often as its share says."""

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


def draws(rng: random.Random) -> Iterator[Callable[[], Item]]:
    """Yield, without end, what draws the next logic item.

    Skeletons come in shuffled blocks, and the answers in shuffled blocks within each order of a skeleton's premises.
    """
    skeletons = [skeleton for skeleton in SKELETONS for _ in range(skeleton.share)]
    answers: dict[tuple[str, tuple[int, ...]], Iterator[str]] = {}
    for number, skeleton in enumerate(shuffled_blocks(rng, skeletons), 1):
        order = premise_order(rng, skeleton.forms[0])
        answer = next(answers.setdefault((skeleton.forms[0].name, order), shuffled_blocks(rng, skeleton.answers)))
        form = rng.choice([form for form in skeleton.forms if form.answer == answer])
        yield partial(draw, rng, form, order, number)


def premise_order(rng: random.Random, form: Form) -> tuple[int, ...]:
    """Return a random order of the premises of *form*."""
    return tuple(rng.sample(range(len(form.premises)), len(form.premises)))


def draw(rng: random.Random, form: Form, order: Sequence[int], number: int) -> Item:
    """Return an item of *form* with its premises in *order*; its classes and names are drawn from *rng*."""
    first, second, third = rng.sample(rng.choice(FAMILIES), 3)
    n, m, p = rng.sample(PEOPLE, 3)
    more = rng.choice(COMPARATIVES)
    words = {"N": n, "M": m, "P": p, "more": more}
    for letter, noun in zip("ABC", (first, second, third), strict=True):
        words |= {f"{letter}s": plural(noun), letter.lower(): with_article(noun)}
    premises = [form.premises[place] for place in order]
    subject = f"{n}-{more}" if "{more}" in form.question else (f"{first}-{third}" if "s}" in form.question else n)
    return Item(
        id=f"{form.name}-{subject}-{number}".lower(),
        question=" ".join((*premises, form.question)).format_map(words),
        answer=form.answer,
        kind="label",
        form=form.name,
    )


def plural(noun: str) -> str:
    """Return the plural of one of this module's nouns."""
    return noun if noun == "fish" else f"{noun}s"


def with_article(noun: str) -> str:
    """Return *noun* with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
