"""Arguments of several steps: chains of "all", with negation, "some" and irrelevant premises.

A chain leads from class 0 to class k by k premises. Irrelevant premises are about classes or people that occur in no
other premise, so nothing follows from them. As in :mod:`~reasoning_probe.data.generators.logic`, the answers come in
equal shares within each skeleton: the words of a question, without which of them are equal, do not give it away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from reasoning_probe.data.generators.blocks import shuffled_blocks
from reasoning_probe.data.generators.difficulty import Spec
from reasoning_probe.data.generators.logic import COMPARATIVES, FAMILIES, PEOPLE, plural, with_article
from reasoning_probe.data.items import Item

# fmt: off
NOUNS = (
    *FAMILIES[0], "hiker", "juggler", "student", "musician", "traveller", "cyclist", "gamer", "skater", "boxer",
    "collector",
)
# fmt: on
SPARE = "Otto"
"""A name for the longest questions: one more of :data:`PEOPLE` would change the draws of all others."""


class Cast(NamedTuple):
    """The words of an argument: k + 1 classes, somebody, a row of k + 1 people, and a comparative."""

    classes: Sequence[str]
    who: str
    people: Sequence[str]
    more: str


class Argument(NamedTuple):
    """The premises of an argument, and its question."""

    premises: list[str]
    question: str


@dataclass(frozen=True)
class Form:
    """A form of argument: its answer, what makes an argument of a cast, and its fewest steps."""

    name: str
    answer: str
    argument: Callable[[Cast], Argument]
    least: int = 1


@dataclass(frozen=True)
class Skeleton:
    """Forms whose premises and questions differ in nouns and names alone.

    ``negative`` and ``some`` say how many of the premises are negative or say "some".
    """

    forms: tuple[Form, ...]
    negative: int = 0
    some: int = 0

    def fitting(self, spec: Spec) -> tuple[Form, ...]:
        """Return the forms that the settings of *spec* allow."""
        if self.negative > spec["negation"] or self.some > spec["quantifiers"]:
            return ()
        return tuple(form for form in self.forms if form.least <= spec["steps"])

    def wordings(self, spec: Spec) -> list[str]:
        """Return the wordings of the premises, which all of the forms share."""
        names = [str(number) for number in range(spec["steps"] + 1)]
        return [_wording(premise) for premise in self.forms[0].argument(Cast(names, "", names, "")).premises]


def draws(rng: random.Random, spec: Spec) -> Iterator[Callable[[], Item]]:
    """Yield, without end, what draws the next argument.

    Skeletons come in shuffled blocks, of which half can end in No (and in Unknown, if any can). The answers come in
    shuffled blocks within each skeleton, each choice of the irrelevant premises' wording, and each order of all
    premises' wordings.
    """
    skeletons = [(skeleton, forms) for skeleton in SKELETONS if (forms := skeleton.fitting(spec))]
    answered = [{form.answer for form in forms} for _, forms in skeletons]
    open_ended = [one for one, answers in zip(skeletons, answered, strict=True) if {"No", "Unknown"} <= answers]
    deniable = open_ended or [one for one, answers in zip(skeletons, answered, strict=True) if "No" in answers]
    others = [one for one, answers in zip(skeletons, answered, strict=True) if "No" not in answers]
    answers: dict[tuple[str, ...], Iterator[str]] = {}
    blocks = shuffled_blocks(rng, [*deniable * len(others), *others * len(deniable)])
    for number, (skeleton, forms) in enumerate(blocks, 1):
        irrelevant = _irrelevant(rng, skeleton, spec)
        wordings = [*skeleton.wordings(spec), *irrelevant]
        rng.shuffle(wordings)
        possible = list(dict.fromkeys(form.answer for form in forms))
        answer = next(answers.setdefault((forms[0].name, *wordings), shuffled_blocks(rng, possible)))
        form = rng.choice([form for form in forms if form.answer == answer])
        yield partial(draw, rng, form, irrelevant, wordings, spec["steps"], number)


def draw(
    rng: random.Random, form: Form, irrelevant: Sequence[str], wordings: Sequence[str], steps: int, number: int
) -> Item:
    """Return an argument of *form* with *irrelevant* premises, all in the order of *wordings*; draw its words."""
    nouns = rng.sample(NOUNS, len(NOUNS))
    people = rng.sample(PEOPLE, len(PEOPLE))
    cast = Cast(nouns[: steps + 1], people[0], people[: steps + 1], rng.choice(COMPARATIVES))
    premises, question = form.argument(cast)
    about_classes = not form.name.startswith("order")
    unused, others = iter(nouns[steps + 1 :]), iter((*people[1 if about_classes else steps + 1 :], SPARE))
    relevant = cast.classes if about_classes else [next(unused)]
    premises += [WORDINGS[wording](rng.choice(relevant), next(others), next(unused)) for wording in irrelevant]
    by_wording: dict[str, list[str]] = {}
    for premise in rng.sample(premises, len(premises)):
        by_wording.setdefault(_wording(premise), []).append(premise)
    return Item(
        id=f"{form.name}-{cast.who}-{number}".lower(),
        question=" ".join((*(by_wording[wording].pop() for wording in wordings), question)),
        answer=form.answer,
        kind="label",
        form=form.name,
    )


def _irrelevant(rng: random.Random, skeleton: Skeleton, spec: Spec) -> list[str]:
    """Return the wordings of irrelevant premises, as many of each sort as *spec* has beyond those of *skeleton*."""
    return [
        *rng.choices(("all", "is"), k=spec["distractors"]),
        *rng.choices(("no", "is not"), k=spec["negation"] - skeleton.negative),
        *["some"] * (spec["quantifiers"] - skeleton.some),
    ]


# -- sentences --------------------------------------------------------------------------------------------------------


def _every(one: str, other: str) -> str:
    return f"All {plural(one)} are {plural(other)}."


def _no(one: str, other: str) -> str:
    return f"No {plural(one)} are {plural(other)}."


def _some(one: str, other: str) -> str:
    return f"Some {plural(one)} are {plural(other)}."


def _is(who: str, noun: str) -> str:
    return f"{who} is {with_article(noun)}."


def _is_not(who: str, noun: str) -> str:
    return f"{who} is not {with_article(noun)}."


WORDINGS: dict[str, Callable[[str, str, str], str]] = {
    "all": lambda relevant, who, unused: _every(relevant, unused),
    "is": lambda relevant, who, unused: _is(who, unused),
    "no": lambda relevant, who, unused: _no(relevant, unused),
    "is not": lambda relevant, who, unused: _is_not(who, unused),
    "some": lambda relevant, who, unused: _some(relevant, unused),
}
"""The irrelevant premise of each wording, about a class of the argument or somebody new, and an unused class."""


def _wording(premise: str) -> str:
    """Return which of :data:`WORDINGS` *premise* is put in, or ``than``."""
    first = premise.partition(" ")[0].lower()
    if first in WORDINGS:
        return first
    return "than" if " than " in premise else "is not" if " not " in premise else "is"


def _chain(classes: Sequence[str]) -> list[str]:
    return [_every(one, other) for one, other in pairwise(classes)]


def _gap(classes: Sequence[str]) -> list[str]:
    """Return the premises of a chain with the middle one turned round."""
    middle = (len(classes) - 1) // 2
    premises = _chain(classes)
    premises[middle] = _every(classes[middle + 1], classes[middle])
    return premises


def _ranking(people: Sequence[str], more: str) -> list[str]:
    return [f"{one} is {more} than {other}." for one, other in pairwise(people)]


def _ask(who: str, noun: str) -> str:
    return f"Is {who} {with_article(noun)}?"


def _ask_all(one: str, other: str) -> str:
    return f"Are all {plural(one)} {plural(other)}?"


def _ask_some(one: str, other: str) -> str:
    return f"Are some {plural(one)} {plural(other)}?"


# -- forms ------------------------------------------------------------------------------------------------------------


def _excluded(classes: Sequence[str]) -> list[str]:
    """Return the premises of a chain whose last one says "no"."""
    return [*_chain(classes[:-1]), _no(classes[-2], classes[-1])]


def _member(cast: Cast) -> Argument:
    first, last = cast.classes[0], cast.classes[-1]
    return Argument([*_chain(cast.classes), _is(cast.who, first)], _ask(cast.who, last))


def _converse(cast: Cast) -> Argument:
    first, last = cast.classes[0], cast.classes[-1]
    return Argument([*_chain(cast.classes), _is(cast.who, last)], _ask(cast.who, first))


def _gapped(cast: Cast) -> Argument:
    first, last = cast.classes[0], cast.classes[-1]
    return Argument([*_gap(cast.classes), _is(cast.who, first)], _ask(cast.who, last))


def _all(cast: Cast) -> Argument:
    return Argument(_chain(cast.classes), _ask_all(cast.classes[0], cast.classes[-1]))


def _all_converse(cast: Cast) -> Argument:
    return Argument(_chain(cast.classes), _ask_all(cast.classes[-1], cast.classes[0]))


def _all_gapped(cast: Cast) -> Argument:
    return Argument(_gap(cast.classes), _ask_all(cast.classes[0], cast.classes[-1]))


def _some_first(cast: Cast) -> Argument:
    classes = cast.classes
    return Argument([_some(classes[0], classes[1]), *_chain(classes[1:])], _ask_some(classes[0], classes[-1]))


def _some_last(cast: Cast) -> Argument:
    classes = cast.classes
    return Argument([*_chain(classes[:-1]), _some(classes[-2], classes[-1])], _ask_some(classes[0], classes[-1]))


def _contrapositive(cast: Cast) -> Argument:
    first, last = cast.classes[0], cast.classes[-1]
    return Argument([*_chain(cast.classes), _is_not(cast.who, last)], _ask(cast.who, first))


def _denial(cast: Cast) -> Argument:
    first, last = cast.classes[0], cast.classes[-1]
    return Argument([*_chain(cast.classes), _is_not(cast.who, first)], _ask(cast.who, last))


def _exclusion_member(cast: Cast) -> Argument:
    return Argument([*_excluded(cast.classes), _is(cast.who, cast.classes[0])], _ask(cast.who, cast.classes[-2]))


def _exclusion(cast: Cast) -> Argument:
    return Argument([*_excluded(cast.classes), _is(cast.who, cast.classes[0])], _ask(cast.who, cast.classes[-1]))


def _exclusion_converse(cast: Cast) -> Argument:
    return Argument([*_excluded(cast.classes), _is(cast.who, cast.classes[-2])], _ask(cast.who, cast.classes[0]))


def _none(cast: Cast) -> Argument:
    return Argument(_excluded(cast.classes), _ask_some(cast.classes[0], cast.classes[-1]))


def _none_open(cast: Cast) -> Argument:
    first, before, last = cast.classes[0], cast.classes[-2], cast.classes[-1]
    return Argument([*_chain(cast.classes[:-1]), _no(first, last)], _ask_some(before, last))


def _order(cast: Cast) -> Argument:
    first, last = cast.people[0], cast.people[-1]
    return Argument(_ranking(cast.people, cast.more), f"Is {first} {cast.more} than {last}?")


def _order_reverse(cast: Cast) -> Argument:
    first, last = cast.people[0], cast.people[-1]
    return Argument(_ranking(cast.people, cast.more), f"Is {last} {cast.more} than {first}?")


def _order_open(cast: Cast) -> Argument:
    first, before, last = cast.people[0], cast.people[-2], cast.people[-1]
    premises = [*_ranking(cast.people[:-1], cast.more), *_ranking((first, last), cast.more)]
    return Argument(premises, f"Is {before} {cast.more} than {last}?")


SKELETONS = (
    Skeleton((Form("member", "Yes", _member), Form("converse", "Unknown", _converse), Form("gap", "Unknown", _gapped))),
    Skeleton(
        (
            Form("all", "Yes", _all),
            Form("all-converse", "Unknown", _all_converse),
            Form("all-gap", "Unknown", _all_gapped),
        )
    ),
    Skeleton((Form("some", "Yes", _some_first, 2), Form("some-open", "Unknown", _some_last, 2)), some=1),
    Skeleton((Form("contrapositive", "No", _contrapositive), Form("denial", "Unknown", _denial)), negative=1),
    Skeleton(
        (
            Form("exclusion-member", "Yes", _exclusion_member, 2),
            Form("exclusion", "No", _exclusion, 2),
            Form("exclusion-converse", "Unknown", _exclusion_converse, 2),
        ),
        negative=1,
    ),
    Skeleton((Form("none", "No", _none, 2), Form("none-open", "Unknown", _none_open, 2)), negative=1),
    Skeleton(
        (
            Form("order", "Yes", _order),
            Form("order-reverse", "No", _order_reverse),
            Form("order-open", "Unknown", _order_open, 2),
        )
    ),
)
