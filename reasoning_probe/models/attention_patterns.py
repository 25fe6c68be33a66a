"""Attention patterns: where each head looks, as the model computed it.

A pattern is taken where :mod:`reasoning_probe.models.heads` finds the heads: it is the softmax over
``(..., heads, tokens, tokens)`` scores, or it follows from the query, key, mask and scale of a call of scaled
dot-product attention. Columns beyond the tokens are sinks, which belong to no token (GPT-OSS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.heads import SINK_COLUMNS
from reasoning_probe.models.hooks import hooks

_PRODUCTS = ("matmul", "bmm", "__matmul__")


@dataclass(frozen=True)
class Pattern:
    """The attention of one layer: ``weights`` is ``(rows, heads, queries, keys)``.

    ``sinks`` is the share of each query that lies on no token, ``(rows, heads, queries)``. The two sum to 1. ``values``
    is what each token gives to those that attend to it, ``(rows, heads, keys, head_dim)``; ``None`` where it is not
    known to make the heads' outputs.
    """

    weights: Tensor
    sinks: Tensor
    values: Tensor | None = None


class Patterns:
    """The patterns of one pass, by layer; a layer that is missing has a reason in :attr:`missing`."""

    def __init__(self) -> None:
        self.by_layer: dict[int, Pattern] = {}
        self.missing: dict[int, str] = {}

    def __getitem__(self, layer: int) -> Pattern:
        """Return the pattern of *layer*. Raises :class:`~reasoning_probe.models.head_map.HeadError` without one."""
        if layer not in self.by_layer:
            raise HeadError(f"layer {layer}: {self.missing.get(layer, 'it computed no attention')}")
        return self.by_layer[layer]


@contextmanager
def recorded_patterns(
    model: Any, head_map: HeadMap, queries: Sequence[int] | None = None, *, values: bool = False
) -> Iterator[Patterns]:
    """Record the patterns of the pass that runs inside the context, which takes whole sequences and uses no cache.

    *queries* are the positions that attend, all of them by default. Where gradients are enabled the patterns have them.
    *values* are recorded on demand, with all queries alone.
    """
    patterns = Patterns()
    recorder = _Recorder(queries)

    def enter(module: nn.Module, args: Any) -> None:
        recorder.candidates.clear()

    def leave(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if site.layer in patterns.by_layer:
                raise HeadError(f"{site.path} ran more than once: its attention is not recorded")
            rows, tokens = args[0].shape[:2]
            pattern, reason = _choose([one for one, _ in recorder.candidates], site, rows, tokens, queries)
            if pattern is not None and values:
                pattern = _with_values(pattern, [one for _, one in recorder.candidates], args[0])
            if pattern is None:
                patterns.missing[site.layer] = reason
            else:
                patterns.by_layer[site.layer] = pattern

        return hook

    handles = []
    for site in head_map.attention_layers:
        handles.append(model.get_submodule(site.block).register_forward_pre_hook(enter))
        handles.append(model.get_submodule(site.path).register_forward_pre_hook(leave(site)))
    with hooks(handles), recorder:
        yield patterns


class _Recorder(TorchFunctionMode):
    """Keeps what may be an attention pattern: what each softmax gives, and each scaled dot-product attention."""

    def __init__(self, queries: Sequence[int] | None) -> None:
        super().__init__()
        self.queries = queries
        self.candidates: list[tuple[Tensor, Tensor | None]] = []  # with the values that it weighs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        output = func(*args, **kwargs)
        if name == "softmax" and isinstance(output, Tensor) and output.dim() >= 3:
            self.candidates.append((output, None))
        elif name == "scaled_dot_product_attention":
            value = args[2] if len(args) > 2 else kwargs["value"]
            self.candidates.append((_weights_of(self.queries, *args, **kwargs), value))
        elif name in _PRODUCTS and self.candidates and len(args) > 1 and self.candidates[-1][1] is None:
            weights = self.candidates[-1][0]
            if isinstance(args[0], Tensor) and args[0].shape[-1:] == args[1].shape[-2:-1] and args[0].dim() > 2:
                same = args[0].numel() == weights.numel() or args[0].shape[-2] == weights.shape[-2]
                self.candidates[-1] = (weights, args[1]) if same else self.candidates[-1]
        return output


def _weights_of(
    queries: Sequence[int] | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return the weights of scaled dot-product attention, ``(rows, heads, queries, keys)``, by its definition."""
    with torch._C.DisableTorchFunction():
        dtype = torch.promote_types(query.dtype, torch.float32)
        if key.shape[-3] != query.shape[-3]:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)  # heads share keys
        rows = torch.arange(query.shape[-2]) if queries is None else torch.tensor(queries)
        rows = rows.to(query.device)
        scores = query[..., rows, :].to(dtype) @ key.to(dtype).mT  # (rows, heads, queries, keys)
        scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            later = torch.arange(key.shape[-2], device=query.device) > rows[:, None]  # (queries, keys)
            scores = scores.masked_fill(later, float("-inf"))
        if attn_mask is not None:
            mask = attn_mask[..., rows, :] if attn_mask.shape[-2] > 1 else attn_mask  # (.., queries, keys)
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1).nan_to_num(0.0)


