"""The card of a head: what it loses, how the lost answers are wrong, with whom it loses them, and its mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar, cast

from reasoning_probe.results.record import HeadRecord
from reasoning_probe.utils.files import to_json_types


@dataclass(frozen=True)
class Behaviour:
    """The right baseline answers that a head loses with one ``value`` of a ``tag``, beside those with other values.

    ``right`` answers have the value, of which ``lost`` are wrong without the head. ``p_adjusted`` is that of the exact
    Mantel-Haenszel test within deciles of the baseline's margin, after Holm over heads and contrasts.
    """

    tag: str
    value: str
    lost: int
    right: int
    others_lost: int
    others_right: int
    p_adjusted: float


@dataclass(frozen=True)
class Mistake:
    """How many of a head's ``lost`` answers are wrong in one way, beside the losses of all other heads.

    ``p_adjusted`` is ``None`` where no other head lost an answer.
    """

    count: int
    lost: int
    others_count: int
    others_lost: int
    p_adjusted: float | None


@dataclass(frozen=True)
class Overlap:
    """The right answers that a head loses together with ``target``, and how many chance gives."""

    target: str
    shared: int
    expected: float
    p_adjusted: float


@dataclass(frozen=True)
class Direct:
    """Direct logit attribution: the mean over the examples in logits, and the rank among heads and MLPs from 1."""

    mean: float
    rank: int


_Part = TypeVar("_Part", Behaviour, Mistake, Overlap, Direct)


@dataclass(frozen=True)
class Example:
    """A flipped item: how the head's attention lies on the tokens, seen from ``position``.

    ``position`` predicts the first token that differs, counted in the tokens of prompt and answer from 0. ``attention``
    has a share for each of ``tokens``; with the shares of ``sinks``, which are no tokens, it sums to 1. ``direct`` is
    the head's direct attribution there, in logits. ``parts`` holds the share of the attention on parts of the prompt by
    name, which may overlap. ``pattern`` is the whole attention among the last of these tokens in percent: row *i* has
    the shares of the first *i* + 1 of them. It is empty but for the first example of a card.
    """

    item: str
    position: int
    token_on: str
    token_off: str
    tokens: tuple[str, ...]
    attention: tuple[float, ...]
    direct: float | None = None
    sinks: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    pattern: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class HeadCard:
    """What is known of a head on one dataset under one ablation; what was not measured is ``None``.

    ``note`` says in a line what could not be measured, and why.
    """

    target: str
    dataset: str
    ablation: str | None
    sentence: str = ""
    behaviour: tuple[Behaviour, ...] = ()
    mistakes: Mapping[str, Mistake] = field(default_factory=dict)
    overlap: tuple[Overlap, ...] = ()
    scores: Mapping[str, float] | None = None
    labels: tuple[str, ...] | None = None
    direct: Direct | None = None
    examples: tuple[Example, ...] | None = None
    note: str = ""

    def describe(self) -> str:
        """Return the card as lines of text, the sentence first."""
        from reasoning_probe.results.cards.text import lines_of

        return "\n".join(lines_of(self))

    def record(self) -> HeadRecord:
        """Return the card as it stands in ``run.json``."""
        return cast(HeadRecord, to_json_types(asdict(self)))


def _of_fields(kind: type[_Part], record: Mapping[str, Any]) -> _Part:
    """Return a *kind* of what *record* has for its fields; the file of a later version may hold more."""
    return kind(**{each.name: record[each.name] for each in fields(kind)})


def card_of(record: HeadRecord) -> HeadCard:
    """Return the card that *record*, an entry of ``heads`` in ``run.json``, holds."""
    labels, direct, examples = record.get("labels"), record.get("direct"), record.get("examples")
    return HeadCard(
        record["target"],
        record["dataset"],
        record["ablation"],
        record["sentence"],
        tuple(_of_fields(Behaviour, contrast) for contrast in record["behaviour"]),
        {kind: _of_fields(Mistake, counts) for kind, counts in record["mistakes"].items()},
        tuple(_of_fields(Overlap, pair) for pair in record["overlap"]),
        record.get("scores"),
        None if labels is None else tuple(labels),
        None if direct is None else _of_fields(Direct, direct),
        None
        if examples is None
        else tuple(
            Example(
                example["item"],
                example["position"],
                example["token_on"],
                example["token_off"],
                tuple(example["tokens"]),
                tuple(example["attention"]),
                example["direct"],
                example.get("sinks") or {},
                example.get("parts") or {},
                tuple(map(tuple, example.get("pattern") or ())),
            )
            for example in examples
        ),
        record.get("note") or "",
    )
