"""Arguments of several steps: chains of "all", with negation, "some" and irrelevant premises.

A chain leads from class 0 to class k by k premises. Irrelevant premises are about classes or people that occur in no
other premise, so nothing follows from them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

from reasoning_probe.data.generators.difficulty import Spec
from reasoning_probe.data.generators.logic import ANSWERS, COMPARATIVES, FAMILIES, PEOPLE, plural, with_article
from reasoning_probe.data.items import Item

# fmt: off
NOUNS = (
    *FAMILIES[0], "hiker", "juggler", "student", "musician", "traveller", "cyclist", "gamer", "skater", "boxer",
    "collector",
)
# fmt: on


@dataclass(frozen=True)
class Form:
    """A form of argument: its answer, how many of its premises are negative or say "some", and its fewest steps."""

    name: str
    answer: str
    negative: int = 0
    some: int = 0
    least: int = 1


FORMS = (
    Form("member", "Yes"),
    Form("all", "Yes"),
    Form("some", "Yes", some=1, least=2),
    Form("order", "Yes"),
    Form("exclusion", "No", negative=1),
    Form("contrapositive", "No", negative=1),
    Form("none", "No", negative=1),
    Form("order-reverse", "No"),
    Form("converse", "Unknown"),
    Form("gap", "Unknown"),
    Form("denial", "Unknown", negative=1),
    Form("some-member", "Unknown", some=1),
    Form("order-open", "Unknown", least=2),
)


def items(rng: random.Random, spec: Spec) -> Iterator[Item]:
    """Yield arguments, answered Yes, No and Unknown in equal shares."""
    fitting = [
        form
        for form in FORMS
        if form.negative <= spec["negation"] and form.some <= spec["quantifiers"] and form.least <= spec["steps"]
    ]
    for number in count(1):
        answer = rng.choice(ANSWERS)
        yield draw(rng, rng.choice([form for form in fitting if form.answer == answer]), spec, number)


def draw(rng: random.Random, form: Form, spec: Spec, number: int) -> Item:
    """Return an argument of *form* with its words and the order of its premises drawn from *rng*."""
    k = spec["steps"]
    nouns = rng.sample(NOUNS, len(NOUNS))
    chain, unused = nouns[: k + 1], iter(nouns[k + 1 :])
    people = iter(rng.sample(PEOPLE, len(PEOPLE)))
    who = next(people)
    if form.name.startswith("order"):
        premises, question = _ordered(form.name, [who, *(next(people) for _ in range(k))], rng.choice(COMPARATIVES))
        relevant = [next(unused)]
    else:
        premises, question = _classes(form.name, chain, who)
        relevant = chain
    for _ in range(spec["distractors"]):
        one, other = rng.choice(relevant), next(unused)
        member = f"{next(people)} is {with_article(other)}."
        premises.append(rng.choice((_all(one, other), member)))
    for _ in range(spec["negation"] - form.negative):
        one, other = rng.choice(relevant), next(unused)
        premises.append(rng.choice((_no(one, other), f"{next(people)} is not {with_article(other)}.")))
    premises += [_some(rng.choice(relevant), next(unused)) for _ in range(spec["quantifiers"] - form.some)]
    rng.shuffle(premises)
    return Item(
        id=f"{form.name}-{who}-{number}".lower(),
        question=" ".join((*premises, question)),
        answer=form.answer,
        kind="label",
    )


def _classes(form: str, chain: list[str], who: str) -> tuple[list[str], str]:
    first, last = chain[0], chain[-1]
    links = [_all(one, other) for one, other in pairwise(chain)]
    is_first, is_last = f"{who} is {with_article(first)}.", f"{who} is {with_article(last)}."
    ask_last, ask_first = f"Is {who} {with_article(last)}?", f"Is {who} {with_article(first)}?"
    some = f"Are some {plural(first)} {plural(last)}?"
    excluded = [*links[:-1], _no(chain[-2], last)]
    middle = len(links) // 2
    return {
        "member": ([*links, is_first], ask_last),
        "all": (links, f"Are all {plural(first)} {plural(last)}?"),
        "some": ([_some(first, chain[1]), *links[1:]], some),
        "exclusion": ([*excluded, is_first], ask_last),
        "contrapositive": ([*links, f"{who} is not {with_article(last)}."], ask_first),
        "none": (excluded, some),
        "converse": ([*links, is_last], ask_first),
        "gap": (
            [*links[:middle], _all(chain[middle + 1], chain[middle]), *links[middle + 1 :], is_first],
            ask_last,
        ),
        "denial": ([*links, f"{who} is not {with_article(first)}."], ask_last),
        "some-member": (
            [*links[:middle], _some(chain[middle], chain[middle + 1]), *links[middle + 1 :], is_first],
            ask_last,
        ),
    }[form]


def _ordered(form: str, people: list[str], more: str) -> tuple[list[str], str]:
    first, last = people[0], people[-1]
    links = [_order(one, other, more) for one, other in pairwise(people)]
    return {
        "order": (links, f"Is {first} {more} than {last}?"),
        "order-reverse": (links, f"Is {last} {more} than {first}?"),
        "order-open": ([*links[:-1], _order(first, last, more)], f"Is {people[-2]} {more} than {last}?"),
    }[form]


def _all(one: str, other: str) -> str:
    return f"All {plural(one)} are {plural(other)}."


def _no(one: str, other: str) -> str:
    return f"No {plural(one)} are {plural(other)}."


def _some(one: str, other: str) -> str:
    return f"Some {plural(one)} are {plural(other)}."


def _order(one: str, other: str, more: str) -> str:
    return f"{one} is {more} than {other}."
