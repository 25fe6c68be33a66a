"""Solvers of generated questions, which share no code with the generators or with the readers of their questions."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from tests.helpers.solvers import CLASSES, ONE, OPERATIONS, ORDER


def calculate(question: str) -> int:
    """Return the value of "What is (3 + 4) * 5?", by a parser that shares no code with the generator."""
    tokens = re.findall(r"\d+|[-+*()]", question)

    def operand() -> int:
        token = tokens.pop(0)
        if token != "(":
            return int(token)
        value = expression()
        assert tokens.pop(0) == ")"
        return value

    def expression() -> int:
        left, sign, right = operand(), tokens.pop(0), operand()
        return int(OPERATIONS[sign](left, right))

    value = expression()
    assert not tokens
    return value


# The answer from the numbers in the order of the text, written down from the stories and not from their steps.
STORIES: dict[str, Callable[..., float]] = {
    "wallet": lambda has, spends, earns: has - spends + earns,
    "boxes": lambda boxes, each, more: more + each * boxes,
    "gift": lambda had, found, gave: had - gave + found,
    "share": lambda one, other, friends: (one + other) / friends,
    "shop": lambda price, bought, paid: paid - bought * price,
    "twice": lambda has, times: has * (times + 1),
    "bus": lambda start, off, on, off_again: start - off + on - off_again,
    "shelves": lambda books, shelves, more: books / shelves + more,
    "garden": lambda rows, each, broken, new: rows * each - broken + new,
    "fewer": lambda has, fewer: has + (has - fewer),
    "weeks": lambda one, days, other: one * days + other * days,
    "bags": lambda picked, lost, each: (picked - lost) / each,
    "savings": lambda weekly, weeks, game: weekly * weeks - game,
    "tickets": lambda adult, child, adults, children: adult * adults + child * children,
    "trip": lambda miles, first, second: miles - first - second,
    "half": lambda baked, eaten: baked / 2 - eaten,
}


def numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


EVENTS = {
    r"finds (\d+) more": operator.add,
    r"buys (\d+)": operator.add,
    r"\w+ gives {name} (\d+)": operator.add,
    r"loses (\d+)": operator.sub,
    r"{name} gives (\d+)": operator.sub,
    r"sells (\d+)": operator.sub,
    r"{name} gets so many that there are (\d+) times": operator.mul,
    r"{name} puts all \w+ into (\d+) equal piles and keeps one pile": Fraction,
}


def read_story(question: str) -> tuple[Fraction, int, int]:
    """Return what somebody has at the end of a story, how many sentences changed it, and how many are irrelevant."""
    *sentences, last, _ = re.split(r"(?<=[.?]) |(?<=\?)$", question)
    match = re.fullmatch(r"How many (\w+) does (\w+) have now\?", last)
    assert match, last
    noun, name = match.groups()
    value, changes, irrelevant = None, 0, 0
    for sentence in sentences:
        if beginning := re.fullmatch(rf"{name} has (\d+) {noun}\.", sentence):
            assert value is None
            value = Fraction(beginning[1])
            continue
        events = [
            (change, match)
            for pattern, change in EVENTS.items()
            if (match := re.search(rf"\b{pattern}\b".replace("{name}", name), sentence)) and name in sentence
        ]
        if not events:
            assert name not in sentence
            assert noun not in sentence
            irrelevant += 1
            continue
        ((change, match),) = events
        assert value is not None
        value = Fraction(change(value, int(match[1])))
        changes += 1
        assert value >= 1
        assert value.denominator == 1
    assert value is not None
    return value, changes, irrelevant


def solve_argument(question: str) -> str:
    """Return Yes, No or Unknown from the kinds of things that the premises allow and those that they require."""
    *premises, conclusion = re.findall(r"[^.?]+", question)
    conclusion = re.sub(r"^ *Is (\w+) ", r"\1 is ", conclusion)
    conclusion = re.sub(r"^ *Are (all|some) (\w+) ", lambda m: f"{m[1].title()} {m[2]} are ", conclusion).strip()
    if re.search(ORDER, conclusion):
        return solve_order([text for text in premises if re.search(ORDER, text)], conclusion)
    nouns: dict[str, int] = {}
    wanted = reachable([*premises, conclusion])
    statements = [text.strip() for text in premises if set(words_of(text)) <= wanted]
    for text in (*statements, conclusion):
        for noun in words_of(text):
            nouns.setdefault(noun, len(nouns))
    kinds = list(itertools.product((False, True), repeat=len(nouns)))
    facts: dict[str, list[Callable[[tuple[bool, ...]], bool]]] = {}
    witnesses: list[Callable[[tuple[bool, ...]], bool]] = []

    def has(noun: str) -> Callable[[tuple[bool, ...]], bool]:
        return lambda kind: kind[nouns[noun]]

    def both(one: str, other: str) -> Callable[[tuple[bool, ...]], bool]:
        return lambda kind: kind[nouns[one]] and kind[nouns[other]]

    for text in statements:
        if match := re.fullmatch(CLASSES, text):
            one, other = (noun.removesuffix("s") for noun in match.group(2, 3))
            if match[1] == "Some":
                witnesses.append(both(one, other))
            else:
                kinds = [kind for kind in kinds if not kind[nouns[one]] or kind[nouns[other]] == (match[1] == "All")]
        else:
            match = re.fullmatch(ONE, text)
            assert match, text
            test = has(match[3])
            facts.setdefault(match[1], []).append((lambda t: lambda kind: not t(kind))(test) if match[2] else test)
    people = {name: [kind for kind in kinds if all(fact(kind) for fact in of)] for name, of in facts.items()}
    exist = [*people.values(), *([kind for kind in kinds if witness(kind)] for witness in witnesses)]
    assert all(exist), "the premises contradict each other"
    if match := re.fullmatch(CLASSES, conclusion):
        one, other = (noun.removesuffix("s") for noun in match.group(2, 3))
        wanted_side = match[1] == "Some"
        case = [kind for kind in kinds if kind[nouns[one]] and kind[nouns[other]] == wanted_side]
        forced = any(set(group) <= set(case) for group in exist)
        if match[1] == "Some":
            return "Yes" if forced else "No" if not case else "Unknown"
        return "No" if forced else "Yes" if not case else "Unknown"
    match = re.fullmatch(ONE, conclusion)
    assert match, conclusion
    truths = {kind[nouns[match[3]]] for kind in people[match[1]]}
    return "Unknown" if len(truths) == 2 else "Yes" if True in truths else "No"


def words_of(text: str) -> list[str]:
    """Return the nouns of a statement, in the singular."""
    if match := re.fullmatch(CLASSES, text.strip()):
        return [noun.removesuffix("s") for noun in match.group(2, 3)]
    match = re.fullmatch(ONE, text.strip())
    assert match, text
    return [match[3]]


def reachable(texts: list[str]) -> set[str]:
    """Return the nouns that any chain of statements connects with the question; no others can matter."""
    wanted = set(words_of(texts[-1]))
    name = re.fullmatch(ONE, texts[-1].strip())
    for text in texts:
        if name and re.match(rf" *{name[1]} is", text):
            wanted |= set(words_of(text))
    while True:
        more = {noun for text in texts for noun in words_of(text) if set(words_of(text)) & wanted}
        if more <= wanted:
            return wanted
        wanted |= more


def solve_order(premises: list[str], conclusion: str) -> str:
    """Return the answer to a comparison by following every chain of comparisons."""
    above: dict[str, set[str]] = {}
    for text in premises:
        one, other = re.search(ORDER, text).group(1, 3)  # type: ignore[union-attr]
        above.setdefault(one, set()).add(other)

    def over(one: str, other: str) -> bool:
        return any(below == other or over(below, other) for below in above.get(one, ()))

    match = re.fullmatch(ORDER, conclusion)
    assert match, conclusion
    return "Yes" if over(match[1], match[3]) else "No" if over(match[3], match[1]) else "Unknown"
