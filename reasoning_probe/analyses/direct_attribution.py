"""Where a head changes an answer: the first token that differs, the head's attention there, and what it writes.

Direct logit attribution: the head's slice of the projection's input, through the projection into the residual stream,
through the final norm with its scale frozen, and through the unembedding, gives the logit of the token that the model
says minus that of the token that it says without the head (Elhage et al. 2021; nostalgebraist 2020). The logits are
those of the unembedding, before any scale or cap that a family puts on them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.token_places import part_tokens, token_spans
from reasoning_probe.data.tags import parts_of
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.tokenization import EncodedQuery
from reasoning_probe.models.ablation import Replacement, ablate
from reasoning_probe.models.attention_patterns import Pattern, recorded_patterns
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.residual_stream import Component, DirectPaths, recorded_stream
from reasoning_probe.models.targets import Target
from reasoning_probe.results.cards.card import Example
from reasoning_probe.utils.logging import silence_transformers

ROWS = 8
"""Rows of a pass with a head off in each."""

PATTERN = 64
"""Tokens of a whole pattern, the last ones."""


@dataclass(frozen=True)
class Flip:
    """The first token that differs without a head: the ``place`` in the answer, and the tokens with and without it."""

    head: tuple[int, int]
    place: int
    on: int
    off: int


@dataclass(frozen=True)
class Reading:
    """The example of a flip, what each head and MLP writes there, and in a line what is missing."""

    example: Example | None
    parts: dict[Component, float] | None
    note: str = ""


def first_differences(
    engine: LocalEngine,
    encoded: EncodedQuery,
    answer: Sequence[int],
    targets: Sequence[Target],
    replacement: Replacement,
) -> list[Flip | None]:
    """Return for each of *targets*, single heads, the first token of the model's *answer* that is another without it.

    ``None`` stands for a head without which the whole answer stays.
    """
    flips: list[Flip | None] = []
    for start in range(0, len(targets), ROWS):
        rows = targets[start : start + ROWS]
        with ablate(engine.model, engine.head_map, rows, replacement):
            likeliest = _logits(engine.model, encoded, answer, len(rows)).argmax(-1)  # (rows, answer)
        for target, tokens in zip(rows, likeliest.tolist(), strict=True):
            place = next((place for place, token in enumerate(tokens) if token != answer[place]), None)
            (head,) = target.heads
            flips.append(None if place is None else Flip(head, place, answer[place], tokens[place]))
    return flips


@silence_transformers()
def _logits(model: Any, encoded: EncodedQuery, answer: Sequence[int], rows: int) -> torch.Tensor:
    """Return the logits that predict the *answer*, ``(rows, answer, vocabulary)``."""
    new = torch.tensor([answer[:-1]], device=encoded.prompt.device, dtype=encoded.prompt.dtype)  # (1, answer - 1)
    ids = torch.cat([encoded.prompt, new], dim=1).expand(rows, -1)
    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    with torch.no_grad():
        output = model(input_ids=ids, use_cache=False, **({"logits_to_keep": len(answer)} if keeps else {}))
    logits: torch.Tensor = output.logits[:, -len(answer) :]
    return logits


@silence_transformers()
def read_flips(
    engine: LocalEngine, query: Query, encoded: EncodedQuery, answer: Sequence[int], flips: Sequence[Flip]
) -> list[Reading]:
    """Return the example that each of *flips* of the *answer* to *query* is, by one pass with nothing switched off.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` where the model's attention cannot be read.
    """
    if not flips:
        return []
    model, prompt = engine.model, encoded.prompt[0].tolist()
    ids = [*prompt, *answer[: max(flip.place for flip in flips)]]
    places = [len(prompt) + flip.place - 1 for flip in flips]
    start = max(0, min(places) + 1 - PATTERN)
    with (
        torch.no_grad(),
        recorded_patterns(model, engine.head_map, range(start, max(places) + 1)) as patterns,
        recorded_stream(model, engine.head_map, places) as record,
    ):
        model(input_ids=torch.tensor([ids], device=encoded.prompt.device), use_cache=False)
    note, parts = "", None
    try:
        paths = DirectPaths(model, engine.head_map, record)
        parts = paths.logit_differences([flip.on for flip in flips], [flip.off for flip in flips])
    except HeadError as error:
        note = f"direct attribution is left out: {error}"
    answered = tuple(range(len(prompt), len(ids)))
    places_of = {**tokens_of_parts(engine, query, prompt), "answer": answered}
    texts = _texts(engine, query, prompt) + [engine.codec.tokenizer.decode([token]) for token in ids[len(prompt) :]]
    readings = []
    for row, (flip, place) in enumerate(zip(flips, places, strict=True)):
        if record.logits is not None and int(record.logits[row].argmax()) != flip.on:
            readings.append(Reading(None, None, "an example is left out: the answer is no greedy one, or a near tie"))
            continue
        token_on, token_off = (engine.codec.tokenizer.decode([token]) for token in (flip.on, flip.off))
        example = Example(
            item=query.item_id,
            position=place,
            token_on=token_on,
            token_off=token_off,
            tokens=tuple(texts[: place + 1]),
            direct=None if parts is None else parts[row][flip.head],
            **_attention(patterns[flip.head[0]], flip.head[1], start, place, places_of),
        )
        readings.append(Reading(example, None if parts is None else parts[row], note))
    return readings


def _attention(
    pattern: Pattern, head: int, start: int, position: int, places_of: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return the fields of an example that say where *head* looks from *position*; *pattern* has those from *start*."""
    row = position - start
    weights = [round(min(1.0, weight), 7) for weight in pattern.weights[0, head, row, : position + 1].tolist()]
    sink = round(min(1.0, float(pattern.sinks[0, head, row])), 7)
    first = max(0, position + 1 - PATTERN)
    square = pattern.weights[0, head, first - start : row + 1, first : position + 1]  # (tokens, tokens)
    percents = (100 * square).round().int().clamp(0, 100).tolist()
    shares = {
        name: math.fsum(weights[place] for place in places if place <= position) for name, places in places_of.items()
    }
    return {
        "attention": tuple(weights),
        "sinks": {"sink": sink} if sink else {},
        "parts": {
            "first token": weights[0],
            "current token": weights[-1],
            **{name: round(min(1.0, share), 7) for name, share in shares.items()},
        },
        "pattern": tuple(tuple(line[: number + 1]) for number, line in enumerate(percents)),
    }


def _texts(engine: LocalEngine, query: Query, prompt: Sequence[int]) -> list[str]:
    """Return the text of each token of the *prompt*, with the blanks before it that the tokenizer drops."""
    texts = [engine.codec.tokenizer.decode([token]) for token in prompt]
    spans = token_spans(engine.codec.tokenizer, query, engine.codec.added)
    if spans is None or len(spans) != len(prompt):
        return texts
    ends = [0, *(end for _, end in spans)]
    return [query.prompt[ends[place] : end] or texts[place] for place, (_, end) in enumerate(spans)]


def tokens_of_parts(engine: LocalEngine, query: Query, prompt: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return by name the places of the tokens of each part of the question, and of the ``instruction`` around it.

    The parts are the item's own or those that its question shows. It is empty where the question's place in the
    *prompt*, which is in tokens, is not known.
    """
    spans = token_spans(engine.codec.tokenizer, query, engine.codec.added)
    start = query.question_start
    if spans is None or len(spans) != len(prompt) or start is None:
        return {}
    parts = query.item.parts or parts_of(query.item.question)
    if parts:
        query = replace(query, item=replace(query.item, parts=parts))
    end = start + len(query.item.question)
    around = (index for index, (first, last) in enumerate(spans) if index and not (first < end and start < last))
    return part_tokens(query, spans) | {"instruction": tuple(around)}
