"""Items: questions with their expected answers, which datasets yield and all other packages pass around."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal, get_args

from reasoning_probe.utils.text import OneLineError, quoted

AnswerKind = Literal["number", "label", "text", "expression"]

LABELS = ("yes", "no", "unknown")
"""The answers of kind ``label``, in lower case."""

Arm = Literal["counterfactual", "same_answer"]
"""Which of an item's donors is asked, by the name of its field."""

Span = tuple[int, int]
"""The first character of a stretch of text, and the one after its last."""

PLACES = ("all", "prompt", "answer", "last")
"""Names that no part of a question can have: they stand for places of the prompt and the answer."""

MOST_TAGS = 100
"""The most tags, and the most parts, that an item can have."""

_TAG_NAME, _TAG_VALUE = 60, 200  # characters, at most
_PART_NAME = re.compile(r"\w[\w.-]{0,59}")
_LABEL_SYNONYMS = {"cannot be known": "unknown", "true": "yes", "false": "no"}


class ItemError(OneLineError):
    """An item that cannot be asked or judged; the message is one line that names the fix."""


def label_of(text: str) -> str | None:
    """Return ``yes``, ``no`` or ``unknown`` if *text* is one of these words or a synonym, and no more; else ``None``.

    >>> label_of("Yes."), label_of("Unknown"), label_of("8")
    ('yes', 'unknown', None)
    """
    word = text.strip().rstrip(".!").lower()
    word = _LABEL_SYNONYMS.get(word, word)
    return word if word in LABELS else None


