"""Subspaces of a layer's head space: a head is one of them, and random ones of its size are its comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.head_map import AttentionLayer, HeadError


def random_bases(attention_layer: AttentionLayer, count: int, name: str) -> Tensor:
    """Return orthonormal bases of *count* random subspaces as large as a head: ``(count, heads * head_dim, head_dim)``.

    They are uniform among all subspaces of that size, and *name* alone determines them. Raises
    :class:`~reasoning_probe.models.head_map.HeadError` where a head is all that the layer has.
    """
    if attention_layer.heads < 2:
        raise HeadError(f"layer {attention_layer.layer} has one head: there is no other direction of its size")
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:7], "big")
    generator = torch.Generator().manual_seed(seed)
    width = attention_layer.heads * attention_layer.head_dim
    normal = torch.randn(count, width, attention_layer.head_dim, generator=generator)  # (count, width, head_dim)
    basis: Tensor = torch.linalg.qr(normal).Q  # (count, width, head_dim)
    return basis


def head_basis(attention_layer: AttentionLayer, head: int) -> Tensor:
    """Return the basis of the subspace that *head* is: ``(1, heads * head_dim, head_dim)``."""
    width, size = attention_layer.heads * attention_layer.head_dim, attention_layer.head_dim
    return torch.eye(width)[None, :, head * size : (head + 1) * size]  # (1, width, head_dim)


def no_basis(attention_layer: AttentionLayer) -> Tensor:
    """Return a basis of nothing, for a row that stays as it is: ``(1, heads * head_dim, head_dim)``."""
    return torch.zeros(1, attention_layer.heads * attention_layer.head_dim, attention_layer.head_dim)


@dataclass(frozen=True)
class Removal:
    """Rows that each remove another subspace from what the heads of one layer give for the same prompt.

    *bases* are ``(rows, heads * head_dim, head_dim)``; the values of *replacement* replace what is removed, at its
    positions. Of each token the part that is removed is as long as what switching *head* off removes
    there, so that the subspaces differ in direction alone. With the basis of *head* this is its ablation.
    """

    attention_layer: AttentionLayer
    head: int
    bases: Tensor
    replacement: Replacement

    def __len__(self) -> int:
        return len(self.bases)

    def part(self, rows: slice) -> Removal:
        """Return these *rows* alone."""
        return replace(self, bases=self.bases[rows])

    def apply(self, x: Tensor) -> Tensor:
        """Return the projection input *x*, ``(rows or 1, tokens, heads * head_dim)``, of each row without its part.

        The tokens are those of the whole prompt, and of an answer after it.
        """
        size = self.attention_layer.head_dim
        change = x.to(torch.promote_types(x.dtype, torch.float32))  # (rows or 1, tokens, heads * head_dim)
        basis = self.bases.to(change)  # (rows, heads * head_dim, head_dim)
        span = 0, x.shape[1]
        values = self.replacement.within(self.attention_layer.layer, span)
        if values is not None:
            change = change - values.flatten(1).to(change)  # of (tokens or 1, heads * head_dim)
        parts = change @ basis  # (rows, tokens, head_dim)
        wanted = change[..., self.head * size : (self.head + 1) * size].norm(dim=-1, keepdim=True)  # (rows, tokens, 1)
        scale = wanted / parts.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        scale = scale.nan_to_num(0.0, 0.0, 0.0)  # a row without a part has nothing to lengthen
        removed = (parts * scale) @ basis.mT  # (rows, tokens, heads * head_dim)
        remaining: Tensor = x - removed.to(x)  # (rows, tokens, heads * head_dim)
        mask = self.replacement.positions.mask(span)
        return torch.where(mask.to(x.device)[:, None], remaining, x) if isinstance(mask, Tensor) else remaining
