"""The parts of a layer that can be switched off besides single heads: key/value groups and the MLP.

Both are found by watching the model run, as the heads are. The cache that a layer fills shows how many key/value heads
it has. The MLP is the one other part of the layer that has weights and outputs hidden states. Both are verified on the
loaded weights. For a group, changing its cached values must change the output of its heads and of no other. An MLP must
treat each token alone, and without it and the attention the layer must pass on its input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import cache_argument, cache_of, first_tensor, hooks, probe_ids, replace_first
from reasoning_probe.utils.target_names import part_name


def find_components(model: Any, attention_layers: Sequence[AttentionLayer]) -> tuple[AttentionLayer, ...]:
    """Return *attention_layers* with the number of key/value heads and the path of the MLP of each, where known.

    Runs the model once on seven tokens, with a cache; a model that cannot do that has no such targets.
    """
    with _record_calls(model, attention_layers) as calls:
        try:
            cache = cache_of(model(input_ids=probe_ids(model), use_cache=True))
        except Exception:  # single heads can still be switched off
            return tuple(attention_layers)
    return tuple(
        replace(
            attention_layer,
            kv_heads=_cached_heads(cache, attention_layer),
            mlp=_mlp_path(model, attention_layer, calls.get(attention_layer.block, [])),
        )
        for attention_layer in attention_layers
    )


def _cached_heads(cache: Any, attention_layer: AttentionLayer) -> int:
    """Return how many key/value heads the layer has in *cache*, 0 if its heads cannot share them evenly."""
    keys, _ = _cached(cache, attention_layer.layer)
    if keys is None or keys.dim() != 4 or attention_layer.heads % keys.shape[1]:
        return 0
    return int(keys.shape[1])


def _cached(cache: Any, layer: int) -> tuple[Tensor | None, Tensor | None]:
    """Return the keys and values of *layer* in *cache*, each ``(1, kv_heads, tokens, head_dim)``."""
    layers = getattr(cache, "layers", None) or []
    cache_layer = layers[layer] if layer < len(layers) else None
    keys, values = getattr(cache_layer, "keys", None), getattr(cache_layer, "values", None)
    return (keys, values) if isinstance(keys, Tensor) and isinstance(values, Tensor) else (None, None)


class _Call:
    """A call of a module in a layer: the module's path, the number of tensors it got, and its hidden states."""

    def __init__(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.path, self.module = path, module
        inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()]
        self.inputs = len(inputs)
        self.hidden = first_tensor(output)


