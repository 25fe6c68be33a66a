"""What a pass does: which rows join in each layer, which heads are disabled, and which logits are returned."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reasoning_probe.engine.transfers import to_device
from reasoning_probe.models.ablation import Replacement, switch_off
from reasoning_probe.models.places import Span
from reasoning_probe.models.targets import MLP, Target


class LayerInput(NamedTuple):
    """What a row needs to join a pass in one layer.

    ``hidden``, ``(rows, tokens, hidden)``, is the layer's input; ``heads``, ``(rows, tokens, heads * head_dim)``, the
    baseline's input of the output projection, or ``None`` if that projection's output is not what attention returns.
    """

    hidden: Tensor
    heads: Tensor | None

    def select(self, index: Any) -> LayerInput:
        """Return both tensors indexed by *index*."""
        return LayerInput(self.hidden[index], None if self.heads is None else self.heads[index])

    def expanded(self, rows: int) -> LayerInput:
        """Return both tensors expanded from one row to *rows*."""
        heads = None if self.heads is None else self.heads.expand(rows, -1, -1)  # (rows, tokens, heads * head_dim)
        return LayerInput(self.hidden.expand(rows, -1, -1), heads)  # (rows, tokens, hidden)


@dataclass(frozen=True)
class DisabledHeads:
    """The (row, head) pairs that are disabled in one layer: row ``rows[i]``, head ``heads[i]``, ``(pairs,)`` each.

    ``values``, ``(pairs, tokens, head_dim)``, replaces their output; ``None`` stands for zeros. ``mask``, ``(pairs,
    tokens, 1)`` bool, says at which of the pass's tokens; ``None`` stands for all. One token stands for all in both. In
    a plan, the key ``~layer`` means the layer's MLP, which counts as its own only head.
    """

    rows: Tensor
    heads: Tensor
    values: Tensor | None
    mask: Tensor | None = None

    def replaced(self, output: Tensor) -> Tensor | float:
        """Return what the pairs' *output*, ``(pairs, tokens, head_dim)``, becomes; a number stands for all of it."""
        if self.mask is None:
            return 0.0 if self.values is None else self.values.to(output)
        return switch_off(output, self.mask.to(output.device), self.values)

    def only(self, positions: Positions) -> DisabledHeads:
        """Return the pairs in a pass that computes no more than *positions* of the tokens."""
        values, mask = (_only(tensor, positions, self.rows) for tensor in (self.values, self.mask))
        return replace(self, values=values, mask=mask)


def _only(tensor: Tensor | None, positions: Positions, rows: Tensor) -> Tensor | None:
    """Return *tensor*, ``(pairs, tokens, ...)``, at the *positions* of each pair's row."""
    if tensor is None or tensor.shape[1] == 1:
        return tensor
    if isinstance(positions, slice):
        return tensor[:, positions]
    of_pairs = positions[rows.to(positions.device)].to(tensor.device)  # (pairs, positions)
    return torch.take_along_dim(tensor, of_pairs[..., None], dim=1)  # (pairs, positions, ...)


Positions = slice | Tensor
"""Token positions: the same ones of all rows, or ``(rows, positions)``."""


@dataclass
class PassPlan:
    """What a pass does: which rows join in each layer, which heads are disabled, and which logits are returned.

    ``joining_rows`` counts the rows appended in each layer, ``disabled`` lists what is replaced in it. If a joining
    row's attention equals the baseline's up to the output projection, ``disabled_joining`` lists what is replaced in
    the joining rows, numbered from the first of them, and ``disabled`` covers only the others.
    """

    start: int = 0
    joining_rows: dict[int, int] = field(default_factory=dict)
    layer_inputs: dict[int, LayerInput] = field(default_factory=dict)  # the baseline's row, or one for each that joins
    disabled: dict[int, DisabledHeads] = field(default_factory=dict)
    disabled_joining: dict[int, DisabledHeads] = field(default_factory=dict)
    record: dict[int, LayerInput] | None = None  # receives each layer's input
    logits_at: Positions = field(default_factory=lambda: slice(None))


AblatedRows = Sequence[tuple[Target, Replacement]]
"""The target of each row, with what replaces the output of its heads."""


