"""Generated questions: stable, distinct, and right by solvers that share nothing with the generators."""

from __future__ import annotations

import itertools
import operator
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.datasets import builtin, read
from reasoning_probe.generators import NAMES, Spec, _distinct, arithmetic, chains, generate, logic, multi_step, parse
from reasoning_probe.items import Item, ItemError

OPERATIONS: dict[str, Callable[[int, int], int | Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": Fraction,
}
SEEDS = st.integers(0, 2**32)
World = TypeVar("World")


def compute(expression: str) -> Fraction:
    """Return the value of a sum, difference, product or quotient of two numbers."""
    found = re.fullmatch(r"(\d+)([-+*/])(\d+)", expression.replace(" ", ""))
    assert found, expression
    return Fraction(OPERATIONS[found[2]](int(found[1]), int(found[3])))


# -- logic: every small world in which the premises hold --------------------------------------------------------------

ONE = r"(\w+) is (not )?an? (\w+)"
CLASSES = r"(All|No|Some) (\w+) are (\w+)"
ORDER = r"(\w+) is (\w+) than (\w+)"


def solve_logic(question: str) -> str:
    """Return Yes, No or Unknown by trying every world of three classes, or every order of three people."""
    *premises, asked = re.findall(r"[^.?]+", question)
    asked = re.sub(r"^ *Is (\w+) ", r"\1 is ", asked)
    asked = re.sub(r"^ *Are (all|some) (\w+) ", lambda m: f"{m[1].title()} {m[2]} are ", asked)
    if re.search(ORDER, asked):
        people = sorted({name for text in premises for name in re.search(ORDER, text).group(1, 3)})  # type: ignore[union-attr]
        orders = (dict(zip(people, ranks, strict=True)) for ranks in itertools.product(range(3), repeat=len(people)))
        return verdict(orders, premises, asked, ordered)
    return verdict(worlds(), premises, asked, holds(question))


def verdict(worlds: Iterator[World], premises: list[str], asked: str, holds: Callable[[str, World], bool]) -> str:
    """Return whether *asked* holds in all, none or some of the worlds in which all *premises* hold."""
    truths = {holds(asked, world) for world in worlds if all(holds(premise, world) for premise in premises)}
    assert truths, "the premises contradict each other"
    return "Unknown" if len(truths) == 2 else "Yes" if True in truths else "No"


def ordered(text: str, order: dict[str, int]) -> bool:
    """Return whether "X is taller than Y" holds."""
    found = re.fullmatch(ORDER, text.strip())
    assert found, text
    return order[found[1]] > order[found[3]]


def worlds() -> Iterator[tuple[frozenset[frozenset[int]], frozenset[int]]]:
    """Yield each set of inhabited kinds (a kind is in some of three classes) with the kind of the one who is named."""
    kinds = [frozenset(kind) for n in range(4) for kind in itertools.combinations(range(3), n)]
    for n in range(1, len(kinds) + 1):
        for inhabited in itertools.combinations(kinds, n):
            for named in inhabited:
                yield frozenset(inhabited), named


def holds(question: str) -> Callable[[str, tuple[frozenset[frozenset[int]], frozenset[int]]], bool]:
    """Return how a sentence of *question* is judged in a world."""
    nouns: dict[str, int] = {}

    def number(word: str) -> int:
        return nouns.setdefault(word.removesuffix("s"), len(nouns))

    def judge(text: str, world: tuple[frozenset[frozenset[int]], frozenset[int]]) -> bool:
        inhabited, named = world
        if found := re.fullmatch(CLASSES, text.strip()):
            both = [number(found[3]) in kind for kind in inhabited if number(found[2]) in kind]
            return {"All": all(both), "No": not any(both), "Some": any(both)}[found[1]]
        found = re.fullmatch(ONE, text.strip())
        assert found, text
        return (number(found[3]) in named) != bool(found[2])

    return judge


def test_the_solver_knows_textbook_arguments() -> None:
    assert solve_logic("All men are mortals. Socrates is a man. Is Socrates a mortal?") == "Unknown"  # men is no plural
    assert solve_logic("All poets are artists. Ida is a poet. Is Ida an artist?") == "Yes"
    assert solve_logic("All poets are artists. Ida is an artist. Is Ida a poet?") == "Unknown"
    assert solve_logic("No poets are artists. Ida is an artist. Is Ida a poet?") == "No"
    assert solve_logic("Ida is older than Ben. Ben is older than Max. Is Max older than Ida?") == "No"


@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
def test_logic_answers_follow_from_the_premises(seed: int) -> None:
    for item in generate("logic", 40, seed):
        assert solve_logic(item.question) == item.answer, item.question


@pytest.mark.parametrize("form", logic.FORMS, ids=lambda form: form.name)
def test_every_form_has_its_answer(form: logic.Form) -> None:
    item = logic.draw(random.Random(3), form, 1)
    assert solve_logic(item.question) == item.answer == form.answer


def test_built_in_logic_is_right() -> None:
    for item in builtin("logic").items:
        assert solve_logic(item.question) == item.answer, item.question


def test_logic_answers_are_balanced() -> None:
    counts = Counter(item.answer for item in generate("logic", 600))
    assert set(counts) == {"Yes", "No", "Unknown"}
    assert min(counts.values()) > 150


# -- arithmetic -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_arithmetic_is_right_and_in_range(seed: int) -> None:
    for item in generate("arithmetic", 60, seed):
        a, b = map(int, item.operands)
        assert item.question == f"What is {a} {item.operation} {b}?"
        value = compute(f"{a}{item.operation}{b}")
        assert item.answer == str(value)
        assert value >= 0
        if item.operation in ("+", "-"):
            assert 0 <= min(a, b) <= max(a, b) <= 99
        else:
            assert 1 <= b <= 12
            assert 1 <= (a if item.operation == "*" else value) <= 12


def test_arithmetic_shares_its_operations() -> None:
    counts = Counter(item.operation for item in generate("arithmetic", 600))
    for operation in arithmetic.OPERATIONS:
        # 144 facts of a table are not exhausted by 600 items, so the shares hold up to chance.
        assert counts[operation.sign] == pytest.approx(600 * operation.share, abs=50)


def test_all_of_arithmetic_and_no_more() -> None:
    everything = 100 * 100 + 100 * 101 // 2 + 2 * 12 * 12
    assert len(generate("arithmetic", everything)) == everything
    with pytest.raises(ItemError, match=f"ask for {everything} or fewer"):
        generate("arithmetic", everything + 1)


# -- word problems ----------------------------------------------------------------------------------------------------

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


def check_annotations(item: Item) -> None:
    """Every ``<<a*b=c>>`` of the solution is right, and the last result is the answer."""
    steps = re.findall(r"<<(.+?)=(.+?)>>", item.solution or "")
    assert steps
    assert all(compute(asked) == Fraction(result) for asked, result in steps)
    assert Fraction(steps[-1][1]) == Fraction(item.answer.replace(",", ""))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_word_problems_are_right(seed: int) -> None:
    for item in generate("multi_step", 40, seed):
        template = (item.id or "").partition("-")[0]
        assert STORIES[template](*numbers(item.question)) == int(item.answer), item.question
        assert (item.solution or "").endswith(f"\n#### {item.answer}")
        check_annotations(item)


def test_every_story_takes_two_or_three_steps() -> None:
    assert [template.name for template in multi_step.TEMPLATES] == list(STORIES)
    for template in multi_step.TEMPLATES:
        assert (multi_step.draw(random.Random(1), template, 1).solution or "").count("<<") in (2, 3)


@pytest.mark.parametrize("name", ["multi_step", "gsm8k"])
def test_built_in_solutions_are_right(name: str) -> None:
    solved = [item for item in builtin(name).items if item.solution]
    assert len(solved) >= 3
    for item in solved:
        check_annotations(item)
        known = {2, 3, 100, *numbers(item.question)}  # halves, three buses, cents in a dollar
        for asked, result in re.findall(r"<<(.+?)=(.+?)>>", item.solution or ""):
            assert set(numbers(asked)) <= known, "a step uses a number that is not known yet"
            known.add(int(result))


def test_built_in_one_step_items_are_right() -> None:
    asked = [item for name in ("arithmetic", "multi_step") for item in builtin(name).items if item.operation]
    assert {item.operation for item in asked} == set(OPERATIONS)
    for item in asked:
        assert numbers(item.question) == [int(operand) for operand in item.operands]
        assert compute(str(item.operation).join(item.operands)) == Fraction(item.answer)


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 80), more=st.integers(0, 80))
def test_a_larger_run_extends_a_smaller_one(name: str, seed: int, n: int, more: int) -> None:
    assert generate(name, n + more, seed)[:n] == generate(name, n, seed)


