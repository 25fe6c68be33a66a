"""Which heads read a sentence of a thought: where each head looks from the tokens after it, to the expected answer.

The excess of a head on a sentence is 0 where the sentence has the share of the head's attention on the thought so far
that even attention to all tokens gives it, and 1 where it has all (receiver heads: Bogdan et al. 2025, "Thought
Anchors"). A head reads the sentence if it attends to it no less than even attention does, and if its excess is larger
than that of every head on every sentence of the dataset's thoughts in :data:`PERMUTATIONS` copies of the model whose
query and key weights are permuted. So, where query and key weights are drawn by chance, any head at all is named in at
most one of :data:`PERMUTATIONS` + 1 models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reasoning_probe.data.prompts.token_places import tokens_before
from reasoning_probe.engine.tokenization import ContextError
from reasoning_probe.models.attention_patterns import recorded_patterns
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.permuted_weights import permute_weights, query_key_features
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.record import SentenceReaderRecord
from reasoning_probe.utils.logging import silence_transformers

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine

PERMUTATIONS = 19
"""Copies of the model with permuted weights; with 19, chance names a head in at most 1 of 20 models."""

MOST_POSITIONS = 64
"""Tokens from which attention is read: after a longer thought every second, third and so on, from the last back."""

MOST_READERS = 3
"""Heads that are named beside a sentence, those with the largest excess."""

_Readers = list[list[SentenceReaderRecord]]
"""The heads that read each sentence of one thought."""


@dataclass(frozen=True)
class DividedThought:
    """A query after a thought, and the sentences that make the thought."""

    query: Query
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class SentenceReaders:
    """The measurement as an :class:`~reasoning_probe.engine.protocol.Analysis`, which one process makes."""

    thoughts: tuple[DividedThought, ...]
    seed: int
    timing: str = "describe_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> list[_Readers | str]:
        """Return the readers of the sentences of each thought, or in a line why they are not known."""
        started = time.perf_counter()
        try:
            return _readers(engine, self.thoughts, self.seed)
        except (ContextError, HeadError) as error:
            return [str(error)] * len(self.thoughts)
        finally:
            engine.timing.describe_s += time.perf_counter() - started

    def split(self, parts: int) -> list[SentenceReaders]:
        """Return the whole measurement: its thoughts share the permuted weights."""
        return [self]

    def merge(self, results: Sequence[list[_Readers | str]]) -> list[_Readers | str]:
        """Return the result of the one part."""
        return [readers for result in results for readers in result]


@dataclass(frozen=True)
class _Encoded:
    """A thought with its answer in tokens: sentence *i* has the tokens from ``bounds[i]`` to ``bounds[i + 1]``."""

    ids: tuple[int, ...]
    bounds: tuple[int, ...]

    @property
    def positions(self) -> list[int]:
        """The places from which attention is read: after the first sentence, up to the answer's last but one token."""
        after = len(self.ids) - self.bounds[1]
        step = -(-after // MOST_POSITIONS)
        return list(range(len(self.ids) - 1, self.bounds[1] - 1, -step))[::-1]


@dataclass(frozen=True)
class _Attention:
    """Where heads look from the tokens after each sentence, ``(heads, sentences)``, in the mean over these tokens."""

    on_sentence: Tensor
    on_thought: Tensor

    @property
    def share(self) -> Tensor:
        """Of the attention on the thought so far, that on the sentence."""
        return self.on_sentence / self.on_thought


def _readers(engine: LocalEngine, thoughts: Sequence[DividedThought], seed: int) -> list[_Readers | str]:
    encoded = [_encode(engine, thought) for thought in thoughts]
    even = [_attention(one, _even_weights(one)) for one in encoded]
    attention = [_recorded(engine, one) for one in encoded]
    excess = [_excess(of_model, of_even) for of_model, of_even in zip(attention, even, strict=True)]
    limits = dict.fromkeys((thought.query.dataset for thought in thoughts), 0.0)
    features = query_key_features(engine.model, engine.head_map)
    for repeat in range(PERMUTATIONS):
        with permute_weights(engine.model, features, seed + repeat).swapped_in():
            for thought, one, of_even in zip(thoughts, encoded, even, strict=True):
                most = float(_excess(_recorded(engine, one), of_even).max())
                limits[thought.query.dataset] = max(limits[thought.query.dataset], most)
    names = [target.name for target in every_head(engine.head_map)]
    return [
        _named(names, of_thought, limits[thought.query.dataset], of_model.share, of_even.share)
        for thought, of_thought, of_model, of_even in zip(thoughts, excess, attention, even, strict=True)
    ]


def _encode(engine: LocalEngine, thought: DividedThought) -> _Encoded:
    """Return *thought* in tokens. Raises ``HeadError`` where the tokens of its sentences cannot be told."""
    codec, query = engine.codec, thought.query
    encoded = codec.encode(query)
    prompt, place = encoded.prompt[0].tolist(), query.thought_start or 0
    bounds = []
    for text in ("", *thought.sentences):
        place += len(text)
        bound = tokens_before(codec.tokenizer, query, place, codec.added)
        if bound is None:
            raise HeadError("the tokens of its sentences cannot be told")
        bounds.append(min(bound, len(prompt) - 1))
    return _Encoded((*prompt, *encoded.answer[:-1]), tuple(bounds))


@silence_transformers()
def _recorded(engine: LocalEngine, encoded: _Encoded) -> _Attention:
    """Return the attention of all heads, by one pass."""
    ids = torch.tensor([encoded.ids], device=engine.model.device)
    with torch.no_grad(), recorded_patterns(engine.model, engine.head_map, encoded.positions) as patterns:
        engine.model(input_ids=ids, use_cache=False)
    layers = [patterns[site.layer].weights[0].double().cpu() for site in engine.head_map.attention_layers]
    return _attention(encoded, torch.cat(layers))


def _even_weights(encoded: _Encoded) -> Tensor:
    """Return the weights of a head that attends evenly to all tokens so far, ``(1, positions, tokens)``."""
    positions = torch.tensor(encoded.positions)[:, None]
    before = torch.arange(len(encoded.ids)) <= positions  # (positions, tokens)
    return (before.double() / (positions + 1))[None]


def _attention(encoded: _Encoded, weights: Tensor) -> _Attention:
    """Return the attention that *weights* are, ``(heads, positions, tokens)``."""
    bounds = torch.tensor(encoded.bounds)
    sums = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))[..., bounds]  # (heads, positions, sentences + 1)
    after = torch.tensor(encoded.positions)[:, None] >= bounds[1:]  # (positions, sentences)
    count = after.sum(0).clamp(min=1)
    on_sentence = (sums.diff(dim=-1) * after).sum(1) / count
    on_thought = ((sums[..., -1:] - sums[..., :1]) * after).sum(1) / count
    return _Attention(on_sentence, on_thought)


def _excess(attention: _Attention, even: _Attention) -> Tensor:
    """Return the excess of *attention* on each sentence over what is *even*, ``(heads, sentences)``.

    It is 0 where a sentence gets less attention than is even.
    """
    excess = (attention.share - even.share) / (1 - even.share)
    return excess.where(attention.on_sentence >= even.on_sentence, torch.zeros(())).nan_to_num(0.0, 0.0, 0.0)


def _named(
    names: Sequence[str], excess: Tensor, limit: float, shares: Tensor, even: Tensor
) -> list[list[SentenceReaderRecord]]:
    """Return by sentence the heads whose *excess*, ``(heads, sentences)``, is above *limit*, the largest first."""
    readers: _Readers = []
    for sentence, order in enumerate(excess.argsort(dim=0, descending=True).T.tolist()):
        heads = [head for head in order if float(excess[head, sentence]) > limit][:MOST_READERS]
        readers.append(
            [
                {
                    "target": names[head],
                    "share": min(1.0, float(shares[head, sentence])),
                    "even": float(even[0, sentence]),
                }
                for head in heads
            ]
        )
    return readers
