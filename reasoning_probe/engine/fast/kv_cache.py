"""Keys and values of rows that all have the same length, in buffers that are written in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class KVCacheLayer(DynamicLayer):  # type: ignore[misc]
    """The keys and values of one layer: two ``(rows, heads, tokens, head_dim)`` buffers of fixed capacity."""

    def __init__(self, owner: KVCache) -> None:
        super().__init__()
        self.owner = owner
        self.key_buffer: Tensor | None = None
        self.value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the old ones and return all of them."""
        rows, start, new = key_states.shape[0], self.owner.length, key_states.shape[2]
        if self.owner.positions is not None:
            keys, values = self.filled()
            row = torch.arange(rows, device=keys.device)[:, None]
            keys[row, :, self.owner.positions] = key_states.transpose(1, 2)  # (rows, new, heads, head_dim)
            values[row, :, self.owner.positions] = value_states.transpose(1, 2)
            return keys[:rows, :, : start + new], values[:rows, :, : start + new]
        if self.owner.branch is not None:
            start = self.owner.branch
            return (
                torch.cat([self._buffer("key_buffer", key_states)[:rows, :, :start], key_states], dim=2),
                torch.cat([self._buffer("value_buffer", value_states)[:rows, :, :start], value_states], dim=2),
            )
        keys, values = self.room(key_states, value_states)
        keys[:rows, :, start : start + new] = key_states
        values[:rows, :, start : start + new] = value_states
        return keys[:rows, :, : start + new], values[:rows, :, : start + new]

    def room(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return both buffers, made to fit *keys* and *values* where there are none yet."""
        return self._buffer("key_buffer", keys), self._buffer("value_buffer", values)

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        buffer: Tensor | None = getattr(self, name)
        if buffer is None:
            _, heads, _, size = like.shape
            rows = self.owner.rows or like.shape[0]
            buffer = like.new_empty(rows, heads, self.owner.capacity, size)
            setattr(self, name, buffer)
        return buffer

    def fill(self, keys: Tensor, values: Tensor) -> None:
        """Take buffers of the right shape as they are."""
        self.key_buffer, self.value_buffer = keys, values

    def filled(self) -> tuple[Tensor, Tensor]:
        """Return both buffers of a layer that has run."""
        assert self.key_buffer is not None
        assert self.value_buffer is not None
        return self.key_buffer, self.value_buffer

    def get_seq_length(self) -> int:
        """Return how many tokens the rows have; a layer that was passed over has as many as any other."""
        return self.owner.length if self.owner.branch is None else self.owner.branch

    def get_mask_sizes(self, query_length: int | Tensor) -> tuple[int, int]:
        """Return length and offset of the keys once *query_length* tokens are added."""
        # transformers 4.57 gives the new tokens' positions, 5 their number
        added = query_length.shape[0] if isinstance(query_length, Tensor) else query_length
        return self.get_seq_length() + added, 0


class KVCache(Cache):  # type: ignore[misc]
    """A key/value cache for transformers models in which ``length`` is set by the one who drives the passes.

    ``capacity`` is the number of tokens that fit; ``rows`` the number of rows, or 0 for as many as each layer sees at
    first. While ``branch`` is set, passes continue from that many tokens and leave the buffers as they are. While
    ``positions``, ``(rows, new)``, is set, each row writes its new tokens at its own places, below ``length + new``.
    """

    def __init__(self, layers: int, capacity: int, rows: int = 0) -> None:
        self.length, self.capacity, self.rows = 0, capacity, rows
        self.branch: int | None = None
        self.positions: Tensor | None = None
        super().__init__(layers=[KVCacheLayer(self) for _ in range(layers)])

    def buffers(self) -> Buffers:
        """Return (layer, keys, values) of each layer that holds any."""
        return [(index, *slot.filled()) for index, slot in enumerate(self.layers) if slot.key_buffer is not None]

    def token_bytes(self) -> int:
        """Return how many bytes the keys and values of a token take, in the layers that hold any."""
        pairs = [pair for _, *pair in self.buffers()]
        return sum(buffer.shape[1] * buffer.shape[3] * buffer.element_size() for pair in pairs for buffer in pair)

    def grown(self, capacity: int) -> KVCache:
        """Return a copy with room for *capacity* tokens."""
        copy = KVCache(len(self.layers), capacity, self.rows)
        copy.length = self.length
        for index, *buffers in self.buffers():
            wide = [buffer.new_empty(*buffer.shape[:2], capacity, buffer.shape[3]) for buffer in buffers]
            for to, buffer in zip(wide, buffers, strict=True):
                to[:, :, : self.length] = buffer[:, :, : self.length]
            copy.layers[index].fill(*wide)
        return copy

    def keep(self, rows: dict[int, Tensor]) -> None:
        """Keep only the rows whose indices are given by layer."""
        for index, keys, values in self.buffers():
            self.layers[index].fill(keys[rows[index]], values[rows[index]])

    def take(self, origin: KVOrigin, to: int) -> None:
        """Copy the keys and values of *origin* over row *to*, up to the present length."""
        held = [(layer, origin.clean_row, pair) for layer, *pair in origin.clean if layer < origin.start]
        held += [(layer, origin.own_row, pair) for layer, *pair in origin.own if layer >= origin.start]
        for layer, row, pair in held:
            for buffer, taken in zip(self.layers[layer].room(*pair), pair, strict=True):
                buffer[to, :, : self.length] = taken[row, :, : self.length]

    def move(self, source: int, to: int) -> None:
        """Copy row *source* over row *to*, up to the present length."""
        for _, keys, values in self.buffers():
            keys[to, :, : self.length] = keys[source, :, : self.length]
            values[to, :, : self.length] = values[source, :, : self.length]


Buffers = list[tuple[int, Tensor, Tensor]]
"""(layer, keys, values) of the layers that hold any; a tensor is ``(rows, heads, tokens, head_dim)``."""


@dataclass(frozen=True)
class KVOrigin:
    """Where a row's keys and values are: its own ones from layer ``start`` on, those of the clean row below."""

    start: int
    own: Buffers
    own_row: int
    clean: Buffers
    clean_row: int


NOWHERE = KVOrigin(0, [], 0, [], 0)


def gathered(rows: Sequence[KVOrigin], layers: int, capacity: int) -> KVCache:
    """Return slots of *capacity* tokens in which row *i* holds the keys and values of ``rows[i]``.

    What is unknown is filled with zeros: attention multiplies what a mask hides by nought, and fresh memory may hold
    what no product makes nought.
    """
    slots = KVCache(layers, capacity, rows=len(rows))
    every = {id(held): held for row in rows for held in (row.own, row.clean)}
    buffers = {key: {layer: pair for layer, *pair in held} for key, held in every.items()}
    for layer in range(layers):
        places: dict[int, list[tuple[int, int]]] = {}
        for to, row in enumerate(rows):
            held, at = (row.own, row.own_row) if row.start <= layer else (row.clean, row.clean_row)
            if layer in buffers[id(held)]:
                places.setdefault(id(held), []).append((to, at))
        filled: list[Tensor] = []
        for source, pairs in places.items():
            to_rows, from_rows = torch.tensor(pairs).T
            for which, buffer in enumerate(buffers[source][layer]):
                _, heads, known, size = buffer.shape
                if len(filled) <= which:
                    filled.append(buffer.new_zeros((len(rows), heads, capacity, size)))
                known = min(known, capacity)
                taken = buffer[from_rows.to(buffer.device), :, :known]
                filled[which][to_rows.to(buffer.device), :, :known] = taken
        if filled:
            slots.layers[layer].fill(*filled)
    return slots
