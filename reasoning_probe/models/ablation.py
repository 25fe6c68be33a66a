"""Ablation: what is put in place of a head's or an MLP's output, and the hooks that put it there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import first_tensor, hooks, replace_first
from reasoning_probe.models.targets import Target
from reasoning_probe.models.weights import device_of
from reasoning_probe.utils.logging import silence_transformers

Replacement = Mapping[int, Tensor]
"""By layer, what stands in for each head's output, ``(heads, head_dim)``; a layer that is missing gets zeros.

Under ``~layer`` lies what stands in for its MLP's output, ``(1, hidden)``.
"""

ZERO: Replacement = {}

REFERENCE_PROMPTS = 64
"""Mean ablation averages over at most so many prompts of the dataset, its first."""


def head_mask(rows: Sequence[Target], site: AttentionLayer, device: Any) -> Tensor | None:
    """Return which heads of *site* are off in which row, ``(rows, 1, heads, 1)`` bool; ``None`` where none is."""
    mask = torch.zeros(len(rows), 1, site.heads, 1, dtype=torch.bool)
    for row, target in enumerate(rows):
        mask[row, 0, target.in_layer(site.layer)] = True
    return mask.to(device) if bool(mask.any()) else None


def switch_off(x: Tensor, mask: Tensor, site: AttentionLayer, values: Tensor | None) -> Tensor:
    """Return the projection input *x*, ``(rows, tokens, heads * head_dim)``, with the masked heads replaced."""
    split = x.view(*x.shape[:2], site.heads, site.head_dim)  # (rows, tokens, heads, head_dim)
    split = split.masked_fill(mask, 0) if values is None else torch.where(mask, values.to(x), split)
    return split.view(x.shape)


@contextmanager
def ablate(model: Any, head_map: HeadMap, rows: Sequence[Target], replacement: Replacement = ZERO) -> Iterator[None]:
    """While open, row *i* of every batch that *model* runs has the heads of ``rows[i]`` replaced.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` on a batch of another number of rows, rather than doing
    nothing.
    """
    handles = []
    for site in head_map.sites:
        mask = head_mask(rows, site, device_of(model))
        if mask is not None:
            hook = _hook(site, mask, replacement.get(site.layer))
            handles.append(model.get_submodule(site.path).register_forward_pre_hook(hook))
    for site in head_map.sites:
        off = torch.tensor([site.layer in target.mlps for target in rows], device=device_of(model))[:, None, None]
        if bool(off.any()):
            hook = _mlp_hook(site, off, replacement.get(~site.layer))
            handles.append(model.get_submodule(site.mlp).register_forward_hook(hook))
    with hooks(handles):
        yield


def as_rows(made: Tensor, rows: int, path: str) -> Tensor:
    """Return the hidden states that the module *path* made as ``(rows, tokens, hidden)``; some lay them out flat.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` where they are not of so many rows.
    """
    if made.dim() == 2 and made.shape[0] % rows == 0:
        made = made.view(rows, -1, made.shape[-1])
    if made.dim() != 3 or made.shape[0] != rows:
        raise HeadError(f"{path} made an output of shape {tuple(made.shape)} for {rows} rows")
    return made


def _mlp_hook(site: AttentionLayer, off: Tensor, values: Tensor | None) -> Any:
    def replace(module: nn.Module, args: Any, output: Any) -> Any:
        made = first_tensor(output)
        if made is None:
            raise HeadError(f"{site.mlp} made no hidden states")
        whole = as_rows(made, off.shape[0], site.mlp)  # (rows, tokens, hidden)
        at = off.to(whole.device)
        new = whole.masked_fill(at, 0) if values is None else torch.where(at, values.to(whole), whole)
        return replace_first(output, new.view(made.shape))

    return replace


def _hook(site: AttentionLayer, mask: Tensor, values: Tensor | None) -> Any:
    def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]
        if x.dim() != 3 or x.shape[0] != mask.shape[0]:
            raise HeadError(f"{site.path} got an input of shape {tuple(x.shape)} for {mask.shape[0]} rows")
        return (switch_off(x, mask.to(x.device), site, values), *args[1:])

    return replace


@contextmanager
def record_outputs(model: Any, head_map: HeadMap) -> Iterator[dict[int, Tensor]]:
    """While open, the last projection input of each layer is kept in the dict: ``(rows, tokens, heads, head_dim)``.

    Under ``~layer`` lies the output of its MLP, where there is one: ``(rows, tokens, 1, hidden)``.
    """
    seen: dict[int, Tensor] = {}

    def keep(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].detach()
            seen[site.layer] = x.view(*x.shape[:2], site.heads, site.head_dim)

        return hook

    def keep_mlp(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            made = first_tensor(output)
            assert made is not None
            seen[~site.layer] = as_rows(made.detach(), 1 if made.dim() == 2 else len(made), site.mlp)[:, :, None]

        return hook

    handles = [model.get_submodule(site.path).register_forward_pre_hook(keep(site)) for site in head_map.sites]
    handles += [model.get_submodule(s.mlp).register_forward_hook(keep_mlp(s)) for s in head_map.sites if s.mlp]
    with hooks(handles):
        yield seen


def mean_output(model: Any, head_map: HeadMap, prompts: Sequence[Tensor]) -> Replacement:
    """Return each head's output averaged over all positions of the reference *prompts*, each ``(1, tokens)`` ids.

    The mean over positions and prompts is the "mean ablation" of Wang et al. 2022 ("Interpretability in the wild").
    """
    total: dict[int, Tensor] = {}
    count = 0
    for ids in prompts:
        for layer, output in clean_output(model, head_map, ids).items():
            total[layer] = total.get(layer, 0) + output.sum(0).double().cpu()
        count += ids.shape[1]
    return {layer: (sums / count).to(device_of(model)) for layer, sums in total.items()}


@silence_transformers()
def clean_output(model: Any, head_map: HeadMap, ids: Tensor) -> dict[int, Tensor]:
    """Return every head's output on the prompt *ids*, ``(1, tokens)``, by layer: ``(tokens, heads, head_dim)``."""
    with torch.no_grad(), record_outputs(model, head_map) as seen:
        model(input_ids=ids, use_cache=False)
    return {layer: output[0] for layer, output in seen.items()}


