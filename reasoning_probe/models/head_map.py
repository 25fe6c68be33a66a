"""What is known of a model's layers: where the heads of each are, its key/value groups and its MLP."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.models.weights import device_of

PROBE_TOKENS = 7  # an odd prime, so that no other axis of a small model is likely to have this length


class HeadError(ValueError):
    """A model whose heads, groups or MLPs cannot be found or proved; the message is one line."""


@dataclass(frozen=True)
class HeadSite:
    """The heads of one attention layer, and what else of it can be switched off.

    ``layer`` is the number in the module's path, ``block`` the path of the decoder layer, ``path`` that of the output
    projection, whose input has ``heads * head_dim`` features. ``kv_heads`` is the number of key/value heads that the
    heads share, 0 where it cannot be told; ``mlp`` the path of the module whose output is the MLP's contribution to
    the residual stream, empty where there is none or where it cannot be told.
    """

    layer: int
    block: str
    path: str
    heads: int
    head_dim: int
    kv_heads: int = field(default=0, compare=False)
    mlp: str = field(default="", compare=False)

    def group(self, number: int) -> range:
        """Return the heads that share key/value head *number*: neighbours, as every model repeats its keys."""
        size = self.heads // self.kv_heads
        return range(number * size, (number + 1) * size)


@dataclass(frozen=True)
class HeadMap:
    """All attention layers of a model, lowest first."""

    sites: tuple[HeadSite, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the attention layers (not contiguous in a hybrid)."""
        return tuple(site.layer for site in self.sites)

    def __len__(self) -> int:
        """Return the number of heads in all layers."""
        return sum(site.heads for site in self.sites)

    def site(self, layer: int) -> HeadSite:
        """Return the site of *layer*; raises ``KeyError`` if it has no attention."""
        for site in self.sites:
            if site.layer == layer:
                return site
        raise KeyError(layer)


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
