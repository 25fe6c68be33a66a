"""Forward hooks, and what differs between the interfaces of transformers' model classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.models.weights import device_of

PROBE_TOKENS = 7  # an odd prime, so that no other axis of a small model is likely to have this length


def first_tensor(output: Any) -> Tensor | None:
    """Return the hidden states in a module's *output*, which come first; ``None`` if that is no tensor."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def replace_first(output: Any, hidden: Tensor) -> Any:
    """Return a module's *output* with *hidden* in place of its hidden states; routers return more than these."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def text_config(config: Any) -> Any:
    """Return the part of a transformers config that describes the decoder."""
    return config.get_text_config(decoder=True)


def cache_argument(model: Any) -> str:
    """Return the name of the argument for cached keys and values, which transformers renamed in 5.24."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def cache_of(output: Any) -> Any:
    """Return the cached keys and values in a model's *output*, whichever name its class gives them."""
    cache = getattr(output, "cache", None)
    return output.past_key_values if cache is None else cache


def probe_ids(model: Any, tokens: int = PROBE_TOKENS) -> Tensor:
    """Return a fixed ``(1, tokens)`` batch of ordinary token ids on the model's device."""
    size = int(text_config(model.config).vocab_size)
    ids = [(11 + 5 * position) % size for position in range(tokens)]
    return torch.tensor([ids], device=device_of(model))  # (1, tokens)


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    """Remove the hooks behind *handles* on leaving the context, whatever happens inside it."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
