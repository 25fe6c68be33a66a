"""First-order attribution: what switching a head off would do, estimated for all heads by one backward pass.

The change of the expected answer's log-probability is taken to be linear in every head's output: its gradient there
times the difference between what stands in for the head and what it says, over the positions where it is off (Syed et
al. 2023, "Attribution patching outperforms automated circuit discovery"; Kramár et al. 2024, "AtP*").

A gradient at the prompt itself says little where the model is sure. Integrated gradients take its mean along a path of
inputs instead: from the mean embedding of the tokens to their own embeddings (Hanna, Pezzelle and Belinkov 2024, "Have
faith in faithfulness", whose path begins at a corrupted prompt; questions of unlike lengths have none).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.engine.tokenization import EncodedQuery
from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import hooks
from reasoning_probe.utils.logging import silence_transformers

Estimates = dict[tuple[int, int], float]
"""By (layer, head), the estimated change of the expected answer's log-probability, in nats."""


def estimates(
    model: Any, head_map: HeadMap, encoded: EncodedQuery, replacements: Sequence[Replacement], steps: int = 1
) -> list[Estimates]:
    """Return what switching off each head would do to the query *encoded*, for each of *replacements*.

    The gradient is the mean over *steps* inputs, the last of which is the query itself: 1 is attribution, more are
    integrated gradients. Each takes one forward pass and one backward pass. Raises
    :class:`~reasoning_probe.models.head_map.HeadError` where the model cannot be differentiated.
    """
    slopes: dict[int, Tensor | None] = {}
    try:
        with torch.enable_grad(), _frozen(model), silence_transformers():
            for step in range(1, steps + 1):
                outputs, gradients = _gradients(model, head_map, encoded, step / steps)
                for layer, gradient in gradients.items():
                    before = slopes.get(layer)
                    mean = None if gradient is None else gradient / steps
                    slopes[layer] = mean if before is None else before if mean is None else before + mean
    except Exception as error:  # quantised layers and kernels of a family's own raise whatever they like
        message = " ".join(str(error).split())[:120]
        raise HeadError(
            f"{type(model).__name__}: its heads cannot be screened, since taking gradients failed"
            f" ({type(error).__name__}: {message}): run it without --probe-screen"
        ) from error
    return [
        {
            (site.layer, head): value
            for site in head_map.attention_layers
            for head, value in enumerate(_changes(site, outputs[site.layer], slopes[site.layer], replacement))
        }
        for replacement in replacements
    ]


def _gradients(
    model: Any, head_map: HeadMap, encoded: EncodedQuery, share: float
) -> tuple[dict[int, Tensor], dict[int, Tensor | None]]:
    """Return each layer's projection input, (1, tokens, heads * head_dim), and the gradient there.

    The tokens' embeddings are a *share* of their own and for the rest their mean.
    """
    answer = torch.tensor([encoded.answer], device=encoded.prompt.device)  # (1, answer)
    ids = torch.cat([encoded.prompt, answer[:, :-1]], dim=1)
    with _tapped(model, head_map) as taps, _mixed_embeddings(model, share):
        logits = model(input_ids=ids, use_cache=False).logits[:, -answer.shape[1] :]
        logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        logprob = logs.gather(-1, answer[..., None]).sum()
        gradients = torch.autograd.grad(logprob, list(taps.values()), allow_unused=True)
    return taps, dict(zip(taps, gradients, strict=True))


@contextmanager
def _mixed_embeddings(model: Any, share: float) -> Iterator[None]:
    """While open, every token's embedding is a *share* of its own and for the rest the mean over the tokens."""

    def mix(module: nn.Module, args: Any, embeddings: Tensor) -> Tensor:  # (1, tokens, hidden)
        return share * embeddings + (1 - share) * embeddings.mean(dim=1, keepdim=True)

    handles = [] if share == 1 else [model.get_input_embeddings().register_forward_hook(mix)]
    with hooks(handles):
        yield


def _changes(site: AttentionLayer, output: Tensor, slope: Tensor | None, replacement: Replacement) -> list[float]:
    """Return the estimate of each head of *site*; *output* and *slope* are ``(1, tokens, heads * head_dim)``."""
    if slope is None:  # nothing that the answer depends on
        return [0.0] * site.heads
    split = (-1, site.heads, site.head_dim)  # (tokens, heads, head_dim)
    head_outputs = output.detach().view(split).double()
    span = 0, head_outputs.shape[0]
    instead = replacement.within(site.layer, span)  # (tokens or 1, heads, head_dim)
    change = -head_outputs if instead is None else instead.double() - head_outputs
    mask = replacement.positions.mask(span)
    if not isinstance(mask, bool):
        change = change * mask.to(change.device)[:, None, None]  # (tokens, heads, head_dim)
    return [float(value) for value in (slope.view(split).double() * change).sum((0, 2))]


@contextmanager
def _tapped(model: Any, head_map: HeadMap) -> Iterator[dict[int, Tensor]]:
    """While open, every layer's projection input is kept in the dict, as part of the graph."""
    taps: dict[int, Tensor] = {}

    def tap(site: AttentionLayer) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            x = args[0]
            taps[site.layer] = x if x.requires_grad else x.detach().requires_grad_()  # the lowest begins the graph
            return (taps[site.layer], *args[1:])

        return hook

    handles = [
        model.get_submodule(site.path).register_forward_pre_hook(tap(site)) for site in head_map.attention_layers
    ]
    with hooks(handles):
        yield taps


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """While open, no parameter asks for a gradient: the graph then begins at the lowest heads and keeps no weights."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
