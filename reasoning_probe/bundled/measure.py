"""How good the bundled model is: its accuracies, and what each head does for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reasoning_probe.bundled.corpus import TEST_ITEMS, VALIDATION_ITEMS
from reasoning_probe.generators import generate
from reasoning_probe.items import Item
from reasoning_probe.prompts import PLAIN


def test_items(name: str) -> tuple[Item, ...]:
    """Return the test items of a generated dataset."""
    return generate(name, TEST_ITEMS)


def validation_items(name: str) -> tuple[Item, ...]:
    """Return the validation items of a generated dataset."""
    return generate(name, TEST_ITEMS + VALIDATION_ITEMS)[TEST_ITEMS:]


def accuracy(model: Any, coder: Any, items: Sequence[Item]) -> float:
    """Return the share of *items* whose whole reply is the expected answer."""
    replies = answers(model, coder, [item.question for item in items])
    return sum(reply == f" {item.answer}" for reply, item in zip(replies, items, strict=True)) / len(items)


@torch.no_grad()
def answers(model: Any, coder: Any, questions: Sequence[str], limit: int = 8) -> list[str]:
    """Return the greedy replies of at most *limit* tokens, without the end token, decoded in one batch."""
    prompts = coder([PLAIN.format(question=question) for question in questions])["input_ids"]
    ends = torch.tensor([len(prompt) for prompt in prompts])
    tokens = torch.full((len(prompts), int(ends.max()) + limit), coder.pad_token_id)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    rows = torch.arange(len(prompts))
    for step in range(limit):
        # The model is causal: padding on the right changes nothing at the positions that are read.
        hidden = model.transformer(tokens[:, : int(ends.max()) + step], use_cache=False).last_hidden_state
        tokens[rows, ends + step] = model.lm_head(hidden[rows, ends + step - 1]).argmax(-1)
    replies = []
    for row, end in zip(tokens.tolist(), ends.tolist(), strict=True):
        reply = row[end : end + limit]
        if coder.eos_token_id in reply:
            reply = reply[: reply.index(coder.eos_token_id)]
        replies.append(coder.decode(reply))
    return replies


def write(model: Any, coder: Any, recipe: Any, seconds: float, folder: Path) -> None:
    """Write measured.json and MODEL_CARD.md."""
