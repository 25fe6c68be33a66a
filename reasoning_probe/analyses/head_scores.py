"""Scores with a known meaning: what each head does on repeated random tokens and on a run's own questions.

Those on questions are in :mod:`~reasoning_probe.analyses.prompt_scores`.

On random tokens that are repeated: ``previous_token``, ``duplicate_token``, ``induction`` and ``first_token`` are the
mean attention on the token before, on the same token's first place, on the one after that, and on the first of all
(Elhage et al. 2021; Olsson et al. 2022). ``copying`` is how often the head raises most the logit of the token that it
attends to most (Wang et al. 2022), ``copying_eigenvalues`` the share of the eigenvalues of its OV circuit, by size,
whose real part is positive (Elhage et al. 2021). ``suppression`` is how often, where all but the head say most a token
of the context, the head attends to it and lowers it most (McDougall et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasoning_probe.analyses.prompt_scores import AnsweredPrompt, Head, Scores, answer_tokens, prompt_scores
from reasoning_probe.models.attention_patterns import Patterns, recorded_patterns
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.permuted_weights import permute_weights, query_key_features
from reasoning_probe.models.residual_stream import DirectPaths, recorded_stream
from reasoning_probe.utils.logging import silence_transformers

THRESHOLD = 0.5
"""The least score with a label."""

QUANTILE = 0.99
"""The quantile of the scores of heads with permuted weights that a score with a label exceeds."""

UNLABELLED = ("copying_eigenvalues",)
"""Scores that permuting query and key weights leaves alone: they have no label."""

SEQUENCES, TOKENS, FEWEST_TOKENS = 4, 25, 4
"""Random sequences, tokens in each half of one, and the fewest that a short context may leave."""

PERMUTED_HEADS, MOST_PERMUTATIONS = 100, 8
"""Heads with permuted weights that a small model is permuted again for, and how often at most."""


@dataclass(frozen=True)
class RepeatedTokens:
    """Random tokens that are repeated: ``ids`` is ``(rows, prefix + 2 * half)``."""

    ids: Tensor
    prefix: int
    half: int


def repeated_tokens(
    vocabulary: int, seed: int, *, special: Sequence[int] = (), prefix: Sequence[int] = (), context: int | None = None
) -> RepeatedTokens:
    """Return random tokens of a *vocabulary*, none of them *special*, each sequence after the tokens of *prefix*.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` if vocabulary or *context* are too short.
    """
    ordinary = [token for token in range(vocabulary) if token not in frozenset(special)]
    room = 2 * TOKENS if context is None else context - len(prefix)
    half = min(TOKENS, room // 2, len(ordinary))
    if half < FEWEST_TOKENS:
        raise HeadError("its context or its vocabulary is too short for repeated random tokens")
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(SEQUENCES):
        drawn = torch.randperm(len(ordinary), generator=generator)[:half].tolist()
        once = [ordinary[index] for index in drawn]
        rows.append([*prefix, *once, *once])
    return RepeatedTokens(torch.tensor(rows), len(prefix), half)


@silence_transformers()
def token_scores(
    model: Any, head_map: HeadMap, tokens: RepeatedTokens, *, eigenvalues: bool = True
) -> tuple[Scores, str]:
    """Return the scores on random *tokens*, those of *eigenvalues* on demand, and in a line why some are missing."""
    places = list(range(tokens.prefix, tokens.ids.shape[1]))
    with (
        torch.no_grad(),
        recorded_patterns(model, head_map, values=eigenvalues) as patterns,
        recorded_stream(model, head_map, places) as record,
    ):
        model(input_ids=tokens.ids.to(model.device), use_cache=False)
    scores = _attention_scores(head_map, patterns, tokens)
    try:
        paths = DirectPaths(model, head_map, record)
        for site in head_map.attention_layers:
            for name, values in _logit_scores(paths, site, patterns, tokens).items():
                scores.setdefault(name, {}).update(_by_head(site, values))
    except HeadError as error:
        return scores, f"scores of what heads write are left out: {error}"
    return scores, ""


def _attention_scores(head_map: HeadMap, patterns: Patterns, tokens: RepeatedTokens) -> Scores:
    length, half = tokens.ids.shape[1], tokens.half
    second = range(tokens.prefix + half, length)
    attended: dict[str, list[tuple[int, int]]] = {  # the query and the key of each share of attention
        "previous_token": [(query, query - 1) for query in range(tokens.prefix + 1, length)],
        "duplicate_token": [(query, query - half) for query in second],
        "induction": [(query, query - half + 1) for query in second],
        "first_token": [(query, 0) for query in range(max(1, tokens.prefix), length)],
    }
    scores: Scores = {name: {} for name in attended}
    for site in head_map.attention_layers:
        weights = patterns[site.layer].weights.mean(0)  # (heads, queries, keys)
        for name, places in attended.items():
            queries, keys = map(list, zip(*places, strict=True))
            scores[name] |= _by_head(site, weights[:, queries, keys].mean(-1))
    return scores


def _logit_scores(
    paths: DirectPaths, site: AttentionLayer, patterns: Patterns, tokens: RepeatedTokens
) -> dict[str, Tensor]:
    """Return the scores of what the heads of *site* do to the logits of the tokens, ``(heads,)`` each."""
    ids, prefix = tokens.ids, tokens.prefix
    vocabulary, index = torch.unique(ids[:, prefix:], return_inverse=True)  # (distinct,), (rows, places)
    token_weights = paths.token_weights(site, vocabulary)  # (distinct, heads, head_dim)
    effects = paths.token_effects(site, token_weights)  # (rows * places, heads, distinct)
    weights = patterns[site.layer].weights.cpu()[:, :, prefix:]  # (rows, heads, places, keys)
    key = weights.argmax(-1).transpose(1, 2)  # (rows, places, heads)
    attended = index.gather(1, (key - prefix).clamp(min=0).flatten(1)).view(key.shape)
    attended = torch.where(key < prefix, -1, attended).flatten(0, 1)  # (rows * places, heads)
    best, worst = effects.max(-1), effects.min(-1)
    copies = (best.indices == attended) & (best.values > 0)
    assert paths.record.logits is not None
    others = paths.record.logits[:, vocabulary][:, None] - effects  # (rows * places, heads, distinct)
    likeliest = others.argmax(-1)  # (rows * places, heads)
    known = torch.nn.functional.one_hot(index, len(vocabulary)).cumsum(1).flatten(0, 1) > 0  # (rows * places, distinct)
    counts = known.gather(1, likeliest)  # whether the context has that token, (rows * places, heads)
    suppresses = counts & (worst.indices == likeliest) & (attended == likeliest) & (worst.values < 0)
    scores = {
        "copying": copies.double().mean(0),
        "suppression": suppresses.sum(0) / counts.sum(0).clamp(min=len(counts) // 4),  # few such places say little
    }
    if (values := patterns[site.layer].values) is not None:
        rows, places = _first_places(index, len(vocabulary))
        positive = _positive_eigenvalues(token_weights, values.cpu().double()[rows, :, places + prefix])
        scores |= {} if positive is None else {"copying_eigenvalues": positive}
    return scores


def _positive_eigenvalues(weights: Tensor, values: Tensor) -> Tensor | None:
    """Return the share of the eigenvalues of each OV circuit, by size, whose real part is positive, ``(heads,)``.

    *weights* and *values* are ``(tokens, heads, head_dim)``: what raises the tokens' logits, and what the tokens give.
    """
    circuit = torch.einsum("thd,the->hde", weights, values - values.mean(0))  # (heads, head_dim, head_dim)
    try:
        eigenvalues = torch.linalg.eigvals(circuit)  # (heads, head_dim)
    except RuntimeError:  # the algorithm need not converge
        return None
    sizes = eigenvalues.abs()
    shares: Tensor = (sizes * (eigenvalues.real > 0)).sum(-1) / sizes.sum(-1).clamp(min=1e-30)
    return shares


def _first_places(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the row and the place in it where each of *count* tokens stands first; *index* is ``(rows, places)``."""
    flat = index.flatten()
    first = torch.stack([(flat == token).nonzero()[0, 0] for token in range(count)])
    return first // index.shape[1], first % index.shape[1]


@dataclass(frozen=True)
class ScoredHeads:
    """All scores, by dataset, of all heads, with what they are compared with; ``notes`` say what is missing."""

    scores: dict[str, Scores]
    quantiles: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    def of_head(self, dataset: str, head: Head) -> dict[str, float]:
        """Return the scores of *head* by name."""
        return {name: of_name[head] for name, of_name in self.scores[dataset].items() if head in of_name}

    def labels(self, dataset: str, head: Head) -> tuple[str, ...] | None:
        """Return the names of the scores that *head* has as a label; ``None`` where there is no comparison."""
        if not self.quantiles:
            return None
        return labels_of(self.of_head(dataset, head), self.quantiles[dataset])


def labels_of(scores: Mapping[str, float], quantiles: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names of *scores* that reach the threshold and exceed the quantile of permuted heads."""
    return tuple(
        name
        for name, score in scores.items()
        if name not in UNLABELLED and name in quantiles and score >= THRESHOLD and score > quantiles[name]
    )


def score_heads(
    model: Any,
    head_map: HeadMap,
    tokens: RepeatedTokens,
    prompts: Mapping[str, Sequence[AnsweredPrompt]],
    seed: int = 0,
) -> ScoredHeads:
    """Return the scores of all heads on *tokens* and on the *prompts* of each dataset, and those of permuted heads."""
    of_tokens, note = token_scores(model, head_map, tokens)
    notes = [note]
    weights = {name: None if note else _answer_weights(model, head_map, of_name) for name, of_name in prompts.items()}

    def measured(of_tokens: Scores) -> dict[str, Scores]:
        return {
            name: of_tokens | prompt_scores(model, head_map, of_name, weights[name])
            for name, of_name in prompts.items()
        }

    scores = measured(of_tokens)
    pooled: dict[str, dict[str, list[float]]] = {name: {} for name in prompts}
    try:
        features = query_key_features(model, head_map)
        for repeat in range(min(MOST_PERMUTATIONS, -(-PERMUTED_HEADS // len(head_map)))):
            with permute_weights(model, features, seed + repeat).swapped_in():
                permuted = measured(token_scores(model, head_map, tokens, eigenvalues=False)[0])
            for dataset, of_dataset in permuted.items():
                for name, of_name in of_dataset.items():
                    pooled[dataset].setdefault(name, []).extend(of_name.values())
    except HeadError as error:
        notes.append(f"scores have no labels: {error}")
        return ScoredHeads(scores, {}, tuple(filter(None, notes)))
    quantiles = {
        dataset: {name: float(np.quantile(values, QUANTILE, method="higher")) for name, values in of_dataset.items()}
        for dataset, of_dataset in pooled.items()
    }
    return ScoredHeads(scores, quantiles, tuple(filter(None, notes)))


def _answer_weights(model: Any, head_map: HeadMap, prompts: Sequence[AnsweredPrompt]) -> dict[int, Tensor] | None:
    """Return by layer the directions in which heads raise the logits of the answers; ``None`` without answers."""
    _, answers = answer_tokens(prompts)
    if len(answers) < 2:
        return None
    ids = torch.tensor([prompts[0].ids], device=model.device)
    with torch.no_grad(), silence_transformers(), recorded_stream(model, head_map, [len(prompts[0].ids) - 1]) as record:
        model(input_ids=ids, use_cache=False)
    paths = DirectPaths(model, head_map, record)
    return {site.layer: paths.token_weights(site, torch.tensor(answers)) for site in head_map.attention_layers}


def _by_head(site: AttentionLayer, values: Tensor) -> dict[Head, float]:
    return {(site.layer, head): float(value) for head, value in enumerate(values)}
