"""Attention in fixed tiles: each product is by 64 keys, however many queries, keys and rows there are.

The last tile of keys is padded; scores and sums are float32. The queries of the heads that share keys are the rows of
one batched product, which :mod:`reasoning_probe.models.fixed_shapes` pads like any other. A row's output is therefore
bit for bit the same alone, in any batch, in a window of several tokens and token by token. A tile of masked keys adds
zeros, which change no sum.

transformers calls :func:`attention` for a model whose ``attn_implementation`` is :data:`NAME`.
"""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "reasoning_probe_fixed_tiles"
"""The name under which transformers knows this attention."""

KEYS = 64
"""Keys of a tile."""

LEAST_ROWS = 8
"""Queries that all heads which share keys have together at least: the least rows of products on most CPUs."""

PART = 2**18
"""Scores that are computed at a time, about what a CPU's cache holds with what they are computed from."""


LOG2_E = 1 / log(2)
"""Scores are in units of log(2): MKL's exponential function is ten times slower at numbers that it takes to zero."""


def in_whole_tiles(keys: int) -> int:
    """Return *keys* rounded up to whole tiles."""
    return keys + -keys % KEYS


def register() -> None:
    """Tell transformers of this attention and of its masks."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, boolean_mask)


def boolean_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """Return transformers' own boolean mask, ``(rows, 1, queries, keys)``, also where sdpa would need none."""
    mask: Tensor | None = sdpa_mask(*args, **kwargs | {"allow_is_causal_skip": False})
    return mask


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention output, ``(rows, queries, heads, value_dim)``, and no weights.

    *query* is ``(rows, heads, queries, head_dim)``; *key* and *value* have ``kv_heads`` instead, which groups of heads
    share, and may be float32 already. *softcap* bounds the scores (Gemma 2), *s_aux* are the sinks of each head
    (GPT-OSS), *position_bias* is added to the scores.
    """
    rows, heads, queries, head_dim = query.shape
    kv_heads, keys = key.shape[1:3]
    group = heads // kv_heads
    scale = LOG2_E * (head_dim**-0.5 if scaling is None else scaling)
    bias = _bias(module, query, key, attention_mask, position_bias)  # (rows or 1, heads or 1, queries, whole tiles)
    sinks = None if s_aux is None else LOG2_E * s_aux.float().view(1, kv_heads, group, 1, 1)
    # Few queries get as many rows as a product has at least once for all products, as heads of zeros.
    padded = max(group, -(-LEAST_ROWS // queries)) if bias.shape[1] == 1 and sinks is None else group
    output = query.new_empty(rows, queries, heads, value.shape[-1])
    size = max(1, PART // (heads * queries * in_whole_tiles(keys)))
    for first in range(0, rows, size):
        part = slice(first, first + size)
        q = (query[part].float() * scale).reshape(-1, group * queries, head_dim)  # (rows * kv_heads, group * queries,)
        if padded > group:
            q = functional.pad(q, (0, 0, 0, (padded - group) * queries))  # (rows * kv_heads, padded * queries,)
        shape = q.shape[0] // kv_heads, kv_heads, padded, queries
        of_rows = bias if bias.shape[0] == 1 else bias[part]
        attended = _output(q, _tiles(key[part]), _tiles(value[part]), of_rows, shape, softcap, sinks)
        output[part] = attended[:, :, :group].flatten(1, 2).transpose(1, 2)  # (rows, queries, heads, value_dim)
    return output, None


def _bias(module: Any, query: Tensor, key: Tensor, mask: Tensor | None, position_bias: Tensor | None) -> Tensor:
    """Return what is added to the scores, ``(rows or 1, heads or 1, queries, whole tiles)``: ``-inf`` hides a key."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is None:
        mask = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=query.device)
        if getattr(module, "is_causal", True):
            mask = mask.tril(keys - queries)
    bias = _bias_of(mask, keys)
    if position_bias is None:
        return bias
    return bias + LOG2_E * functional.pad(position_bias.float(), (0, -keys % KEYS))


@lru_cache(maxsize=2)
def _bias_of(mask: Tensor, keys: int) -> Tensor:
    """Return what *mask* adds to the scores of so many *keys*.

    The layers of a pass share a mask, or two where some have sliding windows; tensors are told apart by identity.
    """
    mask = mask[..., :keys]
    if mask.dtype == torch.bool:
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
    else:  # an additive mask, whose lowest numbers mean the same
        bias = (LOG2_E * mask.float()).masked_fill(mask <= torch.finfo(mask.dtype).min / 2, float("-inf"))
    return functional.pad(bias, (0, -keys % KEYS), value=float("-inf")) if keys % KEYS else bias


def _tiles(x: Tensor) -> list[Tensor]:
    """Return *x*, ``(rows, kv_heads, keys, size)``, in tiles of ``(rows * kv_heads, 64, size)``."""
    x = x.float()
    if x.shape[2] % KEYS:
        x = functional.pad(x, (0, 0, 0, -x.shape[2] % KEYS))
    return [tile.flatten(0, 1) for tile in torch.split(x, KEYS, dim=2)]


def _output(
    q: Tensor,
    key_tiles: list[Tensor],
    value_tiles: list[Tensor],
    bias: Tensor,
    shape: tuple[int, int, int, int],
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Return what queries attend to, ``(rows, kv_heads, group, queries, value_dim)``.

    *q* is ``(rows * kv_heads, group * queries, head_dim)``, and *shape* rows, kv_heads, group and queries.
    """
    scores = []
    for index, keys in enumerate(key_tiles):
        of_tile = torch.bmm(q, keys.transpose(1, 2)).view(*shape, KEYS)
        if softcap is not None:
            of_tile = torch.tanh(of_tile / (LOG2_E * softcap)) * (LOG2_E * softcap)
        of_keys = bias[..., index * KEYS : (index + 1) * KEYS]  # (rows or 1, heads or 1, queries, 64)
        heads = (1, 1) if of_keys.shape[1] == 1 else shape[1:3]
        scores.append(of_tile.add_(of_keys.view(-1, *heads, shape[3], KEYS)))  # (rows, kv_heads, group, queries, 64)
    best = scores[0].amax(-1, keepdim=True)  # (rows, kv_heads, group, queries, 1)
    for of_tile in scores[1:]:
        best = torch.maximum(best, of_tile.amax(-1, keepdim=True))
    if sinks is not None:
        best = torch.maximum(best, sinks)
    best = best.clamp(min=torch.finfo(best.dtype).min)  # a padded query sees no key
    total: Tensor | float = 0.0 if sinks is None else torch.exp2(sinks - best)
    output: Tensor | float = 0.0
    for of_tile, values in zip(scores, value_tiles, strict=True):
        weights = torch.exp2(of_tile.sub_(best))
        total = weights.sum(-1, keepdim=True) + total
        output = torch.bmm(weights.view(*q.shape[:2], KEYS), values) + output
    assert isinstance(output, Tensor)
    assert isinstance(total, Tensor)
    return output.view(*shape, -1) / total.clamp(min=torch.finfo(total.dtype).tiny)
