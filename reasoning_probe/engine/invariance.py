"""The proof of invariance: in fixed shapes, a row's logits are bit for bit the same however it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.memory import out_of_memory
from reasoning_probe.models.fixed_shapes import FixedShapes
from reasoning_probe.models.hooks import cache_argument, probe_ids, text_config
from reasoning_probe.utils.logging import silence_transformers

TOKENS = 75
"""Tokens of the row that is tried: more than a tile of keys, and no whole number of tiles."""

OTHERS = 5
"""Rows of other tokens that share a batch with it."""

WINDOW, STEPS = 8, 5
"""Tokens in a window, and tokens that are run one by one."""

TOLERANCE = 0.2
"""The root mean square by which fixed shapes may change logits, in standard deviations: half precision changes 0.03."""


def broken_invariance(model: Any, shapes: FixedShapes) -> str:
    """Return how a row's logits depend on its batch, or on fixed shapes themselves; empty if they do not."""
    context = getattr(text_config(model.config), "max_position_embeddings", None)
    tokens = min(TOKENS, context) if isinstance(context, int) and context > 0 else TOKENS
    ids = probe_ids(model, tokens)  # (1, tokens)
    try:
        with torch.inference_mode(), silence_transformers():
            usual = model(input_ids=ids, use_cache=False).logits.float()  # (1, tokens, vocabulary)
            with shapes.running():
                alone = model(input_ids=ids, use_cache=False).logits  # (1, tokens, vocabulary)
                change = float((alone.float() - usual).square().mean().sqrt() / usual.std())
                if not change <= TOLERANCE:
                    return "fixed shapes change what the model computes"
                for way, logits in _ways(model, ids, shapes.caches_tiles):
                    if not torch.equal(logits, alone[:, -logits.shape[1] :]):
                        return f"its logits {way} differ from those of a row alone"
    except Exception as error:  # a family's code can fail on a batch, a mask or a cache with any kind of error
        if out_of_memory(error):
            raise
        return f"it does not take a batch of the proof ({type(error).__name__}: {str(error)[:120]})"
    return ""


def _ways(model: Any, ids: Tensor, in_tiles: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield each other way to run the row *ids*, with its logits, ``(1, tokens, vocabulary)`` or its last ones."""
    run = _runner(model)
    tokens = ids.shape[1]
    vocabulary = int(text_config(model.config).vocab_size)
    shifts = torch.arange(1, OTHERS + 1, device=ids.device)[:, None]  # (others, 1)
    others = (ids + 3 * shifts) % vocabulary  # (others, tokens)
    batch = torch.cat([others[:3], ids, others[3:]])  # (rows, tokens)
    yield "in a batch", run(batch)[3:4]
    yield "in windows", _in_parts(run, model, ids, [WINDOW] * (tokens // WINDOW + 1), in_tiles)
    steps = [tokens - STEPS, *[1] * STEPS]
    yield "step by step", _in_parts(run, model, ids, steps, False)  # as ``generate`` does
    yield "in a batch, step by step", _in_parts(run, model, batch, steps, in_tiles)[3:4]
    longer = torch.cat([batch, batch[:, :3]], dim=1)  # (rows, tokens + 3): padded on the right
    if getattr(text_config(model.config), "max_position_embeddings", tokens + 3) >= tokens + 3:
        yield "pooled with longer rows", run(longer)[3:4, :tokens]
    prefix = tokens // 2
    cache = KVCache(_layers(model), tokens, rows=1, in_tiles=in_tiles)
    run(ids[:, :prefix], cache)
    for index, keys, values in cache.buffers():
        cache.layers[index].set_buffers(keys.expand(3, -1, -1, -1).clone(), values.expand(3, -1, -1, -1).clone())
    cache.length = prefix
    yield "behind a shared prefix", run(torch.cat([others[:2, prefix:], ids[:, prefix:]]), cache)[2:]


def _runner(model: Any) -> Callable[..., Tensor]:
    name = cache_argument(model)

    def run(ids: Tensor, cache: KVCache | None = None) -> Tensor:
        kwargs = {"use_cache": False} if cache is None else {"use_cache": True, name: cache}
        logits: Tensor = model(input_ids=ids, **kwargs).logits  # (rows, tokens, vocabulary)
        return logits

    return run


def _in_parts(run: Callable[..., Tensor], model: Any, ids: Tensor, sizes: list[int], in_tiles: bool) -> Tensor:
    """Return the logits of *ids*, run so many tokens at a time as *sizes* say: ``(rows, tokens, vocabulary)``."""
    cache = KVCache(_layers(model), ids.shape[1], in_tiles=in_tiles)
    parts = []
    for size in sizes:
        part = ids[:, cache.length : cache.length + size]  # (rows, size)
        if part.shape[1]:
            parts.append(run(part, cache))
            cache.length += part.shape[1]
    return torch.cat(parts, dim=1)


def _layers(model: Any) -> int:
    return int(text_config(model.config).num_hidden_layers)