@dataclass(frozen=True, kw_only=True)
class Donor:
    """Another question of an item's form, whose prompt gives the activations that are patched into the item's.

    ``answer`` is its expected answer. Without ``choices`` it has those of the item. ``prompt`` is sent as it is, as an
    item's is. Raises :class:`ItemError` for what is no text, and for an empty question or answer.
    """

    question: str
    """The question, another one than the item's."""
    answer: str
    """Its expected answer."""
    choices: tuple[str, ...] = ()
    """Its choices where it is multiple choice; empty for those of the item."""
    prompt: str | None = None
    """The whole prompt, sent as it is; ``None`` for the question in the item's frame."""

    def __post_init__(self) -> None:
        if not isinstance(self.choices, list | tuple):
            raise ItemError(f"choices={quoted(self.choices, 40)} is not a tuple: give a tuple of texts")
        object.__setattr__(self, "choices", tuple(self.choices))
        for name in ("question", "answer", "prompt"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name != "prompt"):
                raise ItemError(f"{name}={quoted(value, 40)} is not a text: give one")
            if value is not None and not value.strip():
                raise ItemError(f"{name} is empty: give it a text")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question with its expected answer.

    ``kind`` is how the answer is compared: ``number`` exactly, ``label`` as yes / no / unknown, ``text`` by
    normalised exact match, ``expression`` as mathematics (which takes the extra ``math``); without it, it is one of the
    first three, inferred from ``answer``. ``solution`` is a worked gold solution, GSM8K's
    with its ``<<a*b=c>>`` annotations. ``operands`` and ``operation`` (one of ``+ - * /``) say what a one-step
    arithmetic question asks; the error analysis uses them. ``choices`` makes the item multiple choice; the answer is
    one of them. ``prompt`` is sent as it is, in place of the question in its frame. ``form`` names the kind of the
    question, such as the form of an argument or the template of a story: items of one form are not independent.

    ``tags`` say what the question is like, such as ``{"operation": "+", "carries": "1"}``; numbers and truth values
    become texts. ``parts`` are the parts of the question by name, such as ``{"operator": ((10, 11),)}``: each a tuple
    of spans, ``(first character, character after the last)``, in order. ``counterfactual`` is another question of the
    same form with another answer, and ``same_answer`` one with other numbers or names and the same answer.

    Raises :class:`ItemError` if the question or the answer is empty, a ``number`` is not one, Math-Verify is missing
    for an ``expression``, the choices are not two to 26 different texts with the answer among them, a part does not lie
    within the question, or a donor asks the item's own question or has an answer that it should not have.
    """

    question: str
    """What the model is asked."""
    answer: str
    """The expected answer; of a multiple-choice question the text of the right choice."""
    id: str | None = None
    """The item's name in tests and files; ``None`` for one by its place, ``q1``, ``q2``, ..."""
    solution: str | None = None
    """A worked gold solution, in GSM8K's format with ``<<a*b=c>>`` annotations."""
    kind: AnswerKind | None = None
    """How the answer is compared: ``number``, ``label``, ``text`` or ``expression``; ``None`` infers it."""
    operands: tuple[str, ...] = ()
    """The numbers of a one-step arithmetic question, in order, by which its mistakes are classified."""
    operation: str | None = None
    """The operation of a one-step arithmetic question: ``+``, ``-``, ``*`` or ``/``."""
    choices: tuple[str, ...] = ()
    """The 2 to 26 choices of a multiple-choice question, the answer among them."""
    prompt: str | None = None
    """The whole prompt, sent as it is; ``None`` for the question in its frame."""
    form: str | None = None
    """The kind of the question, such as a story's template: items of one form are not independent."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the question is like, by name: ``{"operation": "+", "carries": "1"}``."""
    parts: Mapping[str, tuple[Span, ...]] = field(default_factory=dict, hash=False)
    """Parts of the question by name, each as spans of characters: ``{"operator": ((10, 11),)}``."""
    counterfactual: Donor | None = None
    """Another question of the same form, with another answer."""
    same_answer: Donor | None = None
    """A question of the same form with other numbers or names and the same answer."""

    def __post_init__(self) -> None:
        self._check_types()
        if not self.question.strip():
            raise ItemError("an item has an empty question: give it a text")
        if not self.answer.strip():
            raise ItemError("an item has no answer: give it the expected answer")
        if self.choices:
            self._check_choices()
        if self.kind is None:
            object.__setattr__(self, "kind", infer_kind(self.answer))
        elif self.kind == "number" and not _is_number(self.answer):
            raise ItemError(f"the answer {self.answer[:40]!r} is not a number: write it in digits")
        elif self.kind == "expression" and not has_math_verify():
            raise ItemError("kind expression needs Math-Verify: pip install 'reasoning-probe[math]'")
        if self.tags:
            object.__setattr__(self, "tags", checked_tags(self.tags))
        if self.parts:
            object.__setattr__(self, "parts", checked_parts(self.parts, self.question))
        for name in ("counterfactual", "same_answer"):
            if getattr(self, name) is not None:
                self._check_donor(name)

    def with_question_of(self, donor: Donor) -> Item:
        """Return the item that asks the question of *donor*, which has neither parts nor donors of its own.

        Raises :class:`ItemError` if this item's prompt is sent as it is and the donor has none, since the place of the
        question in it is not known.
        """
        if self.prompt is not None and donor.prompt is None:
            raise ItemError("the item has a prompt and its donor has none: give the donor a prompt, too")
        return replace(
            self,
            question=donor.question,
            answer=donor.answer,
            choices=donor.choices or self.choices,
            prompt=donor.prompt,
            solution=None,
            operands=(),
            operation=None,
            tags={},
            parts={},
            counterfactual=None,
            same_answer=None,
        )

    def restored(self) -> Item:
        """Return the item that asks the counterfactual question, whose counterfactual is this item's own.

        An item without one is returned as it is.
        """
        if self.counterfactual is None:
            return self
        clean = Donor(question=self.question, answer=self.answer, choices=self.choices, prompt=self.prompt)
        return replace(self.with_question_of(self.counterfactual), counterfactual=clean)

    def _check_donor(self, name: str) -> None:
        donor = getattr(self, name)
        if not isinstance(donor, Donor):
            raise ItemError(f"{name}={quoted(donor, 40)} is not a Donor: give a question and an answer")
        if donor.question == self.question:
            raise ItemError(f"{name} asks the item's own question: give another question")
        try:
            choices = donor.choices or self.choices
            Item(question=donor.question, answer=donor.answer, choices=choices, kind=self.kind, prompt=donor.prompt)
        except ItemError as error:
            raise ItemError(f"{name}: {error}") from None
        if (comparable(donor.answer, self.kind) == comparable(self.answer, self.kind)) is (name == "counterfactual"):
            wanted = "another answer than the item" if name == "counterfactual" else "the item's answer"
            raise ItemError(f"{name} has the answer {quoted(donor.answer, 40)}: give a question with {wanted}")

    def _check_types(self) -> None:
        """Refuse what is no text; lists become tuples, so that an item can be hashed."""
        for name in ("operands", "choices"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ItemError(f"{name}={quoted(values, 40)} is not a tuple: give a tuple of texts")
            if not all(isinstance(value, str) for value in values):
                raise ItemError(f"{name}={quoted(tuple(values), 40)} are not all texts: give a tuple of texts")
            object.__setattr__(self, name, tuple(values))
        for name in ("question", "answer", "id", "solution", "kind", "operation", "prompt", "form"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name in ("question", "answer")):
                raise ItemError(f"{name}={quoted(value, 40)} is not a text: give one")
        if self.kind not in (None, *get_args(AnswerKind)):
            raise ItemError(f"kind={quoted(self.kind, 40)} is none: use {', '.join(get_args(AnswerKind))}")
        texts = {"question": self.question, "answer": self.answer, "id": self.id, "solution": self.solution}
        texts |= {"prompt": self.prompt, "form": self.form, "operation": self.operation}
        texts |= {"a choice": "\n".join(self.choices), "an operand": "\n".join(self.operands)}
        for name, text in texts.items():
            if text and has_lone_surrogate(text):
                raise ItemError(f"{name} holds half of a surrogate pair: write the whole character")

    def _check_choices(self) -> None:
        if not 2 <= len(self.choices) <= 26 or len(set(self.choices)) < len(self.choices):
            raise ItemError("choices must be 2 to 26 different texts")
        if not all(choice.strip() for choice in self.choices):
            raise ItemError("a choice is empty: give each a text")
        if self.answer not in self.choices:
            raise ItemError(f"the answer {quoted(self.answer)} is not one of the choices: give the right one's text")


def has_lone_surrogate(text: str) -> bool:
    r"""Tell whether *text* holds half of a surrogate pair, which UTF-8 cannot encode.

    >>> has_lone_surrogate("\ud800"), has_lone_surrogate("größe")
    (True, False)
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def checked_tags(tags: Any) -> dict[str, str]:
    """Return *tags* as texts. Raises :class:`ItemError` for what are no tags.

    >>> checked_tags({"digits": 2, "carry": True})
    {'digits': '2', 'carry': 'true'}
    """
    if not isinstance(tags, Mapping):
        raise ItemError(f'tags={quoted(tags, 40)} is not a mapping: write {{"operation": "+"}}')
    if len(tags) > MOST_TAGS:
        raise ItemError(f"an item has {len(tags)} tags: give at most {MOST_TAGS}")
    texts: dict[str, str] = {}
    for name, value in tags.items():
        if not isinstance(name, str) or not name.strip() or len(name) > _TAG_NAME or not name.isprintable():
            raise ItemError(f"{quoted(name)} is not the name of a tag: give a name of at most {_TAG_NAME} characters")
        if not isinstance(value, str | int | float):
            raise ItemError(f"the tag {name!a} is {quoted(value, 40)}: make it a text, a number or true or false")
        text = str(value).lower() if isinstance(value, bool) else _number_or_text(value)
        if not text.strip() or len(text) > _TAG_VALUE or not text.isprintable():
            raise ItemError(f"the tag {name!a} is {quoted(text, 40)}: give it 1 to {_TAG_VALUE} characters of text")
        texts[name] = text
    return texts


def _number_or_text(value: str | float) -> str:
    """Return *value* as a text; a number of thousands of digits, which Python does not write, as an empty one."""
    try:
        return str(value)
    except ValueError:
        return ""


def checked_parts(parts: Any, question: str) -> dict[str, tuple[Span, ...]]:
    """Return *parts* of *question* with tuples in place of lists. Raises :class:`ItemError` for what are no parts.

    >>> checked_parts({"operands": [[8, 9], [12, 13]]}, "What is 5 + 3?")
    {'operands': ((8, 9), (12, 13))}
    """
    if not isinstance(parts, Mapping):
        raise ItemError(f'parts={quoted(parts, 40)} is not a mapping: write {{"operands": [[8, 9]]}}')
    if len(parts) > MOST_TAGS:
        raise ItemError(f"an item has {len(parts)} parts: give at most {MOST_TAGS}")
    checked: dict[str, tuple[Span, ...]] = {}
    for name, spans in parts.items():
        if not isinstance(name, str) or not _PART_NAME.fullmatch(name) or name in PLACES:
            raise ItemError(
                f"{quoted(name)} names no part: use letters, digits, _ . and -, and none of {', '.join(PLACES)}"
            )
        if not _are_spans(spans):
            raise ItemError(f"the part {name} is {quoted(spans, 40)}: write its spans as in [[8, 9], [12, 13]]")
        part = tuple((start, end) for start, end in spans)
        if not all(0 <= start < end <= len(question) for start, end in part):
            raise ItemError(
                f"the part {name} is {quoted(spans, 40)}: each span begins before it ends, within the"
                f" {len(question)} characters of the question"
            )
        if any(second[0] < first[1] for first, second in pairwise(part)):
            raise ItemError(f"the part {name} is {quoted(spans, 40)}: give its spans in order, without overlap")
        checked[name] = part
    return checked


def _are_spans(spans: Any) -> bool:
    """Tell whether *spans* are one or more pairs of whole numbers."""
    return (
        isinstance(spans, Sequence)
        and not isinstance(spans, str)
        and len(spans) > 0
        and all(isinstance(span, list | tuple) and len(span) == 2 for span in spans)
        and all(type(place) is int for span in spans for place in span)
    )


def comparable(answer: str, kind: AnswerKind | None) -> object:
    """Return a value that is equal for equal answers of *kind*."""
    if kind == "number":
        from reasoning_probe.utils.numbers import parse_number  # as in _is_number

        return parse_number(answer)
    return label_of(answer) if kind == "label" else " ".join(answer.lower().split())


@cache
def has_math_verify() -> bool:
    """Whether Math-Verify, the extra ``math``, is installed."""
    return find_spec("math_verify") is not None


def infer_kind(answer: str) -> AnswerKind:
    """Return how *answer* is compared: as a label, as a number, or as text."""
    if label_of(answer) is not None:
        return "label"
    return "number" if _is_number(answer) else "text"


def _is_number(answer: str) -> bool:
    from reasoning_probe.utils.numbers import parse_number  # its patterns take longer to compile than all else here

    return parse_number(answer) is not None
