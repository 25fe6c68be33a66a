"""Sampled answers as fixed functions of the logits: arg-max of logits / T plus Gumbel noise that is known beforehand.

The largest of logits / T + g, with g drawn from the standard Gumbel distribution for each token, is a draw from
softmax(logits / T) (Gumbel-max trick: Gumbel 1954; Maddison, Tarlow and Minka 2014, "A* Sampling"). The noise comes
from a counter-based generator (Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") whose key is
the item and the sample and whose counter is the position, so it is the same for the baseline and for every ablated
row, in any batch (common random numbers), and the rest of the engine does with noisy logits what it does with others.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.sampling import Draw, item_of
from reasoning_probe.engine.transfers import to_device

NOISE_BYTES = 128_000_000
"""Memory for noise that was drawn, which all rows of a query share."""

FIRST_SORTED = 64
"""So many of the most likely tokens are sorted first to find those that are drawn; all where these do not suffice."""

TOLERANCE = 2e-3
"""Noise of logits / T up to which rows of other batches agree on the tokens that top-k and top-p leave.

Rows in which tokens closer to the border than this could win run alone (``settle``).
"""


@dataclass(frozen=True)
class Sampler:
    """Draws the tokens of one sample of a query: *draw* says from which distribution, *key* is that of its noise."""

    draw: Draw
    key: int
    noise: GumbelNoise = field(repr=False, compare=False)

    @property
    def tolerance(self) -> float:
        """The noise of logits / T that :meth:`scores` allows for; any where no token is left out."""
        return TOLERANCE if self.draw.truncates else float("inf")

    def scores(self, logits: Tensor, first: int, *, exact: bool = True) -> Tensor:
        """Return what the arg-max of is drawn, ``(..., tokens, vocabulary)`` in float32, like *logits*.

        *first* is the place of the first of the tokens in the answer. Unless *exact*, a position at which noise of
        batching could change which tokens may be drawn gets a second token that ties with the best.
        """
        scaled = logits.float() / self.draw.temperature  # (..., tokens, vocabulary)
        noise = self.noise.at(self.key, range(first, first + logits.shape[-2]), logits)  # (tokens, vocabulary)
        if not self.draw.truncates:
            return scaled.add_(noise)
        return _truncated_scores(scaled, noise, self.draw, 0.0 if exact else TOLERANCE)


class GumbelNoise:
    """Standard Gumbel noise by key and position, a number for each token of the vocabulary; the last drawn are kept."""

    def __init__(self, most_bytes: int = NOISE_BYTES) -> None:
        self.most_bytes, self._bytes = most_bytes, 0
        self._drawn: OrderedDict[tuple[int, int, int], Tensor] = OrderedDict()

    def at(self, key: int, positions: Sequence[int], like: Tensor) -> Tensor:
        """Return the noise of *positions*, ``(positions, vocabulary)``, in float32 on the device of *like*, logits."""
        return torch.stack([self._of(key, position, like) for position in positions])

    def _of(self, key: int, position: int, like: Tensor) -> Tensor:
        place = key, position, int(like.shape[-1])
        noise = self._drawn.get(place)
        if noise is None:
            noise = torch.from_numpy(gumbel(*place)).to(like.device, non_blocking=True)  # (vocabulary,)
            self._drawn[place] = noise
            self._bytes += noise.nbytes
            while self._bytes > self.most_bytes and len(self._drawn) > 1:
                self._bytes -= self._drawn.popitem(last=False)[1].nbytes
        else:
            self._drawn.move_to_end(place)
        return noise


def gumbel(key: int, position: int, size: int) -> Any:
    """Return *size* numbers of standard Gumbel noise in float32, a function of *key* and *position* alone."""
    bits = np.random.Philox(key=key, counter=position << 64).random_raw(size)  # (size,), 64 bits each
    uniform = ((bits >> np.uint64(12)) + 0.5) * 2.0**-52  # in (0, 1), never 0 or 1
    return (-np.log(-np.log(uniform))).astype(np.float32)


def sampler_of(query: Query, noise: GumbelNoise) -> Sampler | None:
    """Return what draws the answer of *query*; ``None`` where it is decoded greedily.

    The noise depends on dataset, item, seed and sample, not on the prompt: two prompts of one item share it, too. A
    thought has noise of its own.
    """
    if query.draw is None:
        return None
    parts: list[Any] = [query.dataset, item_of(query.item_id), query.draw.seed, query.draw.sample]
    words = json.dumps([*parts, "thought"] if query.generation.thinks else parts)
    key = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=16).digest(), "little")
    return Sampler(query.draw, key, noise)


def row_scores(logits: Tensor, samplers: Sequence[Sampler | None], firsts: Sequence[int], *, exact: bool) -> Tensor:
    """Return what the arg-max of is each row's token, ``(rows, tokens, vocabulary)``, like *logits*.

    Row *i* is drawn by ``samplers[i]``, or decoded greedily, from place ``firsts[i]`` of its answer on. For *exact* see
    :meth:`Sampler.scores`.
    """
    if not any(samplers):
        return logits
    groups: dict[tuple[Sampler | None, int], list[int]] = {}
    for row, group in enumerate(zip(samplers, firsts, strict=True)):
        groups.setdefault(group, []).append(row)
    scores = logits.float()  # (rows, tokens, vocabulary); logits in float32 are not copied
    for (sampler, first), rows in groups.items():
        if sampler is not None:
            index = slice(None) if len(groups) == 1 else to_device(rows, logits.device, torch.long)
            scores[index] = sampler.scores(scores[index], first, exact=exact)
    return scores


def _truncated_scores(scaled: Tensor, noise: Tensor, draw: Draw, tolerance: float) -> Tensor:
    """Return *scaled* plus *noise* of the tokens that top-k and top-p leave, minus infinity for all others."""
    least, possible, certain = _borders(scaled, draw, tolerance)  # (..., tokens, 1) each
    noisy = scaled + noise  # (..., tokens, vocabulary)
    scores = noisy.masked_fill(scaled < least, float("-inf"))
    if not tolerance:
        return scores
    best_certain = noisy.masked_fill(scaled < certain, float("-inf")).amax(-1, keepdim=True)  # (..., tokens, 1)
    between = (scaled >= possible) & (scaled < certain)
    best_between = noisy.masked_fill(~between, float("-inf")).amax(-1, keepdim=True)  # (..., tokens, 1)
    best = scores.max(-1, keepdim=True)  # (..., tokens, 1) values and indices
    other = (best.indices + 1) % scores.shape[-1]
    rival = torch.nextafter(best.values, torch.full_like(best.values, float("-inf")))  # of two that tie, one would win
    tied = rival.where(best_between > best_certain - tolerance, scores.gather(-1, other))
    return scores.scatter(-1, other, tied)


def _borders(scaled: Tensor, draw: Draw, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the least of *scaled* that may be drawn, ``(..., tokens, 1)``, as it is and if noise changed it a little.

    With noise of *tolerance* the second may be drawn, and the third is not left out. Tokens that tie with the last one
    that may be drawn may be, too.
    """
    size = int(scaled.shape[-1])
    count = min(size, FIRST_SORTED) if scaled.device.type == "cpu" else size  # a GPU would wait to know if they suffice
    while True:
        values = scaled.topk(count, dim=-1).values  # (..., tokens, count), falling
        most = scaled if not draw.top_k else values[..., : draw.top_k]
        if draw.top_k > count:
            most = scaled.topk(min(size, draw.top_k), dim=-1).values
        shares = (values - most.logsumexp(-1, keepdim=True)).exp()  # (..., tokens, count)
        possible = _drawn(values, shares, draw, tolerance)
        if count == size or not possible[..., -1].any():
            break
        count = min(size, 16 * count)
    drawn = _drawn(values, shares, draw, 0.0)
    certain = _drawn(values, shares, draw, -tolerance)
    least, least_possible, least_certain = (
        values.masked_fill(~among, float("inf")).amin(-1, keepdim=True) for among in (drawn, possible, certain)
    )
    return least, least_possible, least_certain


def _drawn(values: Tensor, shares: Tensor, draw: Draw, tolerance: float) -> Tensor:
    """Tell which of the falling *values*, ``(..., count)``, are drawn, given their *shares* of the probability.

    A token is where fewer than ``top_k`` others are more likely, and these have less than ``top_p`` of the probability.
    A *tolerance* above 0 counts only those as more likely that are so by more than it; one below 0 counts those, too,
    that are less likely by no more than it. Noise of n in each value changes the probability of a set that has p by at
    most 2 n p (1 - p), to the first order, and the tolerance is four times the noise.
    """
    mass = torch.nn.functional.pad(shares.cumsum(-1), (1, 0))  # (..., count + 1): of so many of the most likely
    rivals = torch.searchsorted(-values, -(values + tolerance))  # (..., count): how many are more likely
    before = mass.gather(-1, rivals)
    if tolerance < 0:  # a token is no rival of its own
        rivals, before = rivals - 1, before - shares
    drawn = (
        before - tolerance * draw.top_p * (1 - draw.top_p) < draw.top_p
        if draw.top_p < 1
        else torch.ones_like(before, dtype=torch.bool)
    )
    return drawn & (rivals < draw.top_k) if draw.top_k else drawn
