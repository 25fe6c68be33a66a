"""The outcome of one item under one target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reasoning_probe.utils.target_names import BASELINE as BASELINE

ItemKey = tuple[str, str]
"""The key of an item: dataset, item id."""

Key = tuple[str, str, str, str | None]
"""The key of an outcome: dataset, item id, target name, ablation (``None`` for the baseline)."""


@dataclass(frozen=True)
class Choice:
    """One choice of a multiple-choice question: its text, or its letter where the prompt lists the texts."""

    text: str
    logprob: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One (item, target) result; a line of ``outcomes.jsonl``.

    ``ablation`` is ``None`` for the baseline. ``response`` is the generated text alone, cut before the first stop
    string. ``category``, ``kind`` and ``reason`` say what is wrong with a wrong answer and are ``None`` for a right
    one. ``answer_logprob`` is the sum of the natural-log probabilities of the expected answer's tokens as they would
    continue the prompt. ``truncated`` says that the token limit ended the response. ``choices`` are those of a
    multiple-choice question, each with its own log-probability. ``form`` is the item's kind of question, if it has one,
    and ``tags`` say what its question is like; they are ``None`` where none are known. ``became_counterfactual`` says
    whether the answer is that of the item's counterfactual question; it is ``None`` where nothing is patched.
    """

    dataset: str
    item: str
    target: str
    ablation: str | None
    question: str
    prompt: str
    response: str
    expected: str
    answer: str | None
    correct: bool
    category: str | None
    kind: str | None
    reason: str | None
    answer_logprob: float | None
    truncated: bool
    choices: tuple[Choice, ...] | None = None
    form: str | None = None
    tags: Mapping[str, str] | None = field(default=None, hash=False)
    became_counterfactual: bool | None = None

    def __post_init__(self) -> None:
        if self.choices is not None:  # read from a file
            choices = (Choice(one["text"], one["logprob"]) if isinstance(one, dict) else one for one in self.choices)
            object.__setattr__(self, "choices", tuple(choices))

    @property
    def key(self) -> Key:
        """The key of the outcome."""
        return self.dataset, self.item, self.target, self.ablation

    @property
    def item_key(self) -> ItemKey:
        """The key of its item."""
        return self.dataset, self.item

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as a dict of plain Python values, in the order of the fields."""
        values = dict(vars(self))  # dataclasses.asdict copies every value, which takes ten times as long
        if self.choices is not None:
            values["choices"] = [asdict(choice) for choice in self.choices]
        if self.tags is not None:
            values["tags"] = dict(self.tags)
        return values


def likeliest(choices: Sequence[Choice], *, normalised: bool = False) -> int | None:
    """Return the index of the choice with the highest log-probability, the first of equals; ``None`` if unknown.

    Normalised it is divided by the choice's length in characters, as lm-evaluation-harness does for ``acc_norm``.
    """
    values = [choice.logprob for choice in choices if choice.logprob is not None]
    if not values or len(values) < len(choices):
        return None
    lengths = [len(choice.text) if normalised else 1 for choice in choices]
    scores = [value / length for value, length in zip(values, lengths, strict=True)]
    return scores.index(max(scores))


def accuracy(outcomes: Sequence[Outcome], *, normalised: bool = False) -> float | None:
    """Return the share of outcomes whose likeliest choice is right (``acc``, ``acc_norm``); ``None`` without any."""
    picked = [(outcome, likeliest(outcome.choices or (), normalised=normalised)) for outcome in outcomes]
    right = [place is not None and (outcome.choices or ())[place].text == outcome.expected for outcome, place in picked]
    return sum(right) / len(right) if right else None