def joining_plan(
    rows: AblatedRows,
    entry_layers: Sequence[int],
    inputs: dict[int, LayerInput],
    device: Any,
    logits_at: Positions,
    span: Span | None = None,
) -> PassPlan:
    """Return the plan of a pass in which *rows* join in *entry_layers*, which must be in ascending order.

    *span* are the positions of its tokens, which are the same in all rows; ``None`` stands for generated tokens.
    """
    joining_rows = dict(Counter(entry_layers))
    sharing = [layer for layer in joining_rows if inputs[layer].heads is not None]
    disabled = disabled_heads(rows, device, span, lambda row, layer: layer != entry_layers[row] or layer not in sharing)
    disabled_joining: dict[int, DisabledHeads] = {}
    for layer in sharing:
        start = bisect_left(entry_layers, layer)
        by_layer = disabled_heads(rows[start : start + joining_rows[layer]], device, span)
        if layer in by_layer:
            disabled_joining[layer] = by_layer[layer]
    return PassPlan(entry_layers[0], joining_rows, inputs, disabled, disabled_joining, logits_at=logits_at)


def disabled_heads(
    rows: AblatedRows,
    device: Any,
    span: Span | None = None,
    wanted: Callable[[int, int], bool] = lambda row, layer: True,
) -> dict[int, DisabledHeads]:
    """Return which heads of *rows* are disabled, by layer (``~layer`` for its MLP); other layers are left out.

    *span* are the positions of the pass's tokens, ``None`` for generated tokens: rows without a position there are left
    out. *wanted* is called with the index of a row and a layer, and tells whether to include the pair.
    """
    pairs: dict[int, list[tuple[int, int]]] = {}
    values: dict[int, list[Tensor | None]] = {}
    masks: dict[int, list[Tensor | bool]] = {}
    within = _Within(span)
    for row, (target, replacement) in enumerate(rows):
        mask = within.mask(replacement)
        if mask is False:
            continue
        for key, units in _units_by_layer(target.heads):
            if wanted(row, key):
                of_layer = within.values(replacement, key)
                pairs.setdefault(key, []).extend((row, unit) for unit in units)
                values.setdefault(key, []).extend(None if of_layer is None else of_layer[:, unit] for unit in units)
                masks.setdefault(key, []).extend([mask] * len(units))
    disabled = {}
    for key, row_heads in pairs.items():
        row_indices, heads = to_device(row_heads, device).T  # (pairs,) each
        disabled[key] = DisabledHeads(row_indices, heads, _stacked(values[key]), _stacked_masks(masks[key], device))
    return disabled


@lru_cache(maxsize=4096)
def _units_by_layer(heads: frozenset[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Return the heads of each layer, or unit 0 of its MLP under ``~layer``; asked for often."""
    units: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        key, unit = (~layer, 0) if head == MLP else (layer, head)
        units.setdefault(key, []).append(unit)
    return list(units.items())


class _Within:
    """What replacements hold at the positions *span*, each made once for all rows that have it."""

    def __init__(self, span: Span | None) -> None:
        self._span = span
        self._masks: dict[int, Tensor | bool] = {}
        self._values: dict[tuple[int, int], Tensor | None] = {}

    def mask(self, replacement: Replacement) -> Tensor | bool:
        """Return the positions that are replaced, ``(tokens,)`` bool, or one value for all of them."""
        if id(replacement) not in self._masks:
            self._masks[id(replacement)] = replacement.positions.mask(self._span)
        return self._masks[id(replacement)]

    def values(self, replacement: Replacement, key: int) -> Tensor | None:
        """Return the values of the layer *key*, ``(tokens or 1, heads, head_dim)``; ``None`` for zeros."""
        if (id(replacement), key) not in self._values:
            self._values[id(replacement), key] = replacement.within(key, self._span)
        return self._values[id(replacement), key]


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    """Return the values of each pair, ``(pairs, tokens or 1, head_dim)``; ``None`` if all of them are zeros."""
    longest = max((value for value in values if value is not None), key=len, default=None)
    if longest is None:
        return None
    zeros = torch.zeros_like(longest)  # (tokens or 1, head_dim)
    return torch.stack([zeros if value is None else value.expand_as(zeros) for value in values])


def _stacked_masks(masks: Sequence[Tensor | bool], device: Any) -> Tensor | None:
    """Return the mask of each pair, ``(pairs, tokens, 1)``; ``None`` if all tokens of all pairs are replaced."""
    like = next((mask for mask in masks if isinstance(mask, Tensor)), None)
    if like is None:
        return None
    tensors = [mask if isinstance(mask, Tensor) else torch.full_like(like, mask) for mask in masks]
    return torch.stack(tensors)[..., None].to(device, non_blocking=True)
