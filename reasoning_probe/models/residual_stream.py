"""The residual stream of one pass, and what each head and MLP writes into it and so to the logits.

Every layer adds to the stream what its attention and its MLP write, behind a norm in some families and times a constant
in others. Which of these a layer does is measured on a pass and proved there: the parts must add up to the layer's
output. The final norm, its scale frozen, and the unembedding then turn each part into a part of the logits (Elhage et
al. 2021, "A mathematical framework for transformer circuits"; nostalgebraist 2020, "Interpreting GPT: the logit lens").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.frozen_norms import FrozenNorm, freeze_norm
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import first_tensor, hooks

MLP = -1
"""Stands for the MLP of a layer where a head's number would be."""

Component = tuple[int, int]
"""A layer's number and a head's, or :data:`MLP`."""


@dataclass
class _Call:
    """A norm's input and output, ``(rows, hidden)`` each."""

    module: nn.Module
    x: Tensor
    output: Tensor


@dataclass
class _LayerPass:
    """What a layer took and gave at the recorded places, ``(rows, hidden)`` each, and its projection's input."""

    before: Tensor | None = None
    after: Tensor | None = None
    heads: Tensor | None = None  # (rows, heads * head_dim)
    attention: Tensor | None = None
    mlp: Tensor | None = None
    norms: list[_Call] = field(default_factory=list)


@dataclass
class StreamPass:
    """One pass of a model at *places* of each row, which are numbered row by row: what the layers read and wrote."""

    layers: dict[int, _LayerPass]
    outside: list[_Call]  # norms that are in no attention layer
    unembedded: Tensor | None = None  # (rows, hidden), what the unembedding takes
    logits: Tensor | None = None  # (rows, vocabulary), what it gives


@contextmanager
def recorded_stream(model: Any, head_map: HeadMap, places: Sequence[int]) -> Iterator[StreamPass]:
    """Record the pass that runs inside the context at the positions *places* of its rows."""
    record = StreamPass({site.layer: _LayerPass() for site in head_map.attention_layers}, [])
    handles: list[Any] = []

    def taken(tensor: Any) -> Tensor:
        with torch._C.DisableTorchFunction():  # what watches the pass needs no notice of this
            chosen: Tensor = tensor[:, list(places)].detach().flatten(0, 1)  # (rows * places, features)
            return chosen.cpu().double()

    def first_input(args: Any, kwargs: Any) -> Any:
        return args[0] if args else kwargs.get("hidden_states")

    def watch(site: AttentionLayer) -> None:
        layer = record.layers[site.layer]
        block, projection = model.get_submodule(site.block), model.get_submodule(site.path)

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            hidden = first_input(args, kwargs)
            layer.before = taken(hidden) if isinstance(hidden, Tensor) else None

        def after(module: nn.Module, args: Any, output: Any) -> None:
            hidden = first_tensor(output)
            layer.after = taken(hidden) if hidden is not None and hidden.dim() == 3 else None

        def attention(module: nn.Module, args: Any, output: Any) -> None:
            layer.heads, layer.attention = taken(args[0]), taken(output)

        def mlp(module: nn.Module, args: Any, output: Any) -> None:
            hidden = first_tensor(output)
            if hidden is not None and layer.before is not None:
                layer.mlp = taken(hidden.view(-1, tokens, hidden.shape[-1]))

        handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(block.register_forward_hook(after))
        handles.append(projection.register_forward_hook(attention))
        if site.mlp:
            handles.append(model.get_submodule(site.mlp).register_forward_hook(mlp))
        handles.extend(_watch_norms(block, layer.norms, taken))

    tokens = 0

    def count(module: nn.Module, args: Any, kwargs: Any) -> None:
        nonlocal tokens
        tokens = (args[0] if args else kwargs["input_ids"]).shape[1]

    def unembed(module: nn.Module, args: Any, output: Any) -> None:
        record.unembedded, record.logits = taken(args[0]), taken(output)

    with hooks(handles):
        handles.append(model.register_forward_pre_hook(count, with_kwargs=True))
        for site in head_map.attention_layers:
            watch(site)
        blocks = [model.get_submodule(site.block) for site in head_map.attention_layers]
        handles.extend(_watch_norms(model, record.outside, taken, blocks))
        head = model.get_output_embeddings()
        if head is not None:
            handles.append(head.register_forward_hook(unembed))
        yield record


