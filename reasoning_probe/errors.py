"""Errors: how a wrong answer is wrong.

:func:`judge` reads a response and, where it is not right, names the first category that applies:

====================  =====================================================================================
``incomplete``        no definite answer: ``empty``, ``refusal``, ``loop``, ``restated``, ``cut_off``, ``no_answer``
``wrong_label``       a definite but wrong yes / no / unknown: ``yes_for_no`` and so on
``off_by_one``        a whole number that differs by exactly 1: ``one_too_many``, ``one_too_few``
``wrong_operation``   the question's own numbers, other steps: ``wrong_chain``, ``operand_echoed``,
                      ``step_left_out``, ``wrong_operand``, ``other_operation``
``hallucination``     any other definite wrong answer: ``miscalculated``, ``sign``, ``magnitude``, ``place_value``,
                      ``concatenated``, ``foreign_numbers``, ``yes_and_no``, ``off_topic``, ``wrong_text``,
                      ``from_nowhere``
====================  =====================================================================================

Each rule is a pure function of what was read; it returns one line that says why it fired, or ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_probe.answers import BOTH, explicit_statement
from reasoning_probe.equations import find_equations
from reasoning_probe.items import Item, label_of
from reasoning_probe.mistakes import stated_chain, wrong_number
from reasoning_probe.numerals import find_numbers
from reasoning_probe.reference import reference_of
from reasoning_probe.responses import clean, is_echo, is_loop, is_refusal, sentences, words
from reasoning_probe.scoring import extract_answer, is_correct

CATEGORIES = ("incomplete", "wrong_label", "off_by_one", "wrong_operation", "hallucination")
"""The categories of a wrong answer, in the order in which they are tried."""


@dataclass(frozen=True)
class Judgement:
    """What a response answered, whether that is right, and if not, how it is wrong and why that was said.

    ``answer`` is ``None`` where there is no definite one; a number is in digits, a label is yes / no / unknown.
    ``category``, ``kind`` and ``reason`` are ``None`` for a right answer.
    """

    answer: str | None
    correct: bool
    category: str | None = None
    kind: str | None = None
    reason: str | None = None


def judge(item: Item, response: str, truncated: bool = False) -> Judgement:
    r"""Judge the generated text *response* (never the prompt) to *item*; *truncated* if the token limit ended it.

    >>> item = Item(question="What is 10 - 4?", answer="6")
    >>> judge(item, " 6\n\nThe answer is: 6").correct
    True
    >>> judge(item, " 10 - 4 = 4\n\nThe answer is: 4").reason
    '10 - 4 is the right calculation, but it does not come to 4'
    """
    reading = extract_answer(item, response, truncated)
    if reading is None:
        category, kind, reason = without_answer(item, response, truncated)
        return Judgement(None, False, category, kind, reason)
    if is_correct(item, reading):
        return Judgement(reading.answer, True)
    if item.kind == "label":
        category, kind, reason = _wrong_label(reading.answer, label_of(item.answer) or item.answer)
    elif item.kind == "text" or reading.value is None:
        category, kind, reason = (
            "hallucination",
            "wrong_text",
            f"answers {_short(reading.answer)}, which is not expected",
        )
    else:
        chain = stated_chain(find_equations(clean(response, item.question, truncated)), reading.value)
        category, kind, reason = wrong_number(reference_of(item), reading.value, chain)
    return Judgement(reading.answer, False, category, kind, reason)


# No definite answer


def without_answer(item: Item, response: str, truncated: bool) -> tuple[str, str, str]:
    """Return category, kind and reason of a response in which no answer of the item's kind was found."""
    text = clean(response, item.question, truncated)
    if not any(character.isalnum() for character in response[:10_000]):
        return "incomplete", "empty", "the response is empty"
    if is_refusal(text):
        return "incomplete", "refusal", "it declines to answer"
    if is_loop(response[-10_000:]):
        return "incomplete", "loop", "it repeats itself without an answer"
    if topic := off_topic(item, text, truncated):
        return "hallucination", "off_topic", f"answers {_short(topic)}, which is no answer to this question"
    if not (truncated and not text) and restated(item, text):
        return "incomplete", "restated", "it only says the question again"
    if truncated:
        return "incomplete", "cut_off", "the token limit ended it before an answer"
    return "incomplete", "no_answer", "it gives no definite answer"


def restated(item: Item, text: str) -> bool:
    """Whether a response says nothing but what the question says, or asks another question.

    Definition: each of its sentences is a clause of the question, or a question. Example: "Max is a dog." to "All dogs
    are animals. Max is a dog. Is Max an animal?". Counter-example: "Max is a human.".
    """
    return all(part.is_question or is_echo(part.text, item.question) for part in sentences(text))


def off_topic(item: Item, text: str, truncated: bool) -> str | None:
    """Return a definite statement that is no answer of the item's kind.

    Definition: an explicit answer, or a first sentence of a few words, that is complete and no echo of the question.
    Example: "The answer is: Alice" to "How much is left?". Counter-example: "To find it, we first need to".
    """
    said = sentences(text)
    if item.kind == "text" or not said:
        return None
    complete = not truncated or "\n" in text or len(said) > 1
    explicit = explicit_statement(text)
    if (
        explicit
        and (not truncated or explicit.endswith((".", "!")))
        and (item.kind == "label" or not find_numbers(explicit))
    ):
        return explicit
    first = said[0].text
    lone = item.kind == "label" and len(find_numbers(text)) == 1 and first not in ("1", "1.")  # "1." is an empty list
    if not lone and not any(word.isalpha() and len(word) > 1 for word in words(first)):
        return None
    few = 3 if item.kind == "number" else 8
    if (
        not complete
        or said[0].is_question
        or len(words(first)) > few
        or is_echo(first, item.question)
        or not words(first)
    ):
        return None
    return None if first.endswith(":") or (item.kind == "number" and find_numbers(first)) else first


# Labels


def _wrong_label(answer: str, expected: str) -> tuple[str, str, str]:
    if answer == BOTH:
        return "hallucination", "yes_and_no", "says both yes and no"
    return "wrong_label", f"{answer}_for_{expected}", f"says {answer} where {expected} is right"


def _short(text: str) -> str:
    """Quote *text* on one line of at most 60 characters."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
