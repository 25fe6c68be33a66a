"""The table of error categories: one entry holds all that the judge and the report know of a category."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from reasoning_probe.scoring import mistake_rules as rules
from reasoning_probe.scoring.gold_solution import GoldSolution
from reasoning_probe.scoring.mistake_rules import Rule, StatedChain
from reasoning_probe.utils.numbers import render_number


@dataclass(frozen=True)
class ErrorCategory:
    """A category of wrong answers.

    ``definition`` is what the report says it means and ``colour`` what the report draws it in. ``rules`` has a rule for
    each kind of wrong number: its place among the rules of all categories (the lowest is tried first), the kind, and
    the function that decides.
    """

    name: str
    definition: str
    colour: str
    rules: tuple[tuple[int, str, Rule], ...] = ()


ERROR_CATEGORIES = (
    ErrorCategory(
        "incomplete",
        "no definite answer: empty, cut off, still thinking, a loop, the question restated, a refusal",
        colour="#56B4E9",
    ),
    ErrorCategory(
        "wrong_label",
        "a definite but wrong yes, no or unknown",
        colour="#E69F00",
    ),
    ErrorCategory(
        "off_by_one",
        "a whole number that is exactly 1 away",
        colour="#009E73",
        rules=(
            (10, "one_too_many", rules.one_too_many),
            (20, "one_too_few", rules.one_too_few),
        ),
    ),
    ErrorCategory(
        "wrong_operation",
        "follows from the question's own numbers, by other steps",
        colour="#CC79A7",
        rules=(
            (40, "wrong_chain", rules.wrong_chain),
            (60, "operand_echoed", rules.operand_echoed),
            (70, "step_left_out", rules.step_left_out),
            (80, "wrong_operand", rules.wrong_operand),
            (90, "other_operation", rules.other_operation),
            (100, "altered_solution", rules.altered_solution),
        ),
    ),
    ErrorCategory(
        "hallucination",
        "any other definite wrong answer",
        colour="#D55E00",
        rules=(
            (30, "miscalculated", rules.miscalculated),
            (50, "foreign_numbers", rules.foreign_chain),
            (110, "sign", rules.sign),
            (120, "magnitude", rules.magnitude),
            (130, "place_value", rules.place_value),
            (140, "concatenated", rules.concatenated),
        ),
    ),
)
"""The categories in the order in which the report lists them.

The colours are Okabe and Ito's palette, which colour-blind readers can tell apart. The rules that read the stated
chain of calculations come before those that look at the answer alone. Kinds without a rule here belong to answers that
are no number: ``no_answer.py``, ``judge.py`` and ``choice.py`` assign them.
"""

CATEGORIES = tuple(category.name for category in ERROR_CATEGORIES)
"""The names of the categories, in order."""

BY_NAME = {category.name: category for category in ERROR_CATEGORIES}

RULES: tuple[tuple[str, str, Rule], ...] = tuple(
    (name, kind, rule)
    for _, name, kind, rule in sorted(
        ((place, category.name, kind, rule) for category in ERROR_CATEGORIES for place, kind, rule in category.rules),
        key=lambda entry: entry[0],
    )
)
"""Category, kind and rule of each kind of wrong number, in the order in which the rules are tried."""


def categorise_number(gold: GoldSolution, answer: Fraction, chain: StatedChain | None) -> tuple[str, str, str]:
    """Return category, kind and reason of a wrong number *answer*: those of the first rule that applies."""
    for category, kind, rule in RULES:
        reason = rule(gold, answer, chain)
        if reason is not None:
            return category, kind, reason
    return "hallucination", "from_nowhere", f"{render_number(answer)} follows from nothing in the question"
