"""Donors of arguments: the same sentences with other words in some of their places.

The counterfactual is a form of the same skeleton with another answer, and so differs in which word stands where. The
twin has the item's answer. Both may have their words exchanged among each other, and some replaced by new ones, so that
both differ from the item in equally many places.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from reasoning_probe.data.generators.logic import COMPARATIVES, FAMILIES, PEOPLE
from reasoning_probe.data.generators.logic_chains import NOUNS
from reasoning_probe.data.items import Donor
from reasoning_probe.data.readers.argument import forms_like
from reasoning_probe.data.readers.sentences import Argument, ArgumentForm, Sentence

_TRIES = 60
_STRICT_TRIES = 40  # in which rare words stay where they are

_RARE = frozenset(
    {"baker", "boxer", "climber", "cyclist", "gamer", "hiker", "juggler", "skater", "traveller", "Zoe", "Ida", "Nora"}
)
"""Words that are often several tokens: in the place of another word they would move all tokens behind them."""

_USUAL_AT_THE_START = frozenset({"Max", "Tom", "Ben", "Sam", "Dan", "Jack", "Lily", "Adam", "Paul"})
"""Names that are often one token without a space before them, too, as at the start of a chat's turn."""

_MOST_EXCHANGES = 24


def argument_pairs(argument: Argument, rng: random.Random) -> Iterator[tuple[Donor, Donor]]:
    """Yield pairs of a counterfactual and a same-answer twin of *argument*, drawn from *rng*."""
    forms = forms_like(argument.form)
    exchanges = _exchanges(argument, rng)
    twins: dict[int, list[Donor]] = {}  # by the number of places with another word
    counterfactuals: dict[int, list[Donor]] = {}
    yielded: set[tuple[str, str]] = set()
    for number in range(_TRIES):
        form = rng.choice(forms)
        sentences = _renamed(_arranged(argument, form, rng.choice(exchanges)), rng)
        places = changed_places(argument.sentences, sentences)
        if not places or (number < _STRICT_TRIES and _moves_rare_words(argument.sentences, sentences)):
            continue
        donor = Donor(question=" ".join(sentence.text() for sentence in sentences), answer=form.answer)
        is_twin = form.answer == argument.form.answer
        (twins if is_twin else counterfactuals).setdefault(places, []).append(donor)
        for other in (counterfactuals if is_twin else twins).get(places, ()):
            pair = (other, donor) if is_twin else (donor, other)
            if (key := (pair[0].question, pair[1].question)) not in yielded:
                yielded.add(key)
                yield pair


def changed_places(sentences: Sequence[Sentence], others: Sequence[Sentence]) -> int:
    """Return in how many places two arguments of the same sentences have different words."""
    return sum(
        (one.first != other.first) + (one.second != other.second) + (one.more != other.more)
        for one, other in zip(sentences, others, strict=True)
    )


def _moves_rare_words(sentences: Sequence[Sentence], others: Sequence[Sentence]) -> bool:
    """Tell whether a word that is often several tokens stands in one of two arguments alone, in any place."""
    pairs = [
        pair
        for one, other in zip(sentences, others, strict=True)
        for pair in ((one.first, other.first), (one.second, other.second))
    ]
    at_the_start = {sentences[0].first, others[0].first}
    names_first = sentences[0].about_names[0] and len(at_the_start) > 1
    return (names_first and not at_the_start <= _USUAL_AT_THE_START) or any(
        one != other and not _RARE.isdisjoint((one, other)) for one, other in pairs
    )


def _arranged(argument: Argument, form: ArgumentForm, words: Mapping[str, str]) -> list[Sentence]:
    """Return the sentences of *argument* with those of *form* in place of its own, about *words* by their roles."""
    left: dict[str, list[Sentence]] = {}
    for premise in form.premises:
        left.setdefault(premise.kind, []).append(_about(premise, words))
    places = sorted((number, place) for place, number in enumerate(argument.order) if number is not None)
    sentences = list(argument.sentences)
    for _, place in places:
        sentences[place] = left[sentences[place].kind].pop(0)
    sentences[-1] = _about(form.question, words)
    return sentences


def _about(sentence: Sentence, words: Mapping[str, str]) -> Sentence:
    more = words[sentence.more] if sentence.more else ""
    return replace(sentence, first=words[sentence.first], second=words[sentence.second], more=more)


def _exchanges(argument: Argument, rng: random.Random) -> list[dict[str, str]]:
    """Return the words of the roles as they are, and exchanged, classes among classes and names among names."""
    classes: dict[str, str] = {}
    names: dict[str, str] = {}
    for sentence in (*argument.form.premises, argument.form.question):
        for role, is_name in zip((sentence.first, sentence.second), sentence.about_names, strict=True):
            (names if is_name else classes)[role] = argument.words[role]
    exchanged = [
        dict(argument.words) | dict(zip(roles, order, strict=True))
        for roles in (classes, names)
        for order in _orders(list(roles.values()), rng)
    ]
    return [dict(argument.words), *exchanged]


def _orders(words: list[str], rng: random.Random) -> Sequence[Sequence[str]]:
    """Return other orders of *words*: all of a few, and some of many."""
    if len(words) <= 3:
        return list(permutations(words))[1:]
    return [rng.sample(words, len(words)) for _ in range(_MOST_EXCHANGES)]


def _renamed(sentences: Sequence[Sentence], rng: random.Random) -> list[Sentence]:
    """Return *sentences* with some of their words replaced by others that do not occur in them, or with none."""
    names: dict[str, None] = {}
    classes: dict[str, None] = {}
    for sentence in sentences:
        for word, is_name in zip((sentence.first, sentence.second), sentence.about_names, strict=True):
            (names if is_name else classes)[word] = None
    family = next((family for family in FAMILIES if set(classes) <= set(family)), NOUNS)
    new = _others(list(names), PEOPLE, rng) | _others(list(classes), family, rng)
    more = {sentence.more for sentence in sentences if sentence.more}
    if more and rng.random() < 0.25:
        new |= _others(list(more), COMPARATIVES, rng)
    return [
        replace(
            sentence,
            first=new.get(sentence.first, sentence.first),
            second=new.get(sentence.second, sentence.second),
            more=new.get(sentence.more, sentence.more),
        )
        for sentence in sentences
    ]


def _others(words: list[str], vocabulary: Sequence[str], rng: random.Random) -> dict[str, str]:
    """Return new words for a random number of *words*, rather few: of the same length where there are any."""
    free = [word for word in vocabulary if word not in words and word not in _RARE]
    usual = [word for word in words if word not in _RARE]
    most = min(len(usual), len(free))
    new: dict[str, str] = {}
    for word in rng.sample(usual, min(rng.randint(0, most), rng.randint(0, most))):
        as_long = [other for other in free if len(other) == len(word)]
        new[word] = rng.choice(as_long or free)
        free.remove(new[word])
    return new
