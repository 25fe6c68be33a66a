"""Forward hooks, and the small differences between the interfaces of transformers' model classes."""

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
    """Return the hidden states that a module made, the first thing that it returned; ``None`` where it is no tensor."""
    made = output[0] if isinstance(output, tuple) and output else output
    return made if isinstance(made, Tensor) else None


def replace_first(output: Any, made: Tensor) -> Any:
    """Return a module's *output* with *made* in place of its hidden states; routers return others beside them."""
    return (made, *output[1:]) if isinstance(output, tuple) else made


def text_config(config: Any) -> Any:
    """Return the part of a transformers config that describes the decoder."""
    return config.get_text_config(decoder=True)


def cache_argument(model: Any) -> str:
    """Return what *model* calls the keys and values that it goes on from: transformers renamed them in 5.24."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def cache_of(output: Any) -> Any:
    """Return the keys and values of a model's *output*, under the name that its class has for them."""
    found = getattr(output, "cache", None)
    return output.past_key_values if found is None else found


def probe_ids(model: Any, tokens: int = PROBE_TOKENS) -> Tensor:
    """Return a fixed ``(1, tokens)`` batch of ordinary token ids on the model's device."""
    size = int(text_config(model.config).vocab_size)
    ids = [(11 + 5 * i) % size for i in range(tokens)]
    return torch.tensor([ids], device=device_of(model))


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    """Own *handles* of registered hooks, and always remove them."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