def _watch_norms(module: nn.Module, calls: list[_Call], taken: Any, without: Sequence[nn.Module] = ()) -> list[Any]:
    """Record in *calls* the norms of *module*: the parts without parts that hold no matrix and keep their shape."""
    inner = {part for other in without for part in other.modules()}

    def hook(part: nn.Module, args: Any, output: Any) -> None:
        x = args[0] if args else None
        if isinstance(x, Tensor) and isinstance(output, Tensor) and x.dim() == 3 and output.shape == x.shape:
            calls.append(_Call(part, taken(x), taken(output)))

    return [
        part.register_forward_hook(hook)
        for part in module.modules()
        if part not in inner
        and next(part.children(), None) is None
        and all(parameter.dim() < 2 for parameter in part.parameters())
    ]


@dataclass(frozen=True)
class Write:
    """How a module's output enters the stream: times ``factor``, and behind ``norm`` where there is one."""

    factor: float
    norm: FrozenNorm | None

    def pulled_back(self, direction: Tensor) -> Tensor:
        """Return *direction* in the stream, ``(rows, hidden)``, as a direction in the module's output."""
        return self.factor * (direction if self.norm is None else self.norm.pulled_back(direction))

    def constant(self, direction: Tensor) -> Tensor:
        """Return what the norm's bias adds along *direction*, ``(rows,)``."""
        if self.norm is None:
            return torch.zeros(direction.shape[0], dtype=direction.dtype)
        return self.factor * (direction @ self.norm.bias)


