"""The judgement of a response without an answer of the item's kind: empty, refusing, looping, off topic, restating."""

from __future__ import annotations

import re

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.extraction.explicit import explicit_statement
from reasoning_probe.scoring.extraction.markup import THOUGHTS, ThoughtMarks, in_thought, without_thoughts
from reasoning_probe.scoring.extraction.sentences import is_loop, is_refusal, repeats_question, sentences, words
from reasoning_probe.scoring.extraction.yes_no import label_in
from reasoning_probe.scoring.judgement import Judgement, quoted
from reasoning_probe.utils.numbers import find_numbers, parse_number, render_number

_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?: ?[AaPp]\.?[Mm]\.?)?")

_COURTESY = re.compile(
    r"(?:(?:that's |what )?an? )?(?:great|good|excellent|interesting|nice) (?:question|problem|puzzle)\b|"
    r"(?:sure|certainly|of course|okay|alright|hello|hi|hey|thanks|thank you)\b",
    re.IGNORECASE,
)
"""A greeting or a compliment."""


def judge_unanswered(
    item: Item, text: str, response: str, truncated: bool, thoughts: ThoughtMarks = THOUGHTS
) -> Judgement:
    """Judge a response that has no answer of the item's kind: the first kind of mistake that applies.

    *text* is *response* without markup, without what *thoughts* surround, and without further questions.
    """
    if not any(map(str.isalnum, response[:10_000])):
        return _incomplete("empty", "the response is empty")
    if is_refusal(text):
        return _incomplete("refusal", "it declines to answer")
    if is_loop(response[-10_000:]):
        return _incomplete("loop", "it repeats itself without an answer")
    if in_thought(response, thoughts):
        return _incomplete("thinking", "the token limit ended its thought" if truncated else "its thought does not end")
    cut = truncated and response.rstrip(" ") == response.rstrip()  # a line that ended is complete
    if topic := off_topic(item, text, cut):
        reason = f"answers {quoted(topic)}, which is no answer to this question"
        return Judgement(topic, False, "hallucination", "off_topic", reason)
    if not (text or truncated) and not without_thoughts(response, thoughts).strip():
        return _incomplete("no_answer", "it gives no answer beside its thoughts")
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
    """Whether a response only repeats the question, or asks another one.

    Definition: each of its sentences is a clause of the question, or a question. Example: "Max is a dog." to "All dogs
    are animals. Max is a dog. Is Max an animal?". Counter-example: "Max is a human.".
    """
    return all(part.is_question or repeats_question(part.text, item.question) for part in sentences(text))


def off_topic(item: Item, text: str, truncated: bool) -> str | None:
    """Return an answer of another kind than the question asks for, as the response writes it.

    Definition: an explicit answer in other words than the question's, a yes or no to a number question, a bare number
    to a yes/no question, or a response of one to three words that the question does not have; a name that is called
    the answer may be the question's. Example: "The answer is: Alice" to "How much is left?". Counter-examples: "Max is
    a human." to "Is Max an animal?", which leaves the question open, and "To find it, we first need to".
    """
    statements = sentences(text)
    if item.kind in ("text", "expression") or not statements:
        return None
    explicit = explicit_statement(text).strip()
    complete = not truncated or "\n" in text or len(statements) > 1
    if explicit and (not truncated or explicit.endswith((".", "!")) or "\n" in text[text.find(explicit) :]):
        plain = explicit.rstrip(".")
        if item.kind == "number":
            return _in_words(item, explicit, True) or (plain if _CLOCK.fullmatch(plain) else None)
        return _in_words(item, explicit, True) or _lone_number(plain)
    first = statements[0].text
    if not complete or statements[0].is_question or repeats_question(first, item.question):
        return None
    if item.kind == "label":
        return _lone_number(text) or (_in_words(item, first) if len(words(first)) <= 2 else None)
    if label := re.match(r"(yes|no)(?=[.,!]|$)", first, re.IGNORECASE):
        return label[1].lower()
    whole = not truncated or first.endswith((".", "!"))
    return _in_words(item, first) if whole and len(words(first)) <= 3 else None


def _in_words(item: Item, statement: str, explicit: bool = False) -> str | None:
    """Return *statement* if it could answer a question: real words, some of them not the question's, and no number."""
    tokens = words(statement)
    real = bool(tokens) and all(_is_word(token) for token in tokens) and not statement.endswith(":")
    if _COURTESY.match(statement):
        return None
    plain = not any(symbol in statement for symbol in "=+*/_(){}<>\\")
    if not (real and plain) or find_numbers(statement):
        return None
    is_name = explicit and len(tokens) == 1 and statement[0].isupper()  # "The answer is: Jan"
    if set(tokens) <= set(words(item.question)) and not is_name:
        return None
    if repeats_question(statement, item.question) or label_in(statement, item.question) == "unknown":
        return None
    return statement.rstrip(".! ")


def _is_word(word: str) -> bool:
    """Whether *word* can be a word: it has only letters, and a vowel if they are Latin; "lll" is none."""
    return word.isalpha() and len(word) > 1 and (not word.isascii() or re.search("[aeiouy]", word) is not None)


def _lone_number(text: str) -> str | None:
    """Return the number of which *text* consists; "1." is an empty list and no number."""
    value = parse_number(text)
    return None if value is None or text.strip() == "1." else render_number(value)
