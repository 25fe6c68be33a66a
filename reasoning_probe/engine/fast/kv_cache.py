"""A key/value cache for rows of equal length, in preallocated buffers that are written in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from reasoning_probe.engine.transfers import to_device
from reasoning_probe.models.fixed_tiles import in_whole_tiles


class KVCacheLayer(DynamicLayer):  # type: ignore[misc]
    """The keys and values of one layer: two ``(rows, heads, tokens, head_dim)`` buffers of fixed capacity."""

    def __init__(self, owner: KVCache) -> None:
        super().__init__()
        self.owner = owner
        self.key_buffer: Tensor | None = None
        self.value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new ``(rows, heads, new, head_dim)`` keys and values, and return all that the rows now have."""
        rows, start, new = key_states.shape[0], self.owner.length, key_states.shape[2]
        visible = self.owner.visible(start + new)
        if self.owner.positions is not None:
            keys, values = self.buffers()
            row = torch.arange(rows, device=keys.device)[:, None]  # (rows, 1)
            keys[row, :, self.owner.positions] = key_states.transpose(1, 2).to(keys)  # (rows, new, heads, head_dim)
            values[row, :, self.owner.positions] = value_states.transpose(1, 2).to(values)
            return keys[:rows, :, :visible], values[:rows, :, :visible]
        if self.owner.branch_length is not None:
            start = self.owner.branch_length
            return (  # (rows, heads, start + new, head_dim) each
                torch.cat([self._allocated("key_buffer", key_states)[:rows, :, :start], key_states], dim=2),
                torch.cat([self._allocated("value_buffer", value_states)[:rows, :, :start], value_states], dim=2),
            )
        keys, values = self.allocated(key_states, value_states)
        keys[:rows, :, start : start + new] = key_states
        values[:rows, :, start : start + new] = value_states
        return keys[:rows, :, :visible], values[:rows, :, :visible]

    def allocated(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return both buffers; allocate them to fit *keys* and *values* if the layer has none yet."""
        return self._allocated("key_buffer", keys), self._allocated("value_buffer", values)

    def _allocated(self, name: str, like: Tensor) -> Tensor:
        buffer: Tensor | None = getattr(self, name)
        if buffer is None:
            _, heads, _, size = like.shape
            buffer = self.owner.new_buffer(like, self.owner.rows or like.shape[0], heads, size)
            setattr(self, name, buffer)
        return buffer

    def set_buffers(self, keys: Tensor, values: Tensor) -> None:
        """Use *keys* and *values*, which have the right shape, as the buffers."""
        self.key_buffer, self.value_buffer = keys, values

    def buffers(self) -> tuple[Tensor, Tensor]:
        """Return both buffers of a layer that has run."""
        assert self.key_buffer is not None
        assert self.value_buffer is not None
        return self.key_buffer, self.value_buffer

    def get_seq_length(self) -> int:
        """Return how many tokens the rows have; a layer that was skipped has as many as any other."""
        return self.owner.length if self.owner.branch_length is None else self.owner.branch_length

    def get_mask_sizes(self, query_length: int | Tensor) -> tuple[int, int]:
        """Return length and offset of the keys once *query_length* tokens are added."""
        # transformers 4.57 passes the new tokens' positions, 5 their number
        added = query_length.shape[0] if isinstance(query_length, Tensor) else query_length
        length = self.get_seq_length() + added
        return self.owner.visible(length) if self.owner.branch_length is None else length, 0


class KVCache(Cache):  # type: ignore[misc]
    """A key/value cache for transformers models whose ``length`` is set by the caller that runs the passes.

    ``capacity`` is the number of tokens that fit; ``rows`` the number of rows, or 0 for as many as each layer's first
    pass has. While ``branch_length`` is set, passes continue from that many tokens and leave the buffers unchanged.
    While ``positions``, ``(rows, new)``, is set, each row writes its new tokens to its own positions, below
    ``length + new``. If ``in_tiles``, keys and values are kept as the attention of
    :mod:`reasoning_probe.models.fixed_tiles` takes them: in float32 and in whole tiles, the last of which masks hide.
    """

    def __init__(self, layers: int, capacity: int, rows: int = 0, *, in_tiles: bool = False) -> None:
        self.length, self.rows, self.in_tiles = 0, rows, in_tiles
        self.capacity = self.visible(capacity)
        self.branch_length: int | None = None
        self.positions: Tensor | None = None
        super().__init__(layers=[KVCacheLayer(self) for _ in range(layers)])

    def visible(self, tokens: int) -> int:
        """Return how many positions attention sees when there are so many *tokens*."""
        return in_whole_tiles(tokens) if self.in_tiles else tokens

    def new_buffer(self, like: Tensor, rows: int, heads: int, size: int) -> Tensor:
        """Return a buffer for keys or values *like* these, which attention may multiply by zero where it is masked."""
        if self.in_tiles:
            return like.new_zeros((rows, heads, self.capacity, size), dtype=torch.float32)
        return like.new_empty((rows, heads, self.capacity, size))

    def filled(self, source: Tensor, rows: Tensor, length: int) -> Tensor:
        """Return a new buffer with the first *length* tokens of the *rows*, ``(rows,)``, of the buffer *source*."""
        buffer = self.new_buffer(source, len(rows), source.shape[1], source.shape[3])
        buffer[:, :, :length] = source[rows, :, :length]  # (rows, heads, tokens, head_dim)
        return buffer

    def buffers(self) -> Buffers:
        """Return (layer, keys, values) of each layer that has any."""
        return [(index, *layer.buffers()) for index, layer in enumerate(self.layers) if layer.key_buffer is not None]

    def token_bytes(self) -> int:
        """Return how many bytes the keys and values of one token of one row take, over the layers that have any."""
        pairs = [pair for _, *pair in self.buffers()]
        return sum(buffer.shape[1] * buffer.shape[3] * buffer.element_size() for pair in pairs for buffer in pair)

    def with_capacity(self, capacity: int) -> KVCache:
        """Return a copy with room for *capacity* tokens."""
        copy = KVCache(len(self.layers), capacity, self.rows, in_tiles=self.in_tiles)
        copy.length = self.length
        for index, *buffers in self.buffers():
            copies = [copy.new_buffer(buffer, buffer.shape[0], buffer.shape[1], buffer.shape[3]) for buffer in buffers]
            for destination, buffer in zip(copies, buffers, strict=True):
                destination[:, :, : self.length] = buffer[:, :, : self.length]
            copy.layers[index].set_buffers(*copies)
        return copy

    def keep_rows(self, rows: dict[int, Tensor]) -> None:
        """Drop all rows but those whose indices *rows* lists for each layer."""
        for index, keys, values in self.buffers():
            self.layers[index].set_buffers(keys[rows[index]], values[rows[index]])

    def load_row(self, origin: KVOrigin, row: int) -> None:
        """Copy the keys and values of *origin* into *row*, up to the current length."""
        sources = [(layer, origin.baseline_row, pair) for layer, *pair in origin.baseline if layer < origin.start]
        sources += [(layer, origin.ablated_row, pair) for layer, *pair in origin.ablated if layer >= origin.start]
        for layer, source_row, pair in sources:
            for buffer, source in zip(self.layers[layer].allocated(*pair), pair, strict=True):
                buffer[row, :, : self.length] = source[source_row, :, : self.length]  # (heads, tokens, head_dim)

    def copy_row(self, source: int, destination: int) -> None:
        """Copy row *source* over row *destination*, up to the current length."""
        for _, keys, values in self.buffers():
            keys[destination, :, : self.length] = keys[source, :, : self.length]
            values[destination, :, : self.length] = values[source, :, : self.length]


Buffers = list[tuple[int, Tensor, Tensor]]
"""(layer, keys, values) of the layers that have any; a tensor is ``(rows, heads, tokens, head_dim)``."""


@dataclass(frozen=True)
class KVOrigin:
    """Where a row's keys and values are stored: from layer ``start`` on in ``ablated``, below it in ``baseline``."""

    start: int
    ablated: Buffers
    ablated_row: int
    baseline: Buffers
    baseline_row: int


NO_ORIGIN = KVOrigin(0, [], 0, [], 0)


def gather_rows(origins: Sequence[KVOrigin], layers: int, capacity: int, *, in_tiles: bool = False) -> KVCache:
    """Return a cache of *capacity* tokens in which row *i* has the keys and values of ``origins[i]``.

    Unknown positions are zeros: attention multiplies masked values by zero, and uninitialised memory may hold NaN,
    which times zero is not zero.
    """
    kv_cache = KVCache(layers, capacity, rows=len(origins), in_tiles=in_tiles)
    sources = {id(buffers): buffers for origin in origins for buffers in (origin.ablated, origin.baseline)}
    by_layer = {key: {layer: pair for layer, *pair in buffers} for key, buffers in sources.items()}
    for layer in range(layers):
        row_pairs: dict[int, list[tuple[int, int]]] = {}  # by source: (row in the new cache, row in the source)
        for row, origin in enumerate(origins):
            ablated = origin.start <= layer
            buffers = origin.ablated if ablated else origin.baseline
            if layer in by_layer[id(buffers)]:
                source_row = origin.ablated_row if ablated else origin.baseline_row
                row_pairs.setdefault(id(buffers), []).append((row, source_row))
        gathered: list[Tensor] = []  # keys, values
        for key, pairs in row_pairs.items():
            rows, source_rows = to_device(pairs, by_layer[key][layer][0].device).T  # (pairs,) each
            for index, buffer in enumerate(by_layer[key][layer]):
                _, heads, length, size = buffer.shape
                if len(gathered) <= index:
                    gathered.append(buffer.new_zeros((len(origins), heads, kv_cache.capacity, size)))
                length = min(length, kv_cache.capacity)
                known = buffer[source_rows, :, :length]  # (pairs, heads, length, head_dim)
                gathered[index][rows, :, :length] = known
        if gathered:
            kv_cache.layers[layer].set_buffers(*gathered)
    return kv_cache