class DirectPaths:
    """The direct paths from each head and MLP to the logits at the places of one recorded pass.

    Raises :class:`~reasoning_probe.models.head_map.HeadError`, one line, where the layers' parts do not add up.
    """

    def __init__(self, model: Any, head_map: HeadMap, record: StreamPass) -> None:
        self.model, self.head_map, self.record = model, head_map, record
        self.tolerance = {torch.float32: 1e-4, torch.float64: 1e-8}.get(model.dtype, 5e-2)
        self.writes = {site.layer: self._writes(site) for site in head_map.attention_layers}
        self.final = self._final_norm()
        self.unembedding = _unembedding(model)

    def _writes(self, site: AttentionLayer) -> tuple[Write, Write]:
        """Return how the attention and the MLP of a layer enter the stream."""
        layer = self.record.layers[site.layer]
        where = f"layer {site.layer}"
        if layer.before is None or layer.after is None or layer.attention is None or layer.mlp is None:
            raise HeadError(f"{where}: what it adds to the residual stream is not known")
        change = layer.after - layer.before  # (rows, hidden)
        outputs, norms = [], []
        for written in (layer.attention, layer.mlp):
            behind = [call for call in layer.norms if _equal(call.x, written) and not _equal(call.output, written)]
            norms.append(freeze_norm(behind[-1].module, behind[-1].x, behind[-1].output) if behind else None)
            outputs.append(behind[-1].output if behind else written)
        factors = torch.ones(2, dtype=torch.double)
        if not self._close(sum(outputs), change, layer):
            columns = torch.stack([output.flatten() for output in outputs], dim=1)  # (rows * hidden, 2)
            factors = torch.linalg.lstsq(columns, change.flatten()[:, None]).solution[:, 0]
            if not self._close(columns @ factors, change.flatten(), layer):
                raise HeadError(f"{where}: its attention and MLP are not all that it does to the residual stream")
        attention, mlp = (Write(float(factor), norm) for factor, norm in zip(factors, norms, strict=True))
        return attention, mlp

    def _close(self, total: Any, change: Tensor, layer: _LayerPass) -> bool:
        assert layer.before is not None
        rounding = 8 * torch.finfo(self.model.dtype).eps * float(layer.before.abs().max())  # of the sum in the stream
        return float((total - change).abs().max()) <= self.tolerance * float(change.abs().max()) + rounding

    def _final_norm(self) -> FrozenNorm | None:
        """Return the norm between the last layer and the unembedding, ``None`` if there is none."""
        after, unembedded = self.stream_end(), self.record.unembedded
        if unembedded is None:
            raise HeadError("the model has no unembedding that its last layer leads to")
        if _equal(after, unembedded):
            return None
        for call in reversed(self.record.outside):
            if _equal(call.x, after) and _equal(call.output, unembedded):
                return freeze_norm(call.module, call.x, call.output)
        raise HeadError("more than a norm lies between the last layer and the unembedding")

    def stream_end(self) -> Tensor:
        """Return what the last layer gives, ``(rows, hidden)``."""
        after = self.record.layers[self.head_map.layers[-1]].after
        assert after is not None
        return after

    def directions(self, tokens: Tensor) -> Tensor:
        """Return the direction of the stream that raises the logit of each of *tokens*, ``(rows,)`` of ids each."""
        rows = self._unembedded(tokens)
        return rows if self.final is None else self.final.pulled_back(rows)

    def head_parts(self, site: AttentionLayer, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each head of *site* adds along *direction*, ``(rows, heads)``, and what its biases add."""
        write = self.writes[site.layer][0]
        layer = self.record.layers[site.layer]
        assert layer.heads is not None
        assert layer.attention is not None
        pulled = write.pulled_back(direction)  # (rows, hidden)
        weights = pulled_through(self.model.get_submodule(site.path), layer.heads.shape[-1], pulled)
        parts = (layer.heads * weights).view(-1, site.heads, site.head_dim).sum(-1)  # (rows, heads)
        nothing = projected_zero(self.model.get_submodule(site.path), layer.heads.shape[-1])  # (hidden,)
        return parts, pulled @ nothing + write.constant(direction)

    def token_weights(self, site: AttentionLayer, tokens: Tensor) -> Tensor:
        """Return the directions in the heads' outputs that raise the logits of *tokens*: ``(tokens, heads, head_dim)``.

        They hold for every place, but for a factor that its norms have: see :meth:`token_effects`.
        """
        direction = self._unembedded(tokens)  # (tokens, hidden)
        for norm in (self.final, self.writes[site.layer][0].norm):
            direction = direction if norm is None else replace(norm, scale=torch.ones(1, 1)).pulled_back(direction)
        width = site.heads * site.head_dim
        weights = pulled_through(self.model.get_submodule(site.path), width, direction)  # (tokens, width)
        return self.writes[site.layer][0].factor * weights.view(-1, site.heads, site.head_dim)

    def token_effects(self, site: AttentionLayer, weights: Tensor) -> Tensor:
        """Return what each head adds to the logits of the tokens whose :meth:`token_weights` are *weights*.

        ``(rows, heads, tokens)``.
        """
        x = self.record.layers[site.layer].heads
        assert x is not None
        effects = torch.einsum("rhd,thd->rht", x.view(-1, site.heads, site.head_dim), weights)
        for norm in (self.final, self.writes[site.layer][0].norm):
            effects = effects if norm is None else effects / norm.scale[:, :, None]
        return effects

    def _unembedded(self, tokens: Tensor) -> Tensor:
        """Return the rows of the unembedding for *tokens*, ``(tokens, hidden)``."""
        weight = self.unembedding[0]
        return weight[tokens.to(weight.device)].detach().cpu().double()

    def logit_differences(self, on: Sequence[int], off: Sequence[int]) -> list[dict[Component, float]]:
        """Return for each place what every head and MLP adds to the logit of its token *on* minus that of *off*.

        Raises :class:`~reasoning_probe.models.head_map.HeadError` where these, the biases and the embedding do not sum
        to the difference of the logits.
        """
        direction = self.directions(torch.tensor(on)) - self.directions(torch.tensor(off))  # (rows, hidden)
        first = self.record.layers[self.head_map.layers[0]].before
        assert first is not None
        assert self.record.logits is not None
        rows = range(len(on))
        rest = (first * direction).sum(-1)  # (rows,), the embedding
        sizes = rest.abs()
        parts: dict[Component, Tensor] = {}
        previous = first
        for site in self.head_map.attention_layers:
            layer = self.record.layers[site.layer]
            assert layer.before is not None
            assert layer.mlp is not None
            rest = rest + ((layer.before - previous) * direction).sum(-1)  # layers without attention
            heads, bias = self.head_parts(site, direction)
            mlp = self.writes[site.layer][1]
            parts |= {(site.layer, head): heads[:, head] for head in range(site.heads)}
            parts[site.layer, MLP] = (layer.mlp * mlp.pulled_back(direction)).sum(-1)
            rest = rest + bias + mlp.constant(direction)
            previous = layer.after if layer.after is not None else previous
        rest = rest + self._constant(on, off)
        sizes = sizes + sum((part.abs() for part in parts.values()), torch.zeros(len(on)))
        total = rest + sum(parts.values(), torch.zeros(len(on)))
        lead = torch.stack([self.record.logits[row, on[row]] - self.record.logits[row, off[row]] for row in rows])
        if not bool(((total - lead).abs() <= self.tolerance * (1 + sizes)).all()):
            raise HeadError(
                f"the parts of the logits do not sum to them (off by {float((total - lead).abs().max()):.2g})"
            )
        return [{component: float(part[row]) for component, part in parts.items()} for row in rows]

    def _constant(self, on: Sequence[int], off: Sequence[int]) -> Tensor:
        """Return what the biases of the final norm and of the unembedding add, ``(rows,)``."""
        weight, bias = self.unembedding
        rows = (weight[list(on)] - weight[list(off)]).detach().cpu().double()  # (rows, hidden)
        total = rows @ self.final.bias if self.final is not None else torch.zeros(len(on), dtype=torch.double)
        return total if bias is None else total + (bias[list(on)] - bias[list(off)]).detach().cpu().double()


def pulled_through(projection: nn.Module, width: int, direction: Tensor) -> Tensor:
    """Return the direction in the input of a linear layer, ``(rows, width)``, whose output is along *direction*."""
    place, dtype = _place(projection)
    x = torch.zeros(1, direction.shape[0], width, device=place, dtype=dtype)
    with torch.enable_grad():
        x.requires_grad_()
        output = projection(x)  # (1, rows, hidden)
        (gradient,) = torch.autograd.grad((output * direction.to(output)).sum(), x)
    return gradient[0].cpu().double()


def projected_zero(projection: nn.Module, width: int) -> Tensor:
    """Return what a linear layer gives for zeros, its bias: ``(hidden,)``."""
    place, dtype = _place(projection)
    with torch.no_grad():
        output: Tensor = projection(torch.zeros(1, 1, width, device=place, dtype=dtype))
    return output[0, 0].cpu().double()


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    parameter = next((one for one in module.parameters() if one.is_floating_point()), None)
    return (torch.device("cpu"), torch.float32) if parameter is None else (parameter.device, parameter.dtype)


def _unembedding(model: Any) -> tuple[Tensor, Tensor | None]:
    """Return the matrix of the unembedding, ``(vocabulary, hidden)``, and its bias."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not weight.is_floating_point():
        raise HeadError("its unembedding is no plain matrix")
    return weight, getattr(head, "bias", None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))
