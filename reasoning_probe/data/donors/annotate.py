"""Donors of generated questions: a counterfactual and a same-answer twin, as far from the question as each other.

What a head writes in the donor's prompt is patched into the item's, so both donors have the form of the item, and the
same number of words and digits in the same places. The two arms differ in the answer alone: numbers are moved as far,
and as many words are others. An item has both donors or neither. A donor's question serves once in each arm, since one
that served many items would stand or fall for all of them.

The donors of an item depend on its question and on the items before it, never on those behind: a larger run extends a
smaller one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reasoning_probe.data.donors.arguments import argument_pairs
from reasoning_probe.data.donors.numbers import number_pairs
from reasoning_probe.data.items import Donor, Item
from reasoning_probe.data.tags import item_tags, read_question

MOST_DONORS = 5_000
"""So many items of a dataset have donors, the first: a sweep that patches is far longer than one that is read."""


def annotated(items: Iterable[Item]) -> Iterator[Item]:
    """Yield *items* with the tags and the parts that their questions give, and with donors where there are any."""
    counterfactuals: set[str] = set()
    same_answers: set[str] = set()
    for number, item in enumerate(items):
        reading = read_question(item.question)
        parts = dict(reading.parts) if reading else {}
        counterfactual = same_answer = None
        for pair in donor_pairs(item.question) if number < MOST_DONORS else ():
            if pair[0].question not in counterfactuals and pair[1].question not in same_answers:
                counterfactual, same_answer = pair
                counterfactuals.add(counterfactual.question)
                same_answers.add(same_answer.question)
                break
        yield replace(item, tags=item_tags(item), parts=parts, counterfactual=counterfactual, same_answer=same_answer)


def donor_pairs(question: str) -> Iterator[tuple[Donor, Donor]]:
    """Yield pairs of a counterfactual and a same-answer twin of *question*, in an order that it alone decides."""
    reading = read_question(question)
    if reading is None:
        return
    rng = random.Random(question)
    if reading.numbers is not None:
        yield from number_pairs(question, reading.numbers, rng)
    elif reading.argument is not None:
        yield from argument_pairs(reading.argument, rng)
