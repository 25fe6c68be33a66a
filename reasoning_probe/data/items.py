"""Items: questions with their expected answers, which datasets yield and all other packages pass around."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal, get_args

AnswerKind = Literal["number", "label", "text", "expression"]

LABELS = ("yes", "no", "unknown")
"""The answers of kind ``label``, in lower case."""

_LABEL_SYNONYMS = {"cannot be known": "unknown", "true": "yes", "false": "no"}


class ItemError(ValueError):
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
class Item:
    """One question with its expected answer.

    ``kind`` is how the answer is compared: ``number`` exactly, ``label`` as yes / no / unknown, ``text`` by
    normalised exact match, ``expression`` as mathematics (which takes the extra ``math``); without it, it is one of the
    first three, inferred from ``answer``. ``solution`` is a worked gold solution, GSM8K's
    with its ``<<a*b=c>>`` annotations. ``operands`` and ``operation`` (one of ``+ - * /``) say what a one-step
    arithmetic question asks; the error analysis uses them. ``choices`` makes the item multiple choice; the answer is
    one of them. ``prompt`` is sent as it is, in place of the question in its frame. ``form`` names the kind of the
    question, such as the form of an argument or the template of a story: items of one form are not independent.

    Raises :class:`ItemError` if the question or the answer is empty, a ``number`` is not one, Math-Verify is missing
    for an ``expression``, or the choices are not two to 26 different texts with the answer among them.
    """

    question: str
    answer: str
    id: str | None = None
    solution: str | None = None
    kind: AnswerKind | None = None
    operands: tuple[str, ...] = ()
    operation: str | None = None
    choices: tuple[str, ...] = ()
    prompt: str | None = None
    form: str | None = None

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

    def _check_types(self) -> None:
        """Refuse what is no text; lists become tuples, so that an item can be hashed."""
        for name in ("operands", "choices"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ItemError(f"{name}={ascii(values)[:40]} is no tuple: give a tuple of texts")
            object.__setattr__(self, name, tuple(values))
        for name in ("question", "answer", "id", "solution", "kind", "operation", "prompt"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name in ("question", "answer")):
                raise ItemError(f"{name}={ascii(value)[:40]} is no text: give one")
        if self.kind not in (None, *get_args(AnswerKind)):
            raise ItemError(f"kind={ascii(self.kind)[:40]} is none: use {', '.join(get_args(AnswerKind))}")
        texts = {"question": self.question, "answer": self.answer, "id": self.id, "solution": self.solution}
        texts |= {"prompt": self.prompt, "a choice": "".join(map(str, self.choices))}
        for name, text in texts.items():
            if text and has_lone_surrogate(text):
                raise ItemError(f"{name} holds half of a surrogate pair: write the whole character")

    def _check_choices(self) -> None:
        if not all(isinstance(choice, str) for choice in self.choices):
            raise ItemError(f"choices={ascii(self.choices)[:40]} are no texts: give a tuple of texts")
        if not 2 <= len(self.choices) <= 26 or len(set(self.choices)) < len(self.choices):
            raise ItemError("choices must be 2 to 26 different texts")
        if not all(isinstance(choice, str) and choice.strip() for choice in self.choices):
            raise ItemError("a choice is empty: give each a text")
        if self.answer not in self.choices:
            raise ItemError(f"the answer {ascii(self.answer)[:60]} is none of the choices: give the right one's text")


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
