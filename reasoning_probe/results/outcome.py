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
    """The choice's text, or its letter."""
    logprob: float | None
    """The log-probability of the choice as the prompt's continuation, in nats; ``None`` if unknown."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One (item, target) result; a line of ``outcomes.jsonl``.

    ``ablation`` is ``None`` for the baseline. ``response`` is the generated text alone, cut before the first stop
    string. ``category``, ``kind`` and ``reason`` say what is wrong with a wrong answer and are ``None`` for a right
    one. ``answer_logprob`` is the sum of the natural-log probabilities of the expected answer's tokens as they would
    continue the prompt. ``truncated`` says that the token limit ended the response. ``choices`` are those of a
    multiple-choice question, each with its own log-probability. ``form`` is the item's kind of question, if it has one,
    and ``tags`` say what its question is like; they are ``None`` where none are known. ``became_counterfactual`` says
    whether the answer is that of the item's counterfactual question, which is ``counterfactual``; both are ``None``
    where nothing is patched.

    Where answers are sampled, the outcome of a case has its ``samples``, each an outcome with the number of its
    ``sample``; ``correct`` is the verdict over them, and the other fields are those of one that speaks for the case.
    """

    dataset: str
    """The dataset of the item."""
    item: str
    """The id of the item."""
    target: str
    """What was switched off: ``L3H7``, ``L3``, ``L3H7+L5H1``, or ``baseline`` for nothing."""
    ablation: str | None
    """What replaced the target's output: ``zero``, ``mean``, ``resample``, ``patch``, ...; ``None`` for nothing."""
    question: str
    """The question as the item has it."""
    prompt: str
    """The prompt as it was sent."""
    response: str
    """What the model generated, without the prompt, cut before the first stop string."""
    expected: str
    """The expected answer."""
    answer: str | None
    """The answer that was read in the response; ``None`` where none was found."""
    correct: bool
    """Whether the answer is right."""
    category: str | None
    """The category of the mistake, such as ``off_by_one``; ``None`` for a right answer."""
    kind: str | None
    """The kind within the category, such as ``above``; ``None`` for a right answer."""
    reason: str | None
    """What is wrong, in a few words: ``24 is one more than 23``; ``None`` for a right answer."""
    answer_logprob: float | None
    """The summed log-probability of the expected answer's tokens after the prompt, in nats."""
    truncated: bool
    """Whether the token limit ended the response."""
    choices: tuple[Choice, ...] | None = None
    """The choices of a multiple-choice question, each with its log-probability."""
    form: str | None = None
    """The form of the item, if it has one."""
    tags: Mapping[str, str] | None = field(default=None, hash=False)
    """What the question is like, by name; ``None`` where nothing is known."""
    became_counterfactual: bool | None = None
    """Whether a head that takes its output on the counterfactual makes the answer the counterfactual's."""
    counterfactual: str | None = None
    """The expected answer of the counterfactual question; ``None`` where nothing is patched."""
    thought: str | None = None
    """What the model thought before its answer, where thoughts have tokens of their own; ``None`` where it did not."""
    thought_cut: bool | None = None
    """Whether the limit of tokens ended the thought."""
    sample: int | None = None
    """The number of a sample, from 0; ``None`` for the outcome of a case."""
    samples: tuple[Outcome, ...] = ()
    """The samples of a case whose answers are sampled; empty where they are decoded greedily."""

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

    @property
    def share_correct(self) -> float:
        """The share of right samples; 1 or 0 for an answer that is decoded greedily."""
        return sum(sample.correct for sample in self.samples) / len(self.samples) if self.samples else self.correct

    @property
    def lines(self) -> tuple[Outcome, ...]:
        """The outcomes as which it stands in ``outcomes.jsonl``: its samples, or itself."""
        return self.samples or (self,)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as a dict of plain Python values, in the order of the fields; its samples are left out."""
        values = dict(vars(self))  # dataclasses.asdict copies every value, which takes ten times as long
        del values["samples"]
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
