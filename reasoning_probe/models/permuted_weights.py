"""Query and key weights, permuted: the same model with heads that look where chance sends them.

Which features of which linear layers make the queries and keys is not read from names. Noise takes the place of the
output of every linear layer of a block, and those features along which an attention pattern has a gradient make it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.attention_patterns import recorded_patterns
from reasoning_probe.models.head_map import HeadError, HeadMap
from reasoning_probe.models.hooks import hooks, probe_ids


def query_key_features(model: Any, head_map: HeadMap) -> dict[str, Tensor]:
    """Return by the path of a linear layer which of its output features make queries or keys: ``(features,)``.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` where no gradients can be taken.
    """
    noise: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def replace_by_noise(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if not isinstance(output, Tensor) or not output.is_floating_point() or path in noise:
                return None
            noise[path] = torch.randn(output.shape, generator=generator).to(output).requires_grad_()
            return noise[path].clone()  # sharp attention has no gradient, that of noise has

        return hook

    def cut(module: nn.Module, args: Any, kwargs: Any) -> Any:
        def detached(value: Any) -> Any:
            return value.detach() if isinstance(value, Tensor) else value

        return tuple(map(detached, args)), {name: detached(value) for name, value in kwargs.items()}

    handles: list[Any] = []
    try:
        with hooks(handles), torch.enable_grad(), recorded_patterns(model, head_map) as patterns:
            for site in head_map.attention_layers:
                block = model.get_submodule(site.block)
                handles.append(block.register_forward_pre_hook(cut, with_kwargs=True))
                for name, part in block.named_modules():
                    path = f"{site.block}.{name}"
                    if path != site.path and getattr(getattr(part, "weight", None), "ndim", 0) == 2:
                        handles.append(part.register_forward_hook(replace_by_noise(path)))
            model(input_ids=probe_ids(model), use_cache=False)
        weights = [patterns[layer].weights for layer in head_map.layers]
        loss = torch.zeros(())
        for one in weights:
            loss = loss + (one * torch.randn(one.shape, generator=generator).to(one)).sum().cpu()
        gradients = torch.autograd.grad(loss, list(noise.values()), allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:100]
        raise HeadError(f"its query and key weights cannot be told apart: {text}") from error
    features = {
        path: (gradient != 0).flatten(0, -2).any(0).cpu()
        for path, gradient in zip(noise, gradients, strict=True)
        if gradient is not None
    }
    return {path: mask for path, mask in features.items() if bool(mask.any())}


@dataclass(frozen=True)
class PermutedWeights:
    """The weights of a model's linear layers with those that make queries and keys permuted, by path."""

    model: Any
    weights: dict[str, Tensor]

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """While open, the model has the permuted weights; on exit it has its own, the very same tensors."""
        before: list[tuple[Any, Tensor]] = []
        try:
            for path, weight in self.weights.items():
                parameter = self.model.get_submodule(path).weight
                before.append((parameter, parameter.data))
                parameter.data = weight
            yield
        finally:
            for parameter, data in before:
                parameter.data = data


def permute_weights(model: Any, features: dict[str, Tensor], seed: int) -> PermutedWeights:
    """Return the weights of *features*, those of each layer in an order that *seed* draws.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` where they are not in memory as plain numbers.
    """
    weights = {}
    for path, mask in features.items():
        module = model.get_submodule(path)
        weight = module.weight.data
        if weight.is_meta or not weight.is_floating_point():
            raise HeadError(f"{path}: its weights are not in memory as plain numbers, so they cannot be permuted")
        axis = 1 if hasattr(module, "nf") else 0  # GPT-2's Conv1D keeps its output features in columns
        if weight.shape[axis] != len(mask):
            raise HeadError(f"{path}: its weights do not match its output")
        index = mask.nonzero()[:, 0].to(weight.device)
        chosen = weight.index_select(axis, index)
        digest = hashlib.sha256(f"{seed} {path}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        order = torch.randperm(chosen.numel(), generator=generator).to(weight.device)
        weights[path] = weight.index_copy(axis, index, chosen.flatten()[order].view(chosen.shape))
    return PermutedWeights(model, weights)