def donor_output(model: Any, head_map: HeadMap, ids: Tensor) -> Replacement:
    """Return every head's output at the last position of another item's prompt *ids*, ``(1, tokens)``.

    It stands in at all positions of the row ("resample ablation", Chan et al. 2022, "Causal scrubbing").
    """
    return {layer: output[-1] for layer, output in clean_output(model, head_map, ids).items()}


def donor_of(prompt: str, prompts: Sequence[str], seed: int) -> str:
    """Return which of *prompts* the output is taken from for *prompt*: another one, if there is another.

    It hangs on the seed and the prompt alone, so that an outcome is the same whichever items were selected.
    """
    others = [other for other in prompts if other != prompt] or list(prompts)
    return random.Random(f"{seed} {prompt}").choice(others)


def reference_record(ablations: Sequence[str], references: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """Return what each ablation took its values from: ``reference`` of ``run.json``.

    A dataset's items take their values from its own prompts. ``sha256`` is over these as UTF-8, each followed by a
    zero byte.
    """
    return {
        ablation: {
            "averaged": "positions" if ablation == "mean" else None,
            "seed": seed if ablation == "resample" else None,
            "datasets": {
                name: {"prompts": len(used), "sha256": _digest(used)}
                for name, prompts in references.items()
                if (used := list(prompts)[: {"zero": 0, "mean": REFERENCE_PROMPTS}.get(ablation)])
            },
        }
        for ablation in ablations
    }


def _digest(prompts: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{prompt}\0" for prompt in prompts).encode("utf-8", "surrogatepass")).hexdigest()
