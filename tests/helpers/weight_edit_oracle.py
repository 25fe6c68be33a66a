"""The reference for ablation: heads disabled by editing weights, answers by transformers' plain ``generate``."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch


def edited(model: Any, path: str, heads: int, off: Iterable[int]) -> Any:
    """Return a copy of *model* in which the projection at *path* no longer reads the heads *off*."""
    twin = copy.deepcopy(model)
    edit(twin, path, heads, off)
    return twin


def edit(model: Any, path: str, heads: int, off: Iterable[int]) -> None:
    """Set the weights that read the heads *off* to zero, in place."""
    projection = model.get_submodule(path)
    with torch.no_grad():
        for head in off:
            if hasattr(projection, "nf"):  # GPT-2's Conv1D keeps its weight as (in, out)
                size = projection.weight.shape[0] // heads
                projection.weight[head * size : (head + 1) * size] = 0
            else:
                size = projection.weight.shape[1] // heads
                projection.weight[:, head * size : (head + 1) * size] = 0


def greedy(model: Any, ids: list[int], limit: int, eos: int | list[int] | None = None) -> list[int]:
    """Return the new tokens of ``generate`` on one prompt, one row."""
    prompt = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=eos,
            pad_token_id=0,
        )
    return out[0, len(ids) :].tolist()


def logprob(model: Any, ids: list[int], answer: list[int]) -> float:
    """Return the log-probability of *answer* after *ids*, from one plain forward pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + answer])).logits[0]
    logs = logits.double().log_softmax(-1)
    return float(sum(logs[len(ids) - 1 + i, token] for i, token in enumerate(answer)))