def _choose(
    candidates: Sequence[Tensor], site: AttentionLayer, rows: int, tokens: int, queries: Sequence[int] | None
) -> tuple[Pattern | None, str]:
    """Return the one of *candidates* that is the pattern of *site*, or why there is none."""
    wanted = list(range(tokens)) if queries is None else list(queries)
    patterns = []
    for weights in candidates:
        columns, lines = weights.shape[-1], weights.shape[-2]
        if not tokens <= columns <= tokens + SINK_COLUMNS or lines not in (tokens, len(wanted)):
            continue
        if weights.numel() != rows * site.heads * lines * columns:
            continue
        split = weights.reshape(rows, site.heads, lines, columns)  # (rows, heads, queries, keys)
        patterns.append(split[:, :, wanted] if lines == tokens else split)
    if len(patterns) != 1:
        return None, f"{len(patterns)} patterns of its heads ran, not one"
    exact = patterns[0].dtype in (torch.float32, torch.float64)
    weights = patterns[0].to(torch.promote_types(patterns[0].dtype, torch.float32))
    later = torch.arange(tokens) > torch.tensor(wanted)[:, None]  # (queries, keys)
    tolerance = 1e-4 if exact else 2e-2
    if float((weights.detach().sum(-1) - 1).abs().max()) > tolerance:
        return None, "its pattern does not sum to 1"
    if float((weights.detach()[..., :tokens] * later.to(weights.device)).max()) > tolerance:
        return None, "its pattern lies on later tokens"
    return Pattern(weights[..., :tokens], weights[..., tokens:].sum(-1)), ""


def _with_values(pattern: Pattern, candidates: Sequence[Tensor | None], x: Tensor) -> Pattern:
    """Return *pattern* with those of *candidates* that it weighs to the heads' outputs *x*, if they are among them."""
    rows, heads, tokens, keys = pattern.weights.shape
    split = x.detach().view(rows, tokens, heads, -1).transpose(1, 2)  # (rows, heads, tokens, head_dim)
    for values in candidates:
        if values is None or values.numel() % (rows * keys * split.shape[-1]):
            continue
        known = values.numel() // (rows * keys * split.shape[-1])
        if not known or heads % known:
            continue
        each = values.detach().reshape(rows, known, keys, -1).to(pattern.weights.dtype)
        each = each.repeat_interleave(heads // known, dim=1)  # (rows, heads, keys, head_dim)
        error = (pattern.weights.detach() @ each - split).abs().max()
        if float(error) <= (1e-3 if x.dtype in (torch.float32, torch.float64) else 5e-2) * float(split.abs().max()):
            return replace(pattern, values=each)
    return pattern
