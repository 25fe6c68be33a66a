"""Ablation: what replaces a head's or an MLP's output, at which positions, and the hooks that put it there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import first_tensor, hooks, replace_first
from reasoning_probe.models.places import EVERYWHERE, AblatedPositions, Span
from reasoning_probe.models.targets import MLP, PATCHES, Target
from reasoning_probe.models.weights import device_of
from reasoning_probe.utils.logging import silence_transformers

Values = Mapping[int, Tensor]
"""The values that replace each head's output, ``(tokens, heads, head_dim)`` by layer; a missing layer gets zeros.

One token stands for all; otherwise they are those of the prompt, from its first on. The key ``~layer`` holds the values
that replace the output of that layer's MLP, ``(tokens, 1, hidden)``.
"""


@dataclass(frozen=True, eq=False)
class Replacement:
    """What replaces the output of heads that are off while one query is answered, and at which of its positions."""

    values: Values = field(default_factory=dict)
    positions: AblatedPositions = EVERYWHERE

    def only(self, targets: Iterable[Target]) -> Replacement:
        """Return what *targets* need of it: of a whole prompt, the values of all layers take much memory."""
        keys = {~layer if head == MLP else layer for target in targets for layer, head in target.heads}
        return Replacement({key: values for key, values in self.values.items() if key in keys}, self.positions)

    def within(self, layer: int, span: Span | None) -> Tensor | None:
        """Return the values of *layer* at the positions *span*, ``(tokens or 1, heads, head_dim)``.

        ``None`` stands for zeros, and in place of a span for generated tokens, as in :meth:`.AblatedPositions.mask`.
        Positions after those that have values get zeros.
        """
        values = self.values.get(layer)
        if values is None or span is None or values.shape[0] == 1:
            return values
        start, end = span
        part = values[start:end]  # (known, heads, head_dim)
        missing = end - start - part.shape[0]
        return part if not missing else torch.cat([part, part.new_zeros(missing, *part.shape[1:])])


ZERO = Replacement()

REFERENCE_PROMPTS = 64
"""Mean ablation averages over the first prompts of the dataset, at most this many."""


def head_mask(rows: Sequence[Target], attention_layer: AttentionLayer, device: Any) -> Tensor | None:
    """Return which heads of *attention_layer* are off in which row, ``(rows, 1, heads, 1)`` bool.

    Returns ``None`` if no head of the layer is off in any row.
    """
    mask = torch.zeros(len(rows), 1, attention_layer.heads, 1, dtype=torch.bool)  # (rows, 1, heads, 1)
    for row, target in enumerate(rows):
        mask[row, 0, target.in_layer(attention_layer.layer)] = True
    return mask.to(device, non_blocking=True) if bool(mask.any()) else None


def switch_off(x: Tensor, mask: Tensor, values: Tensor | None) -> Tensor:
    """Return *x*, ``(rows, tokens, heads, head_dim)``, with *values* where *mask*, ``(rows, tokens, heads, 1)``, holds.

    *values* are ``(tokens, heads, head_dim)``; ``None`` stands for zeros. Every axis but the last may be 1 for all.
    """
    return x.masked_fill(mask, 0) if values is None else torch.where(mask, values.to(x), x)


class PassingTokens:
    """Counts the tokens that a module is given in turn: one more at a time, or the whole sequence again."""

    def __init__(self) -> None:
        self._seen = 0

    def span(self, tokens: int) -> Span:
        """Return the positions of the next *tokens*."""
        start = self._seen if tokens == 1 else 0  # without a cache, ``generate`` passes everything at every step
        self._seen = start + tokens
        return start, self._seen


@contextmanager
def ablate(model: Any, head_map: HeadMap, rows: Sequence[Target], replacement: Replacement = ZERO) -> Iterator[None]:
    """Replace the heads and MLPs of ``rows[i]`` in row *i* of every batch that *model* runs inside the context.

    The batches are passes over one sequence: its beginning, and then one token more at a time, or all of it again. That
    matters where heads are off at some positions alone. The forward passes raise
    :class:`~reasoning_probe.models.head_map.HeadError` on a batch of another number of rows, rather than leave the
    heads on.
    """
    device = device_of(model)
    handles = []
    for attention_layer in head_map.attention_layers:
        mask = head_mask(rows, attention_layer, device)
        if mask is not None:
            hook = _head_hook(attention_layer, mask, replacement)
            handles.append(model.get_submodule(attention_layer.path).register_forward_pre_hook(hook))
    for attention_layer in head_map.attention_layers:
        off = torch.tensor([attention_layer.layer in target.mlps for target in rows])  # (rows,)
        if bool(off.any()):
            mask = off[:, None, None, None].to(device, non_blocking=True)  # (rows, 1, 1, 1)
            hook = _mlp_hook(attention_layer, mask, replacement)
            handles.append(model.get_submodule(attention_layer.mlp).register_forward_hook(hook))
    with hooks(handles):
        yield


def as_rows(hidden: Tensor, rows: int, path: str) -> Tensor:
    """Return the output *hidden* of the module *path* as ``(rows, tokens, hidden)``; some modules flatten the rows.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` if it does not have that many *rows*.
    """
    if hidden.dim() == 2 and hidden.shape[0] % rows == 0:
        hidden = hidden.view(rows, -1, hidden.shape[-1])  # (rows, tokens, hidden)
    if hidden.dim() != 3 or hidden.shape[0] != rows:
        raise HeadError(f"{path} returned an output of shape {tuple(hidden.shape)} for {rows} rows")
    return hidden


def at_positions(x: Tensor, off: Tensor, replacement: Replacement, layer: int, span: Span) -> Tensor:
    """Return *x*, ``(rows, tokens, heads, head_dim)``, with the heads *off*, ``(rows, 1, heads, 1)``, replaced.

    *span* are the positions of its tokens.
    """
    mask = replacement.positions.mask(span)
    if mask is False:
        return x
    if isinstance(mask, Tensor):
        off = off & mask.to(x.device)[:, None, None]  # (rows, tokens, heads, 1)
    return switch_off(x, off, replacement.within(layer, span))


def _head_hook(attention_layer: AttentionLayer, off: Tensor, replacement: Replacement) -> Callable[..., Any]:
    passing = PassingTokens()

    def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]  # (rows, tokens, heads * head_dim)
        if x.dim() != 3 or x.shape[0] != off.shape[0]:
            raise HeadError(
                f"{attention_layer.path} received an input of shape {tuple(x.shape)} for {off.shape[0]} rows"
            )
        split = x.view(*x.shape[:2], attention_layer.heads, attention_layer.head_dim)  # (rows, tokens, heads, head_dim)
        span = passing.span(x.shape[1])
        replaced = at_positions(split, off.to(x.device), replacement, attention_layer.layer, span)
        return (replaced.view(x.shape), *args[1:])

    return replace


def _mlp_hook(attention_layer: AttentionLayer, off: Tensor, replacement: Replacement) -> Callable[..., Any]:
    passing = PassingTokens()

    def replace(module: nn.Module, args: Any, output: Any) -> Any:
        original = first_tensor(output)
        if original is None:
            raise HeadError(f"{attention_layer.mlp} returned no hidden states")
        hidden = as_rows(original, off.shape[0], attention_layer.mlp)[:, :, None]  # (rows, tokens, 1, hidden)
        span = passing.span(hidden.shape[1])
        replaced = at_positions(hidden, off.to(hidden.device), replacement, ~attention_layer.layer, span)
        return replace_first(output, replaced.view(original.shape))

    return replace


@contextmanager
def record_outputs(model: Any, head_map: HeadMap) -> Iterator[dict[int, Tensor]]:
    """Record the heads' outputs of the last pass inside the context, ``(rows, tokens, heads, head_dim)`` by layer.

    The key ``~layer`` holds the output of that layer's MLP, if it has one: ``(rows, tokens, 1, hidden)``.
    """
    outputs: dict[int, Tensor] = {}

    def record_heads(attention_layer: AttentionLayer) -> Callable[..., None]:
        split = (attention_layer.heads, attention_layer.head_dim)

        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].detach()  # (rows, tokens, heads * head_dim)
            outputs[attention_layer.layer] = x.view(*x.shape[:2], *split)  # (rows, tokens, heads, head_dim)

        return hook

    def record_mlp(attention_layer: AttentionLayer) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            hidden = first_tensor(output)
            assert hidden is not None
            rows = 1 if hidden.dim() == 2 else len(hidden)
            hidden = as_rows(hidden.detach(), rows, attention_layer.mlp)  # (rows, tokens, hidden)
            outputs[~attention_layer.layer] = hidden[:, :, None]  # (rows, tokens, 1, hidden)

        return hook

    handles = []
    for attention_layer in head_map.attention_layers:
        projection = model.get_submodule(attention_layer.path)
        handles.append(projection.register_forward_pre_hook(record_heads(attention_layer)))
        if attention_layer.mlp:
            mlp = model.get_submodule(attention_layer.mlp)
            handles.append(mlp.register_forward_hook(record_mlp(attention_layer)))
    with hooks(handles):
        yield outputs


def mean_output(model: Any, head_map: HeadMap, reference_prompts: Sequence[Tensor]) -> Values:
    """Return each head's output averaged over all positions of the *reference_prompts*, each ``(1, tokens)`` ids.

    The mean over positions and prompts is the "mean ablation" of Wang et al. 2022 ("Interpretability in the wild").
    """
    totals: dict[int, Tensor] = {}
    count = 0
    for ids in reference_prompts:
        for layer, output in clean_output(model, head_map, ids).items():
            totals[layer] = totals.get(layer, 0) + output.sum(0, keepdim=True).double().cpu()  # (1, heads, head_dim)
        count += ids.shape[1]
    return {layer: (total / count).to(device_of(model)) for layer, total in totals.items()}


@silence_transformers()
def clean_output(model: Any, head_map: HeadMap, ids: Tensor) -> Values:
    """Return every head's output on the prompt *ids*, ``(1, tokens)``, by layer: ``(tokens, heads, head_dim)``."""
    with torch.no_grad(), record_outputs(model, head_map) as outputs:
        model(input_ids=ids, use_cache=False)
    return {layer: output[0] for layer, output in outputs.items()}


def donor_output(model: Any, head_map: HeadMap, ids: Tensor) -> Values:
    """Return every head's output at the last position of another item's prompt *ids*, ``(1, tokens)``.

    It replaces the head's output at all positions ("resample ablation", Chan et al. 2022, "Causal scrubbing").
    """
    return {layer: output[-1:] for layer, output in clean_output(model, head_map, ids).items()}  # (1, heads, head_dim)


def donor_of(prompt: str, reference_prompts: Sequence[str], seed: int) -> str:
    """Return which of the *reference_prompts* supplies the values for *prompt*: another one, if there is another.

    The choice depends on the seed, the prompt and the reference prompts alone, so an outcome does not depend on which
    items were selected.
    """
    others = [other for other in reference_prompts if other != prompt] or list(reference_prompts)
    return random.Random(f"{seed} {prompt}").choice(others)


def reference_record(
    ablations: Sequence[str], reference_prompts: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """Return which prompts each ablation took its values from: ``reference`` of ``run.json``.

    *reference_prompts* are those of each dataset; the values for a dataset's items come from its own prompts.
    ``sha256`` is computed over these as UTF-8, each followed by a zero byte.
    """
    return {
        ablation: {
            "averaged": "positions" if ablation == "mean" else None,
            "seed": seed if ablation == "resample" else None,
            "datasets": {
                name: {"prompts": len(used), "sha256": _digest(used)}
                for name, prompts in reference_prompts.items()
                if (used := list(prompts)[: {"zero": 0, "mean": REFERENCE_PROMPTS}.get(ablation)])
            },
        }
        for ablation in ablations
        if ablation not in PATCHES  # whose values are each item's own
    }


def _digest(prompts: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{prompt}\0" for prompt in prompts).encode("utf-8", "surrogatepass")).hexdigest()
