"""Outcomes: what one item gave under one target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

BASELINE = "baseline"
"""The target that switches nothing off."""

ItemKey = tuple[str, str]
"""What an item is known by: dataset, item id."""

Key = tuple[str, str, str, str | None]
"""What an outcome is known by: dataset, item id, target name, ablation (``None`` for the baseline)."""


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
    multiple-choice question, each with its own log-probability.
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

    def __post_init__(self) -> None:
        if self.choices is not None:  # a file holds objects
            made = (Choice(one["text"], one["logprob"]) if isinstance(one, dict) else one for one in self.choices)
            object.__setattr__(self, "choices", tuple(made))

    @property
    def key(self) -> Key:
        """What the outcome is known by."""
        return self.dataset, self.item, self.target, self.ablation

    @property
    def item_key(self) -> ItemKey:
        """What its item is known by."""
        return self.dataset, self.item

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as a dict of plain Python values, in the order of the fields."""
        values = dict(vars(self))  # dataclasses.asdict copies every value, which takes ten times as long
        if self.choices is not None:
            values["choices"] = [asdict(choice) for choice in self.choices]
        return values