@contextmanager
def _record_calls(model: Any, attention_layers: Sequence[AttentionLayer]) -> Iterator[dict[str, list[_Call]]]:
    """Record the calls inside each layer in the order they end, so that the layer itself comes last."""
    calls: dict[str, list[_Call]] = {}

    def record(block: str, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.setdefault(block, []).append(_Call(path, module, args, kwargs, output))

        return hook

    handles = [
        module.register_forward_hook(record(block, f"{block}.{name}" if name else block), with_kwargs=True)
        for block in (attention_layer.block for attention_layer in attention_layers)
        for name, module in model.get_submodule(block).named_modules()
    ]
    with hooks(handles):
        yield calls


def _mlp_path(model: Any, attention_layer: AttentionLayer, calls: Sequence[_Call]) -> str:
    """Return the path of the module whose output is the MLP's contribution in the layer, or nothing."""
    if not calls or calls[-1].hidden is None:
        return ""
    shape = calls[-1].hidden.shape  # (1, tokens, hidden)
    call_of = {call.path: call for call in calls}
    block, projection = model.get_submodule(attention_layer.block), model.get_submodule(attention_layer.path)
    candidates = [
        call_of[path]
        for path in _outside_attention(block, attention_layer.block, projection, call_of.keys())
        if _outputs_hidden(call_of[path], shape)
        and any(parameter.dim() >= 2 for parameter in call_of[path].module.parameters())
    ]
    all_leaves = all(next(call.module.children(), None) is None for call in candidates)
    if not candidates or (len(candidates) > 1 and not all_leaves):
        return ""
    last = max(candidates, key=calls.index)
    if last.inputs == 1:
        return last.path
    # The module also gets the residual stream and adds to it itself: the output of its last linear layer is added.
    inner = [call for call in calls if call.path.startswith(f"{last.path}.") and _outputs_hidden(call, shape)]
    linear = [call for call in inner if getattr(getattr(call.module, "weight", None), "ndim", 0) == 2]
    return linear[-1].path if linear else ""


def _outside_attention(module: nn.Module, path: str, projection: nn.Module, called: Iterable[str]) -> Iterator[str]:
    """Yield the paths of the largest *called* modules in a layer that do not hold its attention's *projection*."""
    for name, child in module.named_children():
        child_path = f"{path}.{name}"
        if any(part is projection for part in child.modules()):
            continue
        if child_path in called:
            yield child_path
        else:
            yield from _outside_attention(child, child_path, projection, called)


def _outputs_hidden(call: _Call, shape: torch.Size) -> bool:
    """Tell whether *call* returned hidden states, in rows or with the rows flattened."""
    return call.hidden is not None and call.hidden.shape[-1] == shape[-1] and call.hidden.numel() == shape.numel()


def verify_components(model: Any, head_map: HeadMap, mlps: Iterable[int], groups: Iterable[tuple[int, int]]) -> None:
    """Verify the MLPs of the layers *mlps* and the key/value *groups*, (layer, group) pairs, on the loaded weights.

    Raises :class:`HeadError` if one of them is not what :func:`find_components` took it for.
    """
    attention_layers = [head_map.attention_layer(layer) for layer in sorted(set(mlps))]
    with torch.no_grad():
        if attention_layers:
            _verify_tokenwise(model, attention_layers)
            verify_residual(model, attention_layers)
        for layer in sorted({layer for layer, _ in groups}):
            _verify_groups(model, head_map.attention_layer(layer))


class _TokenwiseCheck:
    """A forward hook on one MLP that checks that a changed token changes the output at its own position alone."""

    def __init__(self, attention_layer: AttentionLayer) -> None:
        self.path, self.name = attention_layer.mlp, part_name(attention_layer.layer, "MLP")
        self.calls = 0
        self.error: str | None = None
        self._checking = False

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._checking:
            return  # the second call, below
        self.calls += 1
        self._checking = True
        first = args[0] if args else next(iter(kwargs.values()))
        changed = first.clone()
        tokens = changed.view(-1, changed.shape[-1])  # (tokens, hidden), whether the rows are flattened or not
        tokens[0] = tokens[1] - 2 * tokens[0]
        if args:
            changed_output = module(changed, *args[1:], **kwargs)
        else:
            changed_output = module(**{**kwargs, next(iter(kwargs)): changed})
        self._checking = False
        before, after = first_tensor(output), first_tensor(changed_output)
        assert before is not None
        assert after is not None
        difference = (after - before).abs().view(-1, before.shape[-1]).amax(-1)  # (tokens,)
        threshold = _tolerance(before) * (float(before.abs().max()) + 1e-30)
        if self.error is None and (float(difference[1:].max()) > threshold or float(difference[0]) <= threshold):
            self.error = f"{self.path} does not work on each token alone: {self.name} is not a target"


def _verify_tokenwise(model: Any, attention_layers: Sequence[AttentionLayer]) -> None:
    """Verify that each MLP runs once in a pass and treats each token alone."""
    checks = [_TokenwiseCheck(attention_layer) for attention_layer in attention_layers]
    handles = [
        model.get_submodule(check.path).register_forward_hook(check, with_kwargs=True) for check in checks if check.path
    ]
    with hooks(handles):
        model(input_ids=probe_ids(model), use_cache=False)
    for check in checks:
        if check.error is not None:
            raise HeadError(check.error)
    for check in checks:
        if check.calls != 1:
            raise HeadError(f"{check.name} cannot be proved: it ran {check.calls} times in a pass, not once")


def verify_residual(model: Any, attention_layers: Sequence[AttentionLayer]) -> None:
    """Verify that a layer without its attention and its MLP passes on its input: nothing else adds to the stream.

    The input is not what the layers below give, which a norm may have made: a norm would pass that on, too. Raises
    :class:`HeadError` for the first layer that does not.
    """
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor | None] = {}

    def record_input(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]  # (1, tokens, hidden)
            slope = torch.linspace(-1, 3, hidden.shape[-1], device=hidden.device, dtype=hidden.dtype)  # (hidden,)
            inputs[layer] = hidden + slope * hidden.abs().max()
            return ((inputs[layer], *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": inputs[layer]})

        return hook

    def record_output(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            outputs[layer] = first_tensor(output)  # (1, tokens, hidden)

        return hook

    def zero(module: nn.Module, args: Any, output: Any) -> Any:
        hidden = first_tensor(output)
        return None if hidden is None else replace_first(output, torch.zeros_like(hidden))

    handles = []
    for attention_layer in attention_layers:
        block = model.get_submodule(attention_layer.block)
        handles.append(block.register_forward_pre_hook(record_input(attention_layer.layer), with_kwargs=True))
        handles.append(block.register_forward_hook(record_output(attention_layer.layer)))
        for path in (attention_layer.path, attention_layer.mlp):
            handles.append(model.get_submodule(path).register_forward_hook(zero))
    with hooks(handles):
        model(input_ids=probe_ids(model), use_cache=False)
    for attention_layer in attention_layers:
        before, after = inputs.get(attention_layer.layer), outputs.get(attention_layer.layer)
        if before is None or after is None or not _same(before, after):
            raise HeadError(
                f"{part_name(attention_layer.layer, 'MLP')} cannot be proved: without attention and"
                f" {attention_layer.mlp} the layer does not hand on what it got, so they are not all that it adds"
            )


def _same(before: Tensor, after: Tensor) -> bool:
    return before.shape == after.shape and bool((after - before).abs().max() <= _tolerance(before) * before.abs().max())


def _verify_groups(model: Any, attention_layer: AttentionLayer) -> None:
    """Verify that the cached values of each key/value head change the output of the heads that share it, and no other.

    Model code groups neighbouring heads by convention only, so the grouping is measured here.
    """
    layer, heads, kv_heads = attention_layer.layer, attention_layer.heads, attention_layer.kv_heads
    ids = probe_ids(model)
    outputs: list[Tensor] = []

    def record(module: nn.Module, args: Any) -> None:
        outputs.append(args[0][:, -1].reshape(-1, heads, attention_layer.head_dim).float())  # (1, heads, head_dim)

    prefix_cache = cache_of(model(input_ids=ids[:, :-1], use_cache=True))
    with hooks([model.get_submodule(attention_layer.path).register_forward_pre_hook(record)]):
        for group in range(-1, kv_heads):  # -1 changes nothing
            cache = copy.deepcopy(prefix_cache)
            _, values = _cached(cache, layer)  # (1, kv_heads, tokens, head_dim)
            if values is None or values.shape[1] != kv_heads:
                name = part_name(layer, "KV")
                raise HeadError(f"{name} cannot be proved: the layer's keys and values cannot be reached")
            if group >= 0:
                values[:, group] = 1 - 2 * values[:, group]
            model(input_ids=ids[:, -1:], use_cache=True, **{cache_argument(model): cache})
    clean, *changed = outputs
    threshold = 1e-6 * float(clean.abs().max())
    for group, output in enumerate(changed):
        difference = (output - clean).abs().amax(-1)[0]  # (heads,)
        affected = {head for head in range(heads) if float(difference[head]) > threshold}
        if affected != set(attention_layer.group(group)):
            raise HeadError(
                f"{part_name(layer, 'KV', group)} cannot be proved: heads {sorted(affected)} use its values, not"
                f" {list(attention_layer.group(group))}"
            )


def _tolerance(x: Tensor) -> float:
    return {torch.float32: 1e-4, torch.float64: 1e-9}.get(x.dtype, 5e-2)
