"""Errors: how a wrong answer is wrong.

:func:`judge` reads a response and, where it is not right, names the first category that applies:

====================  =====================================================================================
``incomplete``        no definite answer: ``empty``, ``refusal``, ``loop``, ``restated``, ``cut_off``, ``undecided``,
                      ``no_answer``
``wrong_label``       a definite but wrong yes / no / unknown: ``yes_for_no`` and so on
``off_by_one``        a whole number that differs by exactly 1: ``one_too_many``, ``one_too_few``
``wrong_operation``   the question's own numbers, other steps: ``wrong_chain``, ``operand_echoed``,
                      ``step_left_out``, ``wrong_operand``, ``other_operation``, ``altered_solution``
``hallucination``     any other definite wrong answer: ``miscalculated``, ``sign``, ``magnitude``, ``place_value``,
                      ``concatenated``, ``foreign_numbers``, ``yes_and_no``, ``off_topic``, ``wrong_text``,
                      ``from_nowhere``
====================  =====================================================================================

Each rule is a pure function of what was read; it returns one line that says why it fired, or ``None``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.scoring.error_categories import stated_chain, wrong_number
from reasoning_probe.scoring.extract import extract_answer, is_correct
from reasoning_probe.scoring.extraction.equations import find_equations
from reasoning_probe.scoring.extraction.explicit import BOTH, explicit_statement
from reasoning_probe.scoring.extraction.sentences import (
    HEAD,
    TAIL,
    clean,
    is_echo,
    is_loop,
    is_refusal,
    sentences,
    words,
)
from reasoning_probe.scoring.extraction.yes_no import label_in
from reasoning_probe.scoring.gold_solution import reference_of
from reasoning_probe.utils.numbers import find_numbers, parse_number, render_number

_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?: ?[AaPp]\.?[Mm]\.?)?")

_COURTESY = re.compile(
    r"(?:(?:that's |what )?an? )?(?:great|good|excellent|interesting|nice) (?:question|problem|puzzle)\b|"
    r"(?:sure|certainly|of course|okay|alright|hello|hi|hey|thanks|thank you)\b",
    re.IGNORECASE,
)
"""A greeting or compliment, which answers nothing."""

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
    if len(item.question) > HEAD + TAIL:  # every sentence of the response is compared with it
        item = replace(item, question=f"{item.question[:HEAD]}\n\n{item.question[-TAIL:]}")
    reading = extract_answer(item, response, truncated)
    if reading is None:
        return _unanswered(item, response, truncated)
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
        text = clean(response, item.question, truncated)
        equations = find_equations(text)
        ahead = find_numbers(text[: equations[0].start]) if equations else []
        chain = stated_chain(equations, reading.written or reading.value, [number.value for number in ahead])
        category, kind, reason = wrong_number(reference_of(item), reading.value, chain)
    return Judgement(reading.answer, False, category, kind, reason)


# No definite answer


def _unanswered(item: Item, response: str, truncated: bool) -> Judgement:
    """Return the judgement of a response in which no answer of the item's sort was found."""
    text = clean(response, item.question, truncated)
    if not any(character.isalnum() for character in response[:10_000]):
        return _incomplete("empty", "the response is empty")
    if is_refusal(text):
        return _incomplete("refusal", "it declines to answer")
    if is_loop(response[-10_000:]):
        return _incomplete("loop", "it repeats itself without an answer")
    cut = truncated and response.rstrip(" ") == response.rstrip()  # a line that ended is whole
    if topic := off_topic(item, text, cut):
        reason = f"answers {_short(topic)}, which is no answer to this question"
        return Judgement(topic, False, "hallucination", "off_topic", reason)
    if not (truncated and not text) and restated(item, text):
        return _incomplete("restated", "it only says the question again")
    if truncated:
        return _incomplete("cut_off", "the token limit ended it before an answer")
    if item.kind == "label" and sentences(text):
        return _incomplete("undecided", "what it says leaves open what was asked")
    return _incomplete("no_answer", "it gives no definite answer")


def _incomplete(kind: str, reason: str) -> Judgement:
    return Judgement(None, False, "incomplete", kind, reason)


def restated(item: Item, text: str) -> bool:
    """Whether a response says nothing but what the question says, or asks another question.

    Definition: each of its sentences is a clause of the question, or a question. Example: "Max is a dog." to "All dogs
    are animals. Max is a dog. Is Max an animal?". Counter-example: "Max is a human.".
    """
    return all(part.is_question or is_echo(part.text, item.question) for part in sentences(text))


def off_topic(item: Item, text: str, truncated: bool) -> str | None:
    """Return an answer of another sort than was asked for, as it was given.

    Definition: an explicit answer in words of its own, a yes or no to a number question, a bare number to a yes/no
    question, or a reply of one to three words that the question does not hold; a name that is
    called the answer may be the question's. Example: "The answer is: Alice" to "How
    much is left?". Counter-examples: "Max is a human." to "Is Max an animal?", which leaves open what was asked, and
    "To find it, we first need to".
    """
    said = sentences(text)
    if item.kind == "text" or not said:
        return None
    explicit = explicit_statement(text).strip()
    over = not truncated or "\n" in text or len(said) > 1
    if explicit and (not truncated or explicit.endswith((".", "!")) or "\n" in text[text.find(explicit) :]):
        plain = explicit.rstrip(".")
        if item.kind == "number":
            return _in_words(item, explicit, True) or (plain if _CLOCK.fullmatch(plain) else None)
        return _in_words(item, explicit, True) or _lone_number(plain)
    first = said[0].text
    if not over or said[0].is_question or is_echo(first, item.question):
        return None
    if item.kind == "label":
        return _lone_number(text) or (_in_words(item, first) if len(words(first)) <= 2 else None)
    if label := re.match(r"(yes|no)(?=[.,!]|$)", first, re.IGNORECASE):
        return label[1].lower()
    whole = not truncated or first.endswith((".", "!"))
    return _in_words(item, first) if whole and len(words(first)) <= 3 else None


def _in_words(item: Item, statement: str, explicit: bool = False) -> str | None:
    """Return *statement* if it could answer something: real words, some of them not the question's, and no number."""
    said = words(statement)
    real = bool(said) and all(_is_word(word) for word in said) and not statement.endswith(":")
    if _COURTESY.match(statement):
        return None
    plain = not any(symbol in statement for symbol in "=+*/_(){}<>\\")
    if not (real and plain) or find_numbers(statement):
        return None
    if set(said) <= set(words(item.question)) and not (explicit and len(said) == 1 and statement[0].isupper()):
        return None  # the question's own words, unless they are a name: "The answer is: Jan"
    if is_echo(statement, item.question) or label_in(statement, item.question) == "unknown":
        return None
    return statement.rstrip(".! ")


def _is_word(word: str) -> bool:
    """Whether *word* can be one: letters, and of the Latin ones a vowel among them; not "lll"."""
    return word.isalpha() and len(word) > 1 and (not word.isascii() or re.search("[aeiouy]", word) is not None)


def _lone_number(text: str) -> str | None:
    """Return the number that *text* consists of; "1." is an empty list and none."""
    value = parse_number(text)
    return None if value is None or text.strip() == "1." else render_number(value)


# Labels


def _wrong_label(answer: str, expected: str) -> tuple[str, str, str]:
    if answer == BOTH:
        return "hallucination", "yes_and_no", "says both yes and no"
    return "wrong_label", f"{answer}_for_{expected}", f"says {answer} where {expected} is right"


def _short(text: str) -> str:
    """Quote *text* on one line of at most 60 characters."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
