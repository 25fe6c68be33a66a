"""What else of an attention layer can be switched off: the heads that share keys and values, and the MLP.

Both are found by watching the model run, as the heads are. How many key/value heads a layer has shows in the cache it
fills; the MLP is the one other part of the layer that has weights and makes hidden states. On the loaded weights both
are proved: a group by changing its cached values and seeing which heads notice, an MLP by its absence (without it and
the attention a layer hands on what it got) and by its working on each token alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import cache_argument, cache_of, first_tensor, hooks, probe_ids, replace_first


def find_parts(model: Any, sites: Sequence[AttentionLayer]) -> tuple[AttentionLayer, ...]:
    """Return *sites* with the key/value heads and the MLP of each, as far as they can be told.

    Runs the model once on seven tokens, with a cache; a model that cannot do that has no such targets.
    """
    with _calls(model, sites) as seen:
        try:
            cache = cache_of(model(input_ids=probe_ids(model), use_cache=True))
        except Exception:  # heads alone are switched off then: nothing else was promised
            return tuple(sites)
    return tuple(
        replace(site, kv_heads=_cached_heads(cache, site), mlp=_mlp_of(model, site, seen.get(site.block, [])))
        for site in sites
    )


def _cached_heads(cache: Any, site: AttentionLayer) -> int:
    """Return how many key/value heads the layer of *site* keeps in *cache*, 0 if they are not those of its heads."""
    keys = _cached(cache, site.layer)[0]
    if keys is None or keys.dim() != 4 or site.heads % keys.shape[1]:
        return 0
    return int(keys.shape[1])


def _cached(cache: Any, layer: int) -> tuple[Tensor | None, Tensor | None]:
    layers = getattr(cache, "layers", None) or []
    slot = layers[layer] if layer < len(layers) else None
    keys, values = getattr(slot, "keys", None), getattr(slot, "values", None)
    return (keys, values) if isinstance(keys, Tensor) and isinstance(values, Tensor) else (None, None)


class _Call:
    """A module that ran in a layer: its path, how many tensors it got, and whether it made hidden states."""

    def __init__(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.path, self.module = path, module
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()]
        self.inputs = len(given)
        self.made = first_tensor(output)


@contextmanager
def _calls(model: Any, sites: Sequence[AttentionLayer]) -> Iterator[dict[str, list[_Call]]]:
    """While open, the modules that end are noted by layer; the layer itself comes last."""
    seen: dict[str, list[_Call]] = {}

    def note(block: str, path: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            seen.setdefault(block, []).append(_Call(path, module, args, kwargs, output))

        return hook

    handles = [
        module.register_forward_hook(note(site.block, f"{site.block}.{name}" if name else site.block), with_kwargs=True)
        for site in sites
        for name, module in model.get_submodule(site.block).named_modules()
    ]
    with hooks(handles):
        yield seen


def _mlp_of(model: Any, site: AttentionLayer, calls: Sequence[_Call]) -> str:
    """Return the path of the module whose output is the MLP's contribution in the layer of *site*, or nothing."""
    if not calls or calls[-1].made is None:
        return ""
    shape = calls[-1].made.shape  # (1, tokens, hidden)
    ran = {call.path: call for call in calls}
    projection = model.get_submodule(site.path)
    beside = [
        ran[path]
        for path in _beside(model.get_submodule(site.block), site.block, projection, ran.keys())
        if _makes(ran[path], shape) and any(parameter.dim() >= 2 for parameter in ran[path].module.parameters())
    ]
    bare = all(next(call.module.children(), None) is None for call in beside)
    if not beside or (len(beside) > 1 and not bare):
        return ""
    whole = max(beside, key=calls.index)
    if whole.inputs == 1:
        return whole.path
    # It is given the residual stream, too, and adds it itself: its last linear layer makes what is added.
    inside = [call for call in calls if call.path.startswith(f"{whole.path}.") and _makes(call, shape)]
    linear = [call for call in inside if getattr(getattr(call.module, "weight", None), "ndim", 0) == 2]
    return linear[-1].path if linear else ""


def _beside(module: nn.Module, path: str, projection: nn.Module, ran: Iterable[str]) -> Iterator[str]:
    """Yield the paths of the largest modules that ran in a layer and do not hold its attention's *projection*."""
    for name, child in module.named_children():
        at = f"{path}.{name}"
        if any(part is projection for part in child.modules()):
            continue
        if at in ran:
            yield at
        else:
            yield from _beside(child, at, projection, ran)


def _makes(call: _Call, shape: torch.Size) -> bool:
    """Tell whether what *call* made are hidden states, in rows or laid out flat."""
    return call.made is not None and call.made.shape[-1] == shape[-1] and call.made.numel() == shape.numel()


def verify_components(model: Any, head_map: HeadMap, mlps: Iterable[int], groups: Iterable[tuple[int, int]]) -> None:
    """Prove the MLPs of the layers *mlps* and the key/value *groups*, (layer, group) pairs, on the loaded weights.

    Raises :class:`HeadError` where one is not what it was taken for.
    """
    sites = [head_map.site(layer) for layer in sorted(set(mlps))]
    with torch.no_grad():
        if sites:
            _prove_alone(model, sites)
            _prove_absent(model, sites)
        for layer in sorted({layer for layer, _ in groups}):
            _prove_groups(model, head_map.site(layer))