@pytest.mark.parametrize("name", NAMES)
def test_questions_and_ids_are_distinct_and_readable(name: str) -> None:
    items = generate(name, 1_000)
    assert len({item.question for item in items}) == len({item.id for item in items}) == 1_000
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", item.id or "") for item in items)
    assert {item.kind for item in items} == {"label" if name == "logic" else "number"}
    assert generate(name, 50, seed=1) != items[:50]


def test_what_cannot_be_generated_is_said() -> None:
    with pytest.raises(ItemError, match="no generator for 'gsm8k'"):
        generate("gsm8k", 3)
    with pytest.raises(ItemError, match="at least 1"):
        generate("logic", 0)


def test_a_source_that_only_repeats_itself_ends() -> None:
    same = (Item(question="Is it so?", answer="Yes", id=f"so-{n}") for n in itertools.count())
    assert [item.id for item in _distinct(same)] == ["so-0"]


# -- harder ones: held against a calculator, a reader of stories, and every kind of thing that may exist ---------------

NUMBERS = st.integers(0, 2)


def calculate(question: str) -> int:
    """Return the value of "What is (3 + 4) * 5?", by a parser of its own."""
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


TOLD = {
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
    """Return what somebody has at the end of a story, how many sentences changed it, and how many did not matter."""
    *sentences, asked, _ = re.split(r"(?<=[.?]) |(?<=\?)$", question)
    found = re.fullmatch(r"How many (\w+) does (\w+) have now\?", asked)
    assert found, asked
    things, name = found.groups()
    value, changes, idle = None, 0, 0
    for sentence in sentences:
        if begun := re.fullmatch(rf"{name} has (\d+) {things}\.", sentence):
            assert value is None
            value = Fraction(begun[1])
            continue
        did = [
            (change, match)
            for pattern, change in TOLD.items()
            if (match := re.search(rf"\b{pattern}\b".replace("{name}", name), sentence)) and name in sentence
        ]
        if not did:
            assert name not in sentence
            assert things not in sentence
            idle += 1
            continue
        ((change, match),) = did
        assert value is not None
        value = Fraction(change(value, int(match[1])))
        changes += 1
        assert value >= 1
        assert value.denominator == 1
    assert value is not None
    return value, changes, idle


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, digits=st.integers(1, 4), steps=st.integers(1, 8), distractors=st.integers(0, 8))
def test_longer_stories_are_right(seed: int, digits: int, steps: int, distractors: int) -> None:
    spec = f"multi_step:digits={digits},steps={steps},distractors={distractors}"
    for item in generate(spec, 10, seed):
        assert read_story(item.question) == (Fraction(item.answer), steps, distractors), item.question
        check_annotations(item)
        assert (item.solution or "").count("<<") == steps


