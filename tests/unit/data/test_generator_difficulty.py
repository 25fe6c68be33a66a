"""Harder questions are right: compared with a calculator, a reader of stories, and a search of all possible worlds."""

from __future__ import annotations

import itertools
import operator
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.datasets import read
from reasoning_probe.data.generators import generate, logic_chains
from reasoning_probe.data.generators.difficulty import Spec, parse
from reasoning_probe.data.items import ItemError
from tests.helpers.solvers import CLASSES, ONE, OPERATIONS, ORDER, SEEDS, check_annotations

NUMBERS = st.integers(0, 2)


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


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, digits=st.integers(1, 9), steps=st.integers(1, 8))
def test_harder_arithmetic_is_right(seed: int, digits: int, steps: int) -> None:
    for item in generate(f"arithmetic:digits={digits},steps={steps}", 20, seed):
        assert str(calculate(item.question)) == item.answer
        assert int(item.answer) >= 0
        assert {len(number) for number in re.findall(r"\d+", item.question)} == {digits}
        assert len(re.findall(r" [-+*] ", item.question)) == steps
        if steps == 1:
            assert item.question == f"What is {item.operands[0]} {item.operation} {item.operands[1]}?"
        else:
            check_annotations(item)


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


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, digits=st.integers(1, 4), steps=st.integers(1, 8), distractors=st.integers(0, 8))
def test_longer_stories_are_right(seed: int, digits: int, steps: int, distractors: int) -> None:
    spec = f"multi_step:digits={digits},steps={steps},distractors={distractors}"
    for item in generate(spec, 10, seed):
        assert read_story(item.question) == (Fraction(item.answer), steps, distractors), item.question
        check_annotations(item)
        assert (item.solution or "").count("<<") == steps


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


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("All poets are artists. All artists are singers. Ida is a poet. Is Ida a singer?", "Yes"),
        ("All poets are artists. All singers are artists. Ida is a poet. Is Ida a singer?", "Unknown"),
        ("Some poets are artists. No artists are singers. Are some poets singers?", "Unknown"),
        ("Some poets are artists. All artists are singers. Are some poets singers?", "Yes"),
        ("All poets are artists. Ida is a poet. Ida is not a singer. Are all artists singers?", "No"),
    ],
)
def test_the_solver_of_arguments_knows_textbook_ones(question: str, answer: str) -> None:
    assert solve_argument(question) == answer


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, steps=st.integers(1, 5), distractors=NUMBERS, negation=NUMBERS, quantifiers=NUMBERS)
def test_longer_arguments_follow(seed: int, steps: int, distractors: int, negation: int, quantifiers: int) -> None:
    spec = f"logic:steps={steps},distractors={distractors},negation={negation},quantifiers={quantifiers}"
    for item in generate(spec, 12, seed):
        assert solve_argument(item.question) == item.answer, item.question
        premises = re.findall(r"[^.?]+", item.question)[:-1]
        assert sum(bool(re.search(r"\bNo |\bnot\b", text)) for text in premises) == negation
        assert sum("Some " in text for text in premises) == quantifiers


def test_every_harder_form_is_drawn_and_half_of_the_arguments_can_be_denied() -> None:
    items = generate("logic:steps=3,negation=1,quantifiers=1", 480)
    forms = {form.name: skeleton for skeleton in logic_chains.SKELETONS for form in skeleton.forms}
    assert {item.form for item in items} == set(forms)
    deniable = [item for item in items if "No" in {form.answer for form in forms[item.form or ""].forms}]
    assert len(deniable) == 240
    assert min(Counter(item.answer for item in items).values()) > 90


@pytest.mark.parametrize("spec", ["arithmetic:digits=2", "multi_step:steps=3", "logic:steps=3"])
def test_harder_items_are_distinct_seeded_and_extend(spec: str) -> None:
    items = generate(spec, 300)
    assert len({item.question for item in items}) == len({item.id for item in items}) == 300
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", item.id or "") for item in items)
    assert generate(spec, 100) == items[:100]
    assert generate(spec, 100, seed=1) != items[:100]


def test_a_difficulty_says_how_many_and_from_which_seed() -> None:
    assert parse("logic:steps=4, seed=7,items=9") == Spec(
        "logic", (("steps", 4), ("distractors", 0), ("negation", 0), ("quantifiers", 0)), 9, 7
    )
    assert len(read("x", "logic:steps=4,items=9").items) == 9
    assert read("x", "logic:steps=4", 3).items == read("x", "logic:steps=4").items[:3]
    assert read("x", "logic:steps=4,seed=7", 3).items == generate("logic:steps=4", 3, seed=7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("logic:", "cannot read '' of 'logic:'"),
        (
            "logic:digits=3",
            "cannot read .digits=3. of .*: logic takes steps, distractors, negation, quantifiers",
        ),
        ("arithmetic:steps", "cannot read 'steps'"),
        ("arithmetic:steps=x", "cannot read 'steps=x'"),
        ("arithmetic:steps=9", "steps goes from 1 to 8"),
        ("arithmetic:digits=0", "digits goes from 1 to 9"),
        ("gsm8k:steps=3", "there is no generator for 'gsm8k'"),
        ("arithmetic:digits=1,steps=1,items=9999", "cannot generate 9999 different arithmetic items: ask for"),
    ],
)
def test_a_difficulty_that_cannot_be_read_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        generate(spec, parse(spec).items)
