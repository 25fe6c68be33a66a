"""Edits of one layer's heads, another in each row: what random directions and paths have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from reasoning_probe.models.head_map import AttentionLayer, HeadError
from reasoning_probe.models.hooks import hooks


class HeadEdit(Protocol):
    """Rows that each change the output of one layer's heads for the same prompt; ``len`` counts them."""

    @property
    def attention_layer(self) -> AttentionLayer:
        """The layer whose heads are edited."""

    def __len__(self) -> int: ...

    def part(self, rows: slice, /) -> HeadEdit:
        """Return these *rows* alone."""

    def apply(self, x: Tensor, /) -> Tensor:
        """Return the projection input *x*, ``(rows or 1, tokens, heads * head_dim)``, as each row has it."""


@contextmanager
def edited_heads(model: Any, edit: HeadEdit) -> Iterator[None]:
    """Make the change of row *i* of *edit* in row *i* of every batch of *model*.

    The passes raise :class:`~reasoning_probe.models.head_map.HeadError` on a batch of another number of rows.
    """
    attention_layer = edit.attention_layer
    width = attention_layer.heads * attention_layer.head_dim

    def change(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]  # (rows, tokens, heads * head_dim)
        if x.dim() != 3 or x.shape[0] != len(edit) or x.shape[2] != width:
            raise HeadError(f"{attention_layer.path} received an input of shape {tuple(x.shape)} for {len(edit)} rows")
        return (edit.apply(x), *args[1:])

    with hooks([model.get_submodule(attention_layer.path).register_forward_pre_hook(change)]):
        yield
