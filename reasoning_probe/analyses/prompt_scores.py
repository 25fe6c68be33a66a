"""Scores of heads on a run's own questions with their answers.

``retrieval`` is how often, where the answer repeats a token of an operand, the head attends most to that token there
(Wu et al. 2024); ``deciding`` is how often the head alone names the right one of these questions' answers, where the
rest of the logits is held at its mean over the questions, in the mean over the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.models.attention_patterns import Patterns, recorded_patterns
from reasoning_probe.models.head_map import AttentionLayer, HeadMap
from reasoning_probe.models.residual_stream import DirectPaths, StreamPass, recorded_stream
from reasoning_probe.utils.logging import silence_transformers

Head = tuple[int, int]
"""A head's layer and number."""

Scores = dict[str, dict[Head, float]]
"""By name, the score of every head, between 0 and 1."""

FEWEST_REPEATS, FEWEST_ANSWERS = 3, 6
"""With fewer tokens of answers that an operand has, too, retrieval has no score, and with fewer answers deciding."""

MOST_TOKENS = 1024
"""Tokens of the prompts that one pass takes."""


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt with its expected answer, in tokens, and the places of the prompt's operands."""

    ids: tuple[int, ...]
    start: int  # of the answer
    operands: frozenset[int] = frozenset()


@silence_transformers()
def prompt_scores(
    model: Any, head_map: HeadMap, prompts: Sequence[AnsweredPrompt], weights: Mapping[int, Tensor] | None
) -> Scores:
    """Return the scores on *prompts*; those of which no prompt says anything are missing.

    *weights* are by layer the :meth:`.DirectPaths.token_weights` of :func:`answer_tokens`, if they are known.
    """
    offset, answers = answer_tokens(prompts)
    decide = weights is not None and len(answers) > 1
    questions = [_question(prompt, offset if decide else None) for prompt in prompts]
    retrieved: dict[Head, list[bool]] = {}
    effects: dict[int, list[Tensor]] = {}  # by layer, of each prompt that has an answer: (heads, answers)
    logits: list[Tensor] = []  # of each of these prompts: (answers,)
    right: list[int] = []  # the index of its answer
    for batch in _batches([question for question in questions if question.repeated or question.decides]):
        patterns, record = _pass(model, head_map, batch)
        for site in head_map.attention_layers if any(question.repeated for question in batch) else ():
            _add_retrieved(retrieved, site, patterns[site.layer].weights, batch)
        deciding = [row for row, question in enumerate(batch) if question.decides]
        if deciding and weights is not None and record.logits is not None:
            paths = DirectPaths(model, head_map, record)
            places = _places(batch)
            chosen = [row * len(places) + places.index(batch[row].answers - 1) for row in deciding]
            for site in head_map.attention_layers:
                effects.setdefault(site.layer, []).extend(paths.token_effects(site, weights[site.layer])[chosen])
            logits.extend(record.logits[chosen][:, answers])
            right.extend(answers.index(batch[row].prompt.ids[batch[row].answers]) for row in deciding)
    scores: Scores = {}
    if retrieved and len(next(iter(retrieved.values()))) >= FEWEST_REPEATS:
        scores["retrieval"] = {head: sum(hits) / len(hits) for head, hits in retrieved.items()}
    if len(right) >= FEWEST_ANSWERS and len(set(right)) > 1:
        scores["deciding"] = {
            (layer, head): value
            for layer, of_layer in effects.items()
            for head, value in enumerate(_decisions(torch.stack(of_layer), torch.stack(logits), right))
        }
    return scores


@dataclass(frozen=True)
class _Question:
    """A prompt with the places in it of which it says something."""

    prompt: AnsweredPrompt
    repeated: list[int]  # of the answer's tokens that an operand has, too
    answers: int = 0  # the place of the token that tells the answers apart, 0 for none

    @property
    def decides(self) -> bool:
        return self.answers > 0


