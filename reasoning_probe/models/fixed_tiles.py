"""Attention in fixed tiles: each product has one shape, however many queries, keys and rows there are.

Queries come in tiles of 8, keys in tiles of 64, and the last tile of each is padded; scores and sums are float32. A
row's output is therefore bit for bit the same alone, in any batch, in a window of several tokens and token by token. A
tile of masked keys adds zeros, which change no sum.

transformers calls :func:`attention` for a model whose ``attn_implementation`` is :data:`NAME`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "reasoning_probe_fixed_tiles"
"""The name under which transformers knows this attention."""

QUERIES, KEYS = 8, 64


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
    share. *softcap* bounds the scores (Gemma 2), *s_aux* are the sinks of each head (GPT-OSS), *position_bias* is added
    to the scores.
    """
    rows, heads, queries, head_dim = query.shape
    kv_heads, keys = key.shape[1:3]
    scale = head_dim**-0.5 if scaling is None else scaling
    bias = _bias(module, query, key, attention_mask, position_bias)  # (rows or 1, heads or 1, queries, keys)
    # The heads of a group share their keys, so their queries share a tile.
    group = heads // kv_heads
    query = functional.pad(query.float() * scale, (0, 0, 0, -queries % QUERIES))
    tiles = query.reshape(rows * kv_heads, group, -1, QUERIES, head_dim)  # (rows * kv_heads, group, tiles, 8, head_dim)
    key_tiles, value_tiles = _tiles(key), _tiles(value)  # (rows * kv_heads, 64, head_dim) each
    bias = functional.pad(bias, (0, -keys % KEYS, 0, -queries % QUERIES), value=float("-inf"))
    sinks = None if s_aux is None else s_aux.float().view(1, kv_heads, group, 1, 1)
    outputs = []
    for tile in range(tiles.shape[2]):
        q = tiles[:, :, tile].reshape(rows * kv_heads, -1, head_dim)  # (rows * kv_heads, group * 8, head_dim)
        of_queries = bias[:, :, tile * QUERIES : (tile + 1) * QUERIES]
        outputs.append(_tile_output(q, key_tiles, value_tiles, of_queries, (rows, kv_heads, group), softcap, sinks))
    output = torch.cat(outputs, dim=3)[:, :, :, :queries]  # (rows, kv_heads, group, queries, value_dim)
    output = output.reshape(rows, heads, queries, -1).transpose(1, 2).contiguous()  # (rows, queries, heads, value_dim)
    return output.to(value.dtype), None


def _bias(module: Any, query: Tensor, key: Tensor, mask: Tensor | None, position_bias: Tensor | None) -> Tensor:
    """Return what is added to the scores, ``(rows or 1, heads or 1, queries, keys)``: ``-inf`` masks a key."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is None:
        mask = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=query.device)
        if getattr(module, "is_causal", True):
            mask = mask.tril(keys - queries)
    mask = mask[..., :keys]
    if mask.dtype == torch.bool:
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
    else:  # an additive mask, whose lowest numbers mean the same
        bias = mask.float().masked_fill(mask <= torch.finfo(mask.dtype).min / 2, float("-inf"))
    return bias if position_bias is None else bias + position_bias.float()


def _tiles(x: Tensor) -> list[Tensor]:
    """Return *x*, ``(rows, kv_heads, keys, size)``, in tiles of ``(rows * kv_heads, 64, size)``."""
    padded = functional.pad(x.float(), (0, 0, 0, -x.shape[2] % KEYS)).flatten(0, 1)
    return [padded[:, start : start + KEYS] for start in range(0, padded.shape[1], KEYS)]


def _tile_output(
    q: Tensor,
    key_tiles: list[Tensor],
    value_tiles: list[Tensor],
    bias: Tensor,
    shape: tuple[int, int, int],
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Return the output of one tile of queries, ``(rows, kv_heads, group, 8, value_dim)``."""
    scores = []
    for index, keys in enumerate(key_tiles):
        of_tile = torch.bmm(q, keys.transpose(1, 2)).view(*shape, QUERIES, KEYS)
        if softcap is not None:
            of_tile = torch.tanh(of_tile / softcap) * softcap
        of_keys = bias[..., index * KEYS : (index + 1) * KEYS]  # (rows or 1, heads or 1, 8, 64)
        heads = (1, 1) if of_keys.shape[1] == 1 else shape[1:]
        scores.append(of_tile + of_keys.view(-1, *heads, QUERIES, KEYS))  # (rows, kv_heads, group, 8, 64)
    best = scores[0].amax(-1, keepdim=True)  # (rows, kv_heads, group, 8, 1)
    for of_tile in scores[1:]:
        best = torch.maximum(best, of_tile.amax(-1, keepdim=True))
    if sinks is not None:
        best = torch.maximum(best, sinks)
    best = best.clamp(min=torch.finfo(best.dtype).min)  # a padded query sees no key
    total = torch.zeros_like(best) if sinks is None else torch.exp(sinks - best)
    output = torch.zeros((), device=q.device)
    for of_tile, values in zip(scores, value_tiles, strict=True):
        weights = torch.exp(of_tile - best)
        total = total + weights.sum(-1, keepdim=True)
        output = output + torch.bmm(weights.view(q.shape[0], -1, KEYS), values)
    output = output.view(*shape, QUERIES, -1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return output
