"""What a pass does: which rows join in each layer, which heads are disabled, and which logits are returned."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reasoning_probe.engine.transfers import to_device
from reasoning_probe.models.ablation import Replacement
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

    ``values``, ``(pairs, 1, head_dim)``, replaces their output; ``None`` stands for zeros. In a plan, the key
    ``~layer`` means the layer's MLP, which counts as its own only head.
    """

    rows: Tensor
    heads: Tensor
    values: Tensor | None


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
    rows: AblatedRows, entry_layers: Sequence[int], inputs: dict[int, LayerInput], device: Any, logits_at: Positions
) -> PassPlan:
    """Return the plan of a pass in which *rows* join in *entry_layers*, which must be in ascending order."""
    joining_rows = dict(Counter(entry_layers))
    sharing = [layer for layer in joining_rows if inputs[layer].heads is not None]
    disabled = disabled_heads(rows, device, lambda row, layer: layer != entry_layers[row] or layer not in sharing)
    disabled_joining: dict[int, DisabledHeads] = {}
    for layer in sharing:
        start = bisect_left(entry_layers, layer)
        by_layer = disabled_heads(rows[start : start + joining_rows[layer]], device)
        if layer in by_layer:
            disabled_joining[layer] = by_layer[layer]
    return PassPlan(entry_layers[0], joining_rows, inputs, disabled, disabled_joining, logits_at=logits_at)


def disabled_heads(
    rows: AblatedRows, device: Any, wanted: Callable[[int, int], bool] = lambda row, layer: True
) -> dict[int, DisabledHeads]:
    """Return which heads of *rows* are disabled, by layer (``~layer`` for its MLP); other layers are left out.

    *wanted* is called with the index of a row and such a layer, and tells whether to include the pair.
    """
    pairs: dict[int, list[tuple[int, int]]] = {}
    values: dict[int, list[Tensor | None]] = {}
    for row, (target, replacement) in enumerate(rows):
        for layer, head in sorted(target.heads):
            key, unit = (~layer, 0) if head == MLP else (layer, head)
            if wanted(row, key):
                pairs.setdefault(key, []).append((row, unit))
                values.setdefault(key, []).append(replacement[key][unit] if key in replacement else None)
    disabled = {}
    for key, row_heads in pairs.items():
        row_indices, heads = to_device(row_heads, device).T  # (pairs,) each
        disabled[key] = DisabledHeads(row_indices, heads, _stacked(values[key]))
    return disabled


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    """Return the replacement of each pair, ``(pairs, 1, head_dim)``; ``None`` if all of them are zeros."""
    like = next((value for value in values if value is not None), None)
    if like is None:
        return None
    return torch.stack([torch.zeros_like(like) if value is None else value for value in values])[:, None]