def _question(prompt: AnsweredPrompt, offset: int | None) -> _Question:
    """Return *prompt* with its places; *offset* is that of the token of the answers that tells them apart."""
    place = 0 if offset is None else prompt.start + offset
    return _Question(prompt, _repeated(prompt), place if place < len(prompt.ids) else 0)


def _batches(questions: Sequence[_Question]) -> Iterator[list[_Question]]:
    """Yield *questions* in their order, as many at once as :data:`MOST_TOKENS` allows, at least one."""
    batch: list[_Question] = []
    for question in questions:
        length = max(len(each.prompt.ids) for each in (*batch, question))
        if batch and length * (len(batch) + 1) > MOST_TOKENS:
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


def _pass(model: Any, head_map: HeadMap, batch: Sequence[_Question]) -> tuple[Patterns, StreamPass]:
    """Run one pass over *batch*; tokens that fill up a shorter row stand behind it, where none of its tokens looks."""
    ids = torch.zeros(len(batch), max(len(question.prompt.ids) for question in batch) - 1, dtype=torch.long)
    for row, question in enumerate(batch):
        ids[row, : len(question.prompt.ids) - 1] = torch.tensor(question.prompt.ids[:-1])
    with (
        torch.no_grad(),
        recorded_patterns(model, head_map, _queries(batch)) as patterns,
        recorded_stream(model, head_map, _places(batch)) as record,
    ):
        model(input_ids=ids.to(model.device), use_cache=False)
    return patterns, record


def _queries(batch: Sequence[_Question]) -> list[int]:
    """Return the positions that predict a repeated token of any of *batch*."""
    return sorted({place - 1 for question in batch for place in question.repeated}) or [0]


def _places(batch: Sequence[_Question]) -> list[int]:
    """Return the positions that predict the answer of any of *batch*."""
    return sorted({question.answers - 1 for question in batch if question.decides}) or [0]


def _add_retrieved(
    retrieved: dict[Head, list[bool]], site: AttentionLayer, weights: Tensor, batch: Sequence[_Question]
) -> None:
    """Add to *retrieved* whether the heads of *site* look at the operand's token; *weights* are those of a pattern."""
    queries = {query: index for index, query in enumerate(_queries(batch))}
    keys = weights.argmax(-1).tolist()  # (rows, heads, queries)
    for of_row, question in zip(keys, batch, strict=True):
        ids = question.prompt.ids
        for head, of_head in enumerate(of_row):
            looked = [(of_head[queries[token - 1]], token) for token in question.repeated]
            retrieved.setdefault((site.layer, head), []).extend(
                key in question.prompt.operands and ids[key] == ids[token] for key, token in looked
            )


def _decisions(effects: Tensor, logits: Tensor, right: Sequence[int]) -> list[float]:
    """Return how often each head alone names the *right* answer, in the mean over the answers.

    *effects* are ``(prompts, heads, answers)``, *logits* ``(prompts, answers)``. What all else says is held at its mean
    over the prompts.
    """
    rest = logits[:, None] - effects  # (prompts, heads, answers)
    named = (effects + rest.mean(0)).argmax(-1)  # (prompts, heads)
    answers = torch.tensor(right)
    hits = (named == answers[:, None]).double()
    of_answers = [hits[answers == answer].mean(0) for answer in sorted(set(right))]  # (heads,) each
    shares: list[float] = torch.stack(of_answers).mean(0).tolist()
    return shares


def answer_tokens(prompts: Sequence[AnsweredPrompt]) -> tuple[int, list[int]]:
    """Return the first place in the answers where they differ, and the tokens there: none if they never do."""
    answers = [prompt.ids[prompt.start :] for prompt in prompts]
    for offset in range(max(map(len, answers), default=0)):
        tokens = sorted({answer[offset] for answer in answers if len(answer) > offset})
        if len(tokens) > 1:
            return offset, tokens
    return 0, []


def _repeated(prompt: AnsweredPrompt) -> list[int]:
    """Return the places of the answer whose token an operand has, too."""
    tokens = {prompt.ids[place] for place in prompt.operands}
    return [place for place in range(prompt.start, len(prompt.ids)) if prompt.ids[place] in tokens]