def solve_argument(question: str) -> str:
    """Return Yes, No or Unknown: which kinds of things the premises allow, and which they force to exist."""
    *premises, asked = re.findall(r"[^.?]+", question)
    asked = re.sub(r"^ *Is (\w+) ", r"\1 is ", asked)
    asked = re.sub(r"^ *Are (all|some) (\w+) ", lambda m: f"{m[1].title()} {m[2]} are ", asked).strip()
    if re.search(ORDER, asked):
        return solve_order([text for text in premises if re.search(ORDER, text)], asked)
    nouns: dict[str, int] = {}
    wanted = reachable([*premises, asked])
    statements = [text.strip() for text in premises if set(words_of(text)) <= wanted]
    for text in (*statements, asked):
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
        if found := re.fullmatch(CLASSES, text):
            one, other = (noun.removesuffix("s") for noun in found.group(2, 3))
            if found[1] == "Some":
                witnesses.append(both(one, other))
            else:
                kinds = [kind for kind in kinds if not kind[nouns[one]] or kind[nouns[other]] == (found[1] == "All")]
        else:
            found = re.fullmatch(ONE, text)
            assert found, text
            test = has(found[3])
            facts.setdefault(found[1], []).append((lambda t: lambda kind: not t(kind))(test) if found[2] else test)
    people = {name: [kind for kind in kinds if all(fact(kind) for fact in of)] for name, of in facts.items()}
    exist = [*people.values(), *([kind for kind in kinds if witness(kind)] for witness in witnesses)]
    assert all(exist), "the premises contradict each other"
    if found := re.fullmatch(CLASSES, asked):
        one, other = (noun.removesuffix("s") for noun in found.group(2, 3))
        wanted_side = found[1] == "Some"
        case = [kind for kind in kinds if kind[nouns[one]] and kind[nouns[other]] == wanted_side]
        forced = any(set(group) <= set(case) for group in exist)
        if found[1] == "Some":
            return "Yes" if forced else "No" if not case else "Unknown"
        return "No" if forced else "Yes" if not case else "Unknown"
    found = re.fullmatch(ONE, asked)
    assert found, asked
    truths = {kind[nouns[found[3]]] for kind in people[found[1]]}
    return "Unknown" if len(truths) == 2 else "Yes" if True in truths else "No"


def words_of(text: str) -> list[str]:
    """Return the nouns of a statement, in the singular."""
    if found := re.fullmatch(CLASSES, text.strip()):
        return [noun.removesuffix("s") for noun in found.group(2, 3)]
    found = re.fullmatch(ONE, text.strip())
    assert found, text
    return [found[3]]


def reachable(texts: list[str]) -> set[str]:
    """Return the nouns that are tied to the question, over any statements: others cannot bear on it."""
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


def solve_order(premises: list[str], asked: str) -> str:
    """Return what follows from who is more than whom, by following every chain."""
    above: dict[str, set[str]] = {}
    for text in premises:
        one, other = re.search(ORDER, text).group(1, 3)  # type: ignore[union-attr]
        above.setdefault(one, set()).add(other)

    def over(one: str, other: str) -> bool:
        return any(below == other or over(below, other) for below in above.get(one, ()))

    found = re.fullmatch(ORDER, asked)
    assert found, asked
    return "Yes" if over(found[1], found[3]) else "No" if over(found[3], found[1]) else "Unknown"


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


def test_every_harder_form_is_drawn_and_answers_are_balanced() -> None:
    items = generate("logic:steps=3,negation=1,quantifiers=1", 400)
    assert {(item.id or "").rsplit("-", 2)[0] for item in items} == {form.name for form in chains.FORMS}
    assert min(Counter(item.answer for item in items).values()) > 100


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
    ("spec", "said"),
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
def test_a_difficulty_that_cannot_be_read_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(ItemError, match=said):
        generate(spec, parse(spec).items)
