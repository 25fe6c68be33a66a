"""Forward passes through a model in which the batch grows from layer to layer.

Switching off a head or the MLP of layer *l* changes nothing below *l*'s output projection. A pass therefore starts
with a dummy batch of one row, which layers below the lowest target pass on unchanged, and where targets start, copies
of the baseline's hidden state are appended. The mask and the rotary tables are made for the dummy row and broadcast.
There is no code per family: the decoder layers' ``forward`` is wrapped, and hooks are registered on the output
projections, the MLPs and the vocabulary projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.engine.fast.kv_cache import KVCache, KVOrigin, gather_rows
from reasoning_probe.engine.fast.packed_linear import PackedLinears
from reasoning_probe.engine.fast.pass_plan import LayerInput, PassPlan, Positions
from reasoning_probe.engine.numerics import Numerics
from reasoning_probe.engine.pace import Pace
from reasoning_probe.engine.transfers import STRIDE
from reasoning_probe.models.ablation import as_rows
from reasoning_probe.models.head_map import AttentionLayer, HeadMap
from reasoning_probe.models.hooks import cache_argument, first_tensor, hooks, replace_first
from reasoning_probe.models.weights import device_of
from reasoning_probe.utils.logging import silence_transformers

Forward = Callable[..., Any]
Wrap = tuple[nn.Module, Callable[[Forward], Forward]]  # a module, and the function that wraps its forward


class Unsupported(RuntimeError):
    """Raised for a model whose layers cannot be driven this way; the plain path takes over."""


class ForwardDriver:
    """Runs passes on one model; raises :class:`Unsupported` if its layers are not a single list of blocks.

    If ``grows_batch`` is false, the dummy batch has all rows from the start, for families that reshape by the batch
    size or build tables of that size; rows then join at the lowest layer of their chunk. If ``shares_attention`` is
    true, rows join their layer at the output projection, since what precedes it equals the baseline's. If
    ``trims_positions`` is true, the top layer computes only the positions whose logits are wanted.
    """

    def __init__(
        self,
        model: Any,
        head_map: HeadMap,
        *,
        grows_batch: bool = True,
        shares_attention: bool = True,
        trims_positions: bool = True,
        packed: PackedLinears | None = None,
        numerics: Numerics | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.grows_batch, self.trims_positions = grows_batch, trims_positions
        self.shares_attention = shares_attention and grows_batch
        containers = {site.block.rpartition(".")[0] for site in head_map.attention_layers}
        if len(containers) != 1:
            raise Unsupported("its attention layers are not in one list")
        blocks = model.get_submodule(containers.pop())
        lm_head = model.get_output_embeddings()
        if not isinstance(blocks, nn.ModuleList) or lm_head is None:
            raise Unsupported("its layers or its vocabulary projection cannot be told apart")
        self.model, self.head_map, self.lm_head = model, head_map, lm_head
        self.blocks = list(blocks)
        self._cache_argument = cache_argument(model)
        self._projections = [(site, model.get_submodule(site.path)) for site in head_map.attention_layers]
        self.numerics, self.packed = numerics or Numerics(), packed or PackedLinears([], 0)
        self.pace = pace or Pace()
        self.stride = STRIDE if device_of(model).type == "cuda" else 1
        self.plan = PassPlan()
        self._rows = 0  # in the layer that runs
        self._extra_layer_outputs: dict[int, tuple[Any, ...] | None] = {}  # what a layer returns after the hidden state
        self._extra_attention_outputs: dict[int, tuple[Any, ...] | None] = {}
        self._last_projected: Tensor | None = None  # the output of the last output projection
        self._projects_joining: Positions | None = None  # of the joining rows, while they alone are projected

    @contextmanager
    def driving(self) -> Iterator[None]:
        """While open, the model's layers follow ``plan``; on exit they are restored."""
        handles = [self.lm_head.register_forward_pre_hook(self._before_lm_head)]
        for site, projection in self._projections:
            handles.append(projection.register_forward_pre_hook(self._before_projection(site)))
            if site.mlp:
                handles.append(self.model.get_submodule(site.mlp).register_forward_hook(self._after_mlp(site)))
            if self.shares_attention:
                handles.append(projection.register_forward_hook(self._after_projection))
        wraps: list[Wrap] = list(self.packed.wraps)
        if self.trims_positions:
            wraps += [(module, self._wrap_trimmed) for module in self._token_wise_modules()]
        wraps += [(block, partial(self._wrap_block, index)) for index, block in enumerate(self.blocks)]
        if self.shares_attention:
            wraps += [
                (
                    self.model.get_submodule(site.path.rpartition(".")[0]),
                    partial(self._wrap_attention, site, projection),
                )
                for site, projection in self._projections
            ]
        # transformers warns of padding tokens in the dummy rows
        with hooks(handles), wrapped(wraps), silence_transformers(), self.numerics.running():
            yield

    def run(self, ids: Tensor, kv_cache: KVCache, plan: PassPlan, **positions: Tensor) -> Tensor:
        """Run *ids*, ``(rows or 1, tokens)``, after the tokens in *kv_cache*; return the logits that *plan* asks for.

        *positions* are ``attention_mask`` and ``position_ids`` if rows have different lengths. The caller sets
        ``kv_cache.length`` afterwards.
        """
        self.plan = plan
        output = self.model(input_ids=ids, use_cache=True, **{self._cache_argument: kv_cache}, **positions)
        logits: Tensor = output.logits  # (rows, positions, vocabulary)
        self.pace.add_pass(logits.shape[0])
        return logits

    def new_cache(self, capacity: int, rows: int = 0) -> KVCache:
        """Return a cache for so many tokens, kept as the attention of these numerics takes it."""
        return KVCache(len(self.blocks), capacity, rows, in_tiles=self.numerics.caches_tiles)

    def gather(self, origins: Sequence[KVOrigin], capacity: int) -> KVCache:
        """Return a cache for so many tokens in which row *i* has the keys and values of ``origins[i]``."""
        return gather_rows(origins, len(self.blocks), capacity, in_tiles=self.numerics.caches_tiles)

    def _token_wise_modules(self) -> list[nn.Module]:
        """Return the top layer's modules, other than its attention, that have projections: they see tokens singly."""
        _, projection = self._projections[-1]
        attention = set(projection.modules())
        return [
            module
            for module in self.blocks[-1].children()
            if not attention & set(module.modules()) and any(weight.dim() == 2 for weight in module.parameters())
        ]

    def _wrap_trimmed(self, forward: Forward) -> Forward:
        """Compute only the positions whose logits are wanted, as no other matters above the top layer's attention."""

        def run(*args: Any, **kwargs: Any) -> Any:
            positions = self.plan.logits_at
            if len(args) != 1 or kwargs or args[0].dim() != 3 or positions == slice(None):
                return forward(*args, **kwargs)
            x = args[0]  # (rows, tokens, hidden)
            index = _position_index(positions, x)
            output = forward(x[index].contiguous())  # (rows, positions, out); Conv1D needs it contiguous
            if not isinstance(output, Tensor):
                return forward(x)
            return _scattered(output, index, x)  # (rows, tokens, out)

        return run

    def _wrap_block(self, index: int, forward: Forward) -> Forward:
        """Append to the batch the rows that join in layer *index*, and skip the layers below the plan's start."""

        def run(*args: Any, **kwargs: Any) -> Any:
            plan = self.plan
            hidden = args[0] if args else kwargs["hidden_states"]  # (rows, tokens, hidden)
            if index < plan.start:
                extra = self._extra_layer_outputs.get(index)
                return hidden if extra is None else (hidden, *extra)
            joining = plan.joining_rows.get(index, 0)
            if joining:
                baseline = plan.layer_inputs[index].expanded(joining).hidden  # (joining, tokens, hidden)
                hidden = baseline.contiguous() if index == plan.start else torch.cat([hidden, baseline])
            if plan.record is not None:
                plan.record[index] = LayerInput(hidden, None)
            self._rows = hidden.shape[0]
            output = _with_hidden(forward, hidden, args, kwargs)
            if plan.record is not None:
                self._extra_layer_outputs[index] = output[1:] if isinstance(output, tuple) else None
            return output

        return run

    def _wrap_attention(self, site: AttentionLayer, projection: nn.Module, forward: Forward) -> Forward:
        """Run *site*'s attention without the rows that join here, whose projection inputs are the baseline's."""
        trims = self.trims_positions and site.layer == len(self.blocks) - 1

        def run(*args: Any, **kwargs: Any) -> Any:
            plan, layer = self.plan, site.layer
            if plan.record is not None:
                output = forward(*args, **kwargs)
                self._extra_attention_outputs[layer] = output[1:] if isinstance(output, tuple) else None
                if not _is_same_tensor(output[0] if isinstance(output, tuple) else output, self._last_projected):
                    plan.record[layer] = LayerInput(plan.record[layer].hidden, None)
                return output
            joining = plan.joining_rows.get(layer, 0)
            heads = plan.layer_inputs[layer].expanded(joining).heads if joining else None
            if heads is None:
                return forward(*args, **kwargs)
            attended = self._project_joining(projection, heads, trims=trims)  # (joining, tokens, hidden)
            extra = self._extra_attention_outputs[layer]
            hidden = args[0] if args else kwargs["hidden_states"]  # (rows, tokens, hidden)
            others = hidden[: hidden.shape[0] - joining]  # (rows - joining, tokens, hidden)
            if len(others):
                output = _with_hidden(forward, others, args, kwargs)
                first, extra = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
                attended = torch.cat([first, attended.to(first.device)])  # (rows, tokens, hidden)
            return attended if extra is None else (attended, *extra)

        return run

    def _project_joining(self, projection: nn.Module, heads: Tensor, *, trims: bool) -> Tensor:
        """Return the *projection* of the joining rows' *heads*, ``(rows, tokens, heads * head_dim)``."""
        positions = self.plan.logits_at
        if isinstance(positions, Tensor):
            positions = positions[-len(heads) :]  # (joining, positions)
        index = _position_index(positions, heads) if trims else ...
        self._projects_joining = positions if trims else slice(None)
        try:
            output: Tensor = projection(heads[index].contiguous())  # (joining, positions, hidden)
        finally:
            self._projects_joining = None
        return output if index is ... else _scattered(output, index, heads)  # (joining, tokens, hidden)

    def _after_projection(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._last_projected = output

    def _before_projection(self, site: AttentionLayer) -> Callable[..., Any]:
        def replace(module: nn.Module, args: tuple[Any, ...]) -> Any:
            if self.shares_attention and self.plan.record is not None:
                self.plan.record[site.layer] = LayerInput(self.plan.record[site.layer].hidden, args[0])
            joining = self._projects_joining
            disabled = (self.plan.disabled_joining if joining is not None else self.plan.disabled).get(site.layer)
            if disabled is None:
                return None
            if joining is not None:
                disabled = disabled.only(joining)
            heads = args[0].clone()  # (rows, tokens, heads * head_dim)
            split = heads.view(*heads.shape[:2], site.heads, site.head_dim)  # (rows, tokens, heads, head_dim)
            index = disabled.rows.to(split.device), slice(None), disabled.heads.to(split.device)
            split[index] = disabled.replaced(split[index])  # (pairs, tokens, head_dim)
            return (heads, *args[1:])

        return replace

    def _after_mlp(self, site: AttentionLayer) -> Callable[..., Any]:
        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            disabled = self.plan.disabled.get(~site.layer)
            if disabled is None:
                return None
            first = first_tensor(output)
            assert first is not None
            replaced = as_rows(first.clone(), self._rows, site.mlp)  # (rows, tokens, hidden)
            replaced[disabled.rows] = disabled.replaced(replaced[disabled.rows])  # (pairs, tokens, hidden)
            return replace_first(output, replaced.view(first.shape))

        return replace

    def _before_lm_head(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        # (rows, positions, hidden) of (rows, tokens, hidden)
        return (args[0][_position_index(self.plan.logits_at, args[0])], *args[1:])


def _with_hidden(forward: Forward, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call *forward* with *hidden* in place of the hidden state among *args* or *kwargs*."""
    return forward(hidden, *args[1:], **kwargs) if args else forward(**kwargs | {"hidden_states": hidden})


def _position_index(positions: Positions, x: Tensor) -> Any:
    """Return the index that selects *positions*, a slice or ``(rows, positions)``, of *x*, ``(rows, tokens, ...)``."""
    if isinstance(positions, slice):
        return slice(None), positions
    positions = positions.to(x.device)
    return torch.arange(len(positions), device=positions.device)[:, None], positions  # (rows, 1), (rows, positions)


def _scattered(output: Tensor, index: Any, x: Tensor) -> Tensor:
    """Return *output* at the positions *index* of *x*, ``(rows, tokens, ...)``, and zeros at all others."""
    scattered = output.new_zeros(*x.shape[:2], output.shape[-1])  # (rows, tokens, out)
    scattered[index] = output
    return scattered


def _is_same_tensor(output: Any, projected: Tensor | None) -> bool:
    """Tell whether an attention module's *output* is the very tensor that its output projection returned."""
    return (
        isinstance(output, Tensor)
        and projected is not None
        and output.dim() == 3
        and output.shape == projected.shape
        and output.data_ptr() == projected.data_ptr()
    )


@contextmanager
def wrapped(wraps: Iterable[Wrap]) -> Iterator[None]:
    """While open, each module's ``forward`` is wrapped; on exit all are restored."""
    with ExitStack() as stack:
        for module, wrap in wraps:
            stack.callback(_restore, module, vars(module).get("forward"))
            module.forward = wrap(module.forward)
        yield


def _restore(module: nn.Module, forward: Forward | None) -> None:
    if forward is None:
        vars(module).pop("forward", None)
    else:
        module.forward = forward