def _prove_alone(model: Any, sites: Sequence[AttentionLayer]) -> None:
    """Prove that each MLP runs once a pass and works on each token alone."""
    fired = {site.layer: 0 for site in sites}
    problems: list[str] = []

    def check(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if fired[site.layer] < 0:
                return  # our own call below
            fired[site.layer] += 1
            times, fired[site.layer] = fired[site.layer], -1
            made = first_tensor(output)
            given = args[0] if args else next(iter(kwargs.values()))
            changed = given.clone()
            tokens = changed.view(-1, changed.shape[-1])  # (tokens, hidden), whether laid out flat or not
            tokens[0] = tokens[1] - 2 * tokens[0]
            name = None if args else next(iter(kwargs))
            again = module(changed, *args[1:], **kwargs) if name is None else module(**{**kwargs, name: changed})
            fired[site.layer] = times
            other = first_tensor(again)
            assert made is not None
            assert other is not None
            moved = (other - made).abs().view(-1, made.shape[-1]).amax(-1)  # (tokens,)
            scale = _tolerance(made) * (float(made.abs().max()) + 1e-30)
            if float(moved[1:].max()) > scale or float(moved[0]) <= scale:
                problems.append(f"{site.mlp} does not work on each token alone: L{site.layer}MLP is no target")

        return hook

    handles = [
        model.get_submodule(site.mlp).register_forward_hook(check(site), with_kwargs=True) for site in sites if site.mlp
    ]
    with hooks(handles):
        model(input_ids=probe_ids(model), use_cache=False)
    for site in sites:
        if fired[site.layer] != 1:
            problems.append(f"L{site.layer}MLP cannot be proved: it ran {fired[site.layer]} times in a pass, not once")
    if problems:
        raise HeadError(problems[0])


def _prove_absent(model: Any, sites: Sequence[AttentionLayer]) -> None:
    """Prove that a layer without its attention and its MLP hands on what it got: nothing else adds to the stream."""
    entered: dict[int, Tensor] = {}
    left: dict[int, Tensor | None] = {}

    def enter(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            entered[site.layer] = args[0] if args else kwargs["hidden_states"]

        return hook

    def leave(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            left[site.layer] = first_tensor(output)

        return hook

    def nothing(module: nn.Module, args: Any, output: Any) -> Any:
        made = first_tensor(output)
        return None if made is None else replace_first(output, torch.zeros_like(made))

    handles = []
    for site in sites:
        block = model.get_submodule(site.block)
        handles.append(block.register_forward_pre_hook(enter(site), with_kwargs=True))
        handles.append(block.register_forward_hook(leave(site)))
        handles += [model.get_submodule(path).register_forward_hook(nothing) for path in (site.path, site.mlp)]
    with hooks(handles):
        model(input_ids=probe_ids(model), use_cache=False)
    for site in sites:
        before, after = entered.get(site.layer), left.get(site.layer)
        if before is None or after is None or not _same(before, after):
            raise HeadError(
                f"L{site.layer}MLP cannot be proved: without attention and {site.mlp} the layer does not hand on"
                " what it got, so they are not all that it adds"
            )


def _same(before: Tensor, after: Tensor) -> bool:
    return before.shape == after.shape and bool((after - before).abs().max() <= _tolerance(before) * before.abs().max())


def _prove_groups(model: Any, site: AttentionLayer) -> None:
    """Prove which heads share each key/value head: those whose output changes with its cached values, and only they.

    That the heads of a group are neighbours is no more than a habit of model code; here it is seen.
    """
    ids = probe_ids(model)
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: Any) -> None:
        seen.append(args[0][:, -1].reshape(-1, site.heads, site.head_dim).float())  # (1, heads, head_dim)

    start = cache_of(model(input_ids=ids[:, :-1], use_cache=True))
    with hooks([model.get_submodule(site.path).register_forward_pre_hook(keep)]):
        for group in range(-1, site.kv_heads):
            cache = copy.deepcopy(start)
            values = _cached(cache, site.layer)[1]
            if values is None or values.shape[1] != site.kv_heads:
                raise HeadError(f"L{site.layer}KV0 cannot be proved: the layer's keys and values cannot be reached")
            if group >= 0:
                values[:, group] = 1 - 2 * values[:, group]
            model(input_ids=ids[:, -1:], use_cache=True, **{cache_argument(model): cache})
    clean, *changed = seen
    for group, output in enumerate(changed):
        moved = (output - clean).abs().amax(-1)[0]  # (heads,)
        noticed = {head for head in range(site.heads) if float(moved[head]) > 1e-6 * float(clean.abs().max())}
        if noticed != set(site.group(group)):
            raise HeadError(
                f"L{site.layer}KV{group} cannot be proved: heads {sorted(noticed)} use its values, not"
                f" {list(site.group(group))}"
            )


def _tolerance(x: Tensor) -> float:
    return {torch.float32: 1e-4, torch.float64: 1e-9}.get(x.dtype, 5e-2)
