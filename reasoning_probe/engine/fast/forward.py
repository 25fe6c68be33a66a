"""Passes through a model in which the batch grows from layer to layer.

Switching off a head or the MLP of layer *l* changes nothing below *l*'s output projection. So a pass gets a dummy
batch of one row, layers below the lowest target hand it on untouched, and where targets start, copies of the clean
hidden state are appended. The mask and the rotary tables were made for the dummy row and broadcast. There is no code
per family: the decoder layers' ``forward`` is wrapped, and hooks sit on the output projections, the MLPs and the
vocabulary projection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.fast.packed_linear import PackedLinears
from reasoning_probe.models.ablation import Replacement, as_rows
from reasoning_probe.models.head_map import AttentionLayer, HeadMap
from reasoning_probe.models.hooks import cache_argument, first_tensor, hooks, replace_first
from reasoning_probe.models.targets import MLP, Target
from reasoning_probe.models.weights import device_of
from reasoning_probe.utils.logging import silence_transformers

STRIDE = 8
"""Tokens decoded on a GPU before the host looks at them: rows that have ended meanwhile cost less than waiting."""


class Unsupported(RuntimeError):
    """A model whose layers cannot be driven this way; the plain path takes over."""


class LayerInput(NamedTuple):
    """What a row needs to join a pass in one layer.

    ``hidden``, ``(rows, tokens, hidden)``, enters the layer; ``heads``, ``(rows, tokens, heads * head_dim)``, is the
    clean input of its output projection, ``None`` where the attention does more than to hand on what that makes.
    """

    hidden: Tensor
    heads: Tensor | None

    def at(self, index: Any) -> LayerInput:
        """Return both at *index*."""
        return LayerInput(self.hidden[index], None if self.heads is None else self.heads[index])

    def expanded(self, rows: int) -> LayerInput:
        """Return both in as many *rows*; one row serves all."""
        heads = None if self.heads is None else self.heads.expand(rows, -1, -1)
        return LayerInput(self.hidden.expand(rows, -1, -1), heads)


@dataclass(frozen=True)
class DisabledHeads:
    """Which heads are off in one layer, pair by pair: row ``rows[i]``, head ``heads[i]``.

    ``values``, ``(pairs, 1, head_dim)``, stands in for their output; ``None`` for zeros. Under ``~layer`` a plan says
    the same of the layer's MLP, which is its own only head.
    """

    rows: Tensor
    heads: Tensor
    values: Tensor | None


@dataclass
class PassPlan:
    """What a pass does: ``joins`` rows are appended in each layer, ``off`` says what is replaced in it.

    Where a layer's attention of a joining row is that of the clean row, up to the output projection, ``off_joining``
    says what is replaced in the joining rows, counted from the first of them, and ``off`` speaks of the others.
    """

    start: int = 0
    joining_rows: dict[int, int] = field(default_factory=dict)
    entries: dict[int, LayerInput] = field(
        default_factory=dict
    )  # by joining layer, of the clean row or of each that joins
    off: dict[int, DisabledHeads] = field(default_factory=dict)
    off_joining: dict[int, DisabledHeads] = field(default_factory=dict)
    record: dict[int, LayerInput] | None = None  # keeps what enters each layer
    logits_at: slice | Tensor = field(default_factory=lambda: slice(None))


class ForwardDriver:
    """Runs passes on one model; raises :class:`Unsupported` if its layers are not one list of blocks.

    Where ``grows`` is false, the dummy batch has all rows from the start: for families that reshape by it, or make
    tables of its size. Rows then join at the lowest layer of their chunk. Where ``forks`` is true, rows join in their
    layer at the output projection: what comes before it there is that of the clean row.
    """

    def __init__(
        self,
        model: Any,
        head_map: HeadMap,
        *,
        grows: bool = True,
        forks: bool = True,
        trims: bool = True,
        packed: PackedLinears | None = None,
    ) -> None:
        self.grows, self.forks, self.trims = grows, forks and grows, trims
        containers = {site.block.rpartition(".")[0] for site in head_map.attention_layers}
        if len(containers) != 1:
            raise Unsupported("its attention layers are not in one list")
        blocks = model.get_submodule(containers.pop())
        head = model.get_output_embeddings()
        if not isinstance(blocks, nn.ModuleList) or head is None:
            raise Unsupported("its layers or its vocabulary projection cannot be told apart")
        self.model, self.head_map, self.head = model, head_map, head
        self.blocks = list(blocks)
        self._cache_argument = cache_argument(model)
        self._projections = [(site, model.get_submodule(site.path)) for site in head_map.attention_layers]
        self.packed = packed or PackedLinears([], 0)
        self.stride = STRIDE if device_of(model).type == "cuda" else 1
        self.plan = PassPlan()
        self._rows = 0  # in the layer that runs
        self._rest: dict[int, tuple[Any, ...] | None] = {}  # what a layer returns beside the hidden state
        self._beside: dict[int, tuple[Any, ...] | None] = {}  # what its attention returns beside its output
        self._made: Tensor | None = None  # by the last output projection
        self._joining = False  # while the output projection runs for the joining rows alone

    @contextmanager
    def driving(self) -> Iterator[None]:
        """While open, the model's layers follow ``plan``; afterwards they are as they were."""
        handles = [self.head.register_forward_pre_hook(self._before_head)]
        for site, projection in self._projections:
            handles.append(projection.register_forward_pre_hook(self._before_projection(site)))
            if site.mlp:
                handles.append(self.model.get_submodule(site.mlp).register_forward_hook(self._after_mlp(site)))
            if self.forks:
                handles.append(projection.register_forward_hook(self._after_projection))
        wraps: list[Wrap] = list(self.packed.wraps)
        wraps += [(part, self._at_needed) for part in (self._beside_attention() if self.trims else ())]
        wraps += [(block, partial(self._wrapped, index)) for index, block in enumerate(self.blocks)]
        if self.forks:
            wraps += [
                (self.model.get_submodule(site.path.rpartition(".")[0]), partial(self._forked, site, projection))
                for site, projection in self._projections
            ]
        # transformers warns of padding tokens in the dummy rows
        with hooks(handles), wrapped(wraps), silence_transformers():
            yield

    def run(self, ids: Tensor, slots: KVCache, plan: PassPlan, **places: Tensor) -> Tensor:
        """Run *ids*, ``(rows or 1, tokens)``, after the tokens in *slots*; return the logits that *plan* asks for.

        *places* are ``attention_mask`` and ``position_ids`` where rows have different lengths. The caller sets
        ``slots.length`` afterwards.
        """
        self.plan = plan
        output = self.model(input_ids=ids, use_cache=True, **{self._cache_argument: slots}, **places)
        logits: Tensor = output.logits
        return logits

    def _beside_attention(self) -> list[nn.Module]:
        """Return the parts of the top layer that hold projections but not its attention: they see each token alone."""
        _, projection = self._projections[-1]
        attention = set(projection.modules())
        return [
            part
            for part in self.blocks[-1].children()
            if not attention & set(part.modules()) and any(parameter.dim() == 2 for parameter in part.parameters())
        ]

    def _at_needed(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Above the top layer's attention only the positions whose logits are wanted matter: the others get zeros."""

        def step(*args: Any, **kwargs: Any) -> Any:
            at = self.plan.logits_at
            if len(args) != 1 or kwargs or args[0].dim() != 3 or at == slice(None):
                return forward(*args, **kwargs)
            x = args[0]  # (rows, tokens, hidden)
            places = _places(at, x)
            made = forward(x[places].contiguous())  # (rows, positions, out); Conv1D asks for it
            if not isinstance(made, Tensor):
                return forward(x)
            out = made.new_zeros(*x.shape[:2], made.shape[-1])
            out[places] = made
            return out

        return step

    def _wrapped(self, index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            plan = self.plan
            hidden = args[0] if args else kwargs["hidden_states"]  # (rows, tokens, hidden)
            if index < plan.start:
                rest = self._rest.get(index)
                return hidden if rest is None else (hidden, *rest)
            joining = plan.joining_rows.get(index, 0)
            if joining:
                clean = plan.entries[index].expanded(joining).hidden
                hidden = clean.contiguous() if index == plan.start else torch.cat([hidden, clean])
            if plan.record is not None:
                plan.record[index] = LayerInput(hidden, None)
            self._rows = hidden.shape[0]
            arguments = ((hidden, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": hidden})
            output = forward(*arguments[0], **arguments[1])
            if plan.record is not None:
                self._rest[index] = output[1:] if isinstance(output, tuple) else None
            return output

        return step

    def _forked(self, site: AttentionLayer, projection: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Give the attention of *site* all rows but those that join here: theirs is the clean row's up to its end."""
        trims = self.trims and site.layer == len(self.blocks) - 1

        def step(*args: Any, **kwargs: Any) -> Any:
            plan, layer = self.plan, site.layer
            if plan.record is not None:
                output = forward(*args, **kwargs)
                made = output[0] if isinstance(output, tuple) else output
                self._beside[layer] = output[1:] if isinstance(output, tuple) else None
                if not _same(made, self._made):
                    plan.record[layer] = LayerInput(plan.record[layer].hidden, None)
                return output
            joining = plan.joining_rows.get(layer, 0)
            heads = plan.entries[layer].expanded(joining).heads if joining else None
            if heads is None:
                return forward(*args, **kwargs)
            made = self._projected(projection, heads, at_needed=trims)  # (joining, tokens, hidden)
            rest = self._beside[layer]
            hidden = args[0] if args else kwargs["hidden_states"]  # (rows, tokens, hidden)
            before = hidden[: hidden.shape[0] - joining]
            if len(before):
                arguments = ((before, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": before})
                output = forward(*arguments[0], **arguments[1])
                hidden, rest = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
                made = torch.cat([hidden, made.to(hidden.device)])
            return made if rest is None else (made, *rest)

        return step

    def _projected(self, projection: nn.Module, heads: Tensor, *, at_needed: bool) -> Tensor:
        """Return what *projection* makes of the joining rows' *heads*, ``(rows, tokens, heads * head_dim)``."""
        at = self.plan.logits_at
        places = _places(at[-len(heads) :] if isinstance(at, Tensor) else at, heads) if at_needed else ...
        self._joining = True
        try:
            made: Tensor = projection(heads[places].contiguous())
        finally:
            self._joining = False
        if places is ...:
            return made
        out = made.new_zeros(*heads.shape[:2], made.shape[-1])
        out[places] = made
        return out

    def _after_projection(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._made = output

    def _before_projection(self, site: AttentionLayer) -> Callable[..., Any]:
        def replace(module: nn.Module, args: tuple[Any, ...]) -> Any:
            if self.forks and self.plan.record is not None:
                self.plan.record[site.layer] = LayerInput(self.plan.record[site.layer].hidden, args[0])
            off = (self.plan.off_joining if self._joining else self.plan.off).get(site.layer)
            if off is None:
                return None
            split = args[0].clone().view(*args[0].shape[:2], site.heads, site.head_dim)
            # (pairs, tokens, head_dim) in place of each pair's slice
            at = off.rows.to(split.device), slice(None), off.heads.to(split.device)
            split[at] = 0.0 if off.values is None else off.values.to(split)
            return (split.view(args[0].shape), *args[1:])

        return replace

    def _after_mlp(self, site: AttentionLayer) -> Callable[..., Any]:
        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            off = self.plan.off.get(~site.layer)
            if off is None:
                return None
            made = first_tensor(output)
            assert made is not None
            whole = as_rows(made.clone(), self._rows, site.mlp)  # (rows, tokens, hidden)
            whole[off.rows] = 0.0 if off.values is None else off.values.to(whole.dtype)  # (pairs, 1, hidden)
            return replace_first(output, whole.view(made.shape))

        return replace

    def _before_head(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        return (args[0][_places(self.plan.logits_at, args[0])], *args[1:])


def _places(at: slice | Tensor, x: Tensor) -> Any:
    """Return the index that takes positions *at*, a slice or ``(rows, positions)``, of *x*, ``(rows, tokens, ...)``."""
    if isinstance(at, slice):
        return slice(None), at
    at = at.to(x.device)
    return torch.arange(len(at), device=at.device)[:, None], at


def _same(output: Any, made: Tensor | None) -> bool:
    """Tell whether an attention's *output* is the very tensor that its output projection *made*."""
    return (
        isinstance(output, Tensor)
        and made is not None
        and output.dim() == 3
        and output.shape == made.shape
        and output.data_ptr() == made.data_ptr()
    )


Wrap = tuple[nn.Module, Callable[[Callable[..., Any]], Callable[..., Any]]]


@contextmanager
def wrapped(wraps: Iterable[Wrap]) -> Iterator[None]:
    """While open, each module's ``forward`` is what its wrapper makes of it; afterwards all are as they were."""
    with ExitStack() as stack:
        for module, wrap in wraps:
            before = vars(module).get("forward")
            module.forward = wrap(module.forward)
            stack.callback(_restore, module, before)
        yield


def _restore(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        vars(module).pop("forward", None)
    else:
        module.forward = forward


Switched = Sequence[tuple[Target, Replacement]]
"""Rows, each by what is off in it and what stands in."""


def joining_plan(
    rows: Switched, enters: Sequence[int], entries: dict[int, LayerInput], device: Any, logits_at: slice | Tensor
) -> PassPlan:
    """Return the plan of a pass in which *rows* join in the layers *enters*, which rise, by *entries*."""
    joins = dict(Counter(enters))
    forking = [layer for layer in joins if entries[layer].heads is not None]
    off = off_pairs(rows, device, lambda row, layer: layer != enters[row] or layer not in forking)
    off_joining: dict[int, DisabledHeads] = {}
    for layer in forking:
        start = bisect_left(enters, layer)
        here = rows[start : start + joins[layer]]
        off_joining |= off_pairs(here, device, partial(_in_layer, layer))
    return PassPlan(enters[0], joins, entries, off, off_joining, logits_at=logits_at)


def _in_layer(wanted: int, row: int, layer: int) -> bool:
    return layer == wanted


def off_pairs(
    rows: Switched, device: Any, wanted: Callable[[int, int], bool] = lambda row, layer: True
) -> dict[int, DisabledHeads]:
    """Return what is off in each layer for *rows* in their order; layers with nothing off are left out.

    Where it is not *wanted*, of a row in a layer (``~layer``: its MLP), it is left out, too.
    """
    pairs: dict[int, list[tuple[int, int]]] = {}
    values: dict[int, list[Tensor | None]] = {}
    for row, (target, replacement) in enumerate(rows):
        for layer, head in sorted(target.heads):
            place, unit = (~layer, 0) if head == MLP else (layer, head)
            if wanted(row, place):
                pairs.setdefault(place, []).append((row, unit))
                values.setdefault(place, []).append(replacement[place][unit] if place in replacement else None)
    off = {}
    for layer, found in pairs.items():
        at, heads = torch.tensor(found, device=device).T  # (pairs,) each
        off[layer] = DisabledHeads(at, heads, _stacked(values[layer]))
    return off


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    """Return what stands in for each pair, ``(pairs, 1, head_dim)``; ``None`` where all of them are zeros."""
    like = next((value for value in values if value is not None), None)
    if like is None:
        return None
    return torch.stack([torch.zeros_like(like) if value is None else value for value in values])[:, None]
