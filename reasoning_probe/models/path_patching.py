"""Path patching: what one head writes is taken out of what one later head reads, and of nothing else.

The direct path between two heads in the residual stream, with everything between them as it is (Wang et al. 2022,
"Interpretability in the wild"; Goldowsky-Dill et al. 2023, "Localizing model behavior with path patching"). Rows of one
batch divide the work. A *sender* row is the clean pass but for the layers that are to be read: these get the clean
stream without what its head writes. A *path* row is an ordinary pass in which the receiver's output comes from a sender
row. So the model's own norms, masks, caches and attention run, and no family needs code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.ablation import ZERO, PassingTokens, Replacement, as_rows, at_positions
from reasoning_probe.models.components import verify_residual
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import first_tensor, hooks, replace_first
from reasoning_probe.utils.logging import silence_transformers

Head = tuple[int, int]
"""A layer's number and a head's."""


@dataclass(frozen=True)
class Path:
    """What ``sender`` writes, on its way to ``receiver``, a head of a later layer."""

    sender: Head
    receiver: Head


@dataclass(frozen=True)
class PathRow:
    """What one row of a batch is for; all rows that belong together have the same tokens.

    A row with a ``sender`` is the pass of row ``source``, the clean one, in which the layers that are read lack what
    the sender writes; ``replacement`` stands in for the sender. A row with a ``receiver`` takes this head's output from
    row ``source``, a sender's. A row with neither is clean.
    """

    sender: Head | None = None
    receiver: Head | None = None
    source: int = 0
    replacement: Replacement = ZERO


CLEAN = PathRow()


def sender_rows(senders: Sequence[Head], replacement: Replacement) -> list[PathRow]:
    """Return the clean row and one for each of *senders*."""
    return [CLEAN, *(PathRow(sender=sender, replacement=replacement) for sender in senders)]


def path_rows(paths: Sequence[Path], replacement: Replacement) -> list[PathRow]:
    """Return the rows that measure *paths* in one batch: the clean one, one for each sender, one for each path."""
    senders = list(dict.fromkeys(path.sender for path in paths))
    sources = {sender: row for row, sender in enumerate(senders, start=1)}
    receivers = [PathRow(receiver=path.receiver, source=sources[path.sender]) for path in paths]
    return [*sender_rows(senders, replacement), *receivers]


def stacked(groups: Iterable[Sequence[PathRow]]) -> list[PathRow]:
    """Return the rows of several *groups*, each of other tokens, as those of one batch."""
    rows: list[PathRow] = []
    for group in groups:
        first = len(rows)
        rows += [replace(row, source=row.source + first) for row in group]
    return rows


@silence_transformers()
def verify_paths(model: Any, head_map: HeadMap, paths: Iterable[Path]) -> None:
    """Verify that what the senders of *paths* write reaches their receivers in the residual stream unchanged.

    Raises :class:`~reasoning_probe.models.head_map.HeadError`, one line, where a layer between them does more to the
    stream than add what its attention and its MLP write, or where it is not known what it does.
    """
    ends = [layer for path in paths for layer in (path.sender[0], path.receiver[0])]
    if not ends:
        return
    between = range(min(ends), max(ends) + 1)
    for layer in between:
        if layer not in head_map.layers:
            raise HeadError(f"layer {layer} has no attention: what it does to the residual stream is not known")
        if not head_map.attention_layer(layer).mlp:
            raise HeadError(f"layer {layer}: what it adds to the residual stream beside its attention is not known")
    try:
        with torch.no_grad():
            verify_residual(model, [head_map.attention_layer(layer) for layer in between])
    except HeadError as error:
        raise HeadError(f"its layers do more to the residual stream than add to it ({error})") from error


@contextmanager
def patched_paths(
    model: Any,
    head_map: HeadMap,
    rows: Sequence[PathRow],
    reads: dict[int, Tensor] | None = None,
    receivers: Iterable[int] = (),
) -> Iterator[None]:
    """Let row *i* of every batch that *model* runs inside the context be what ``rows[i]`` says.

    The layers *receivers* are read in sender rows, beside those that path rows need; *reads* gets the heads' outputs
    there, ``(rows, tokens, heads * head_dim)`` by layer. The passes raise
    :class:`~reasoning_probe.models.head_map.HeadError` on a batch of another number of rows.
    """
    read = {*receivers, *(row.receiver[0] for row in rows if row.receiver is not None)}
    senders = {row.sender[0] for row in rows if row.sender is not None}
    watched = [site for site in head_map.attention_layers if site.layer in read | senders]
    relay = _Relay(rows, {} if reads is None else reads, frozenset(read))
    handles: list[Any] = []
    with hooks(handles):
        for site in watched:
            block = model.get_submodule(site.block)
            handles.append(block.register_forward_pre_hook(relay.before_block(site), with_kwargs=True))
            handles.append(block.register_forward_hook(relay.after_block(site)))
            handles.append(model.get_submodule(site.path).register_forward_pre_hook(relay.before_projection(site)))
            if site.layer in senders:
                handles.append(model.get_submodule(site.mlp).register_forward_hook(relay.after_mlp(site)))
        yield


class _Relay:
    """The hooks of one batch, which carry hidden states between its rows."""

    def __init__(self, rows: Sequence[PathRow], reads: dict[int, Tensor], read: frozenset[int]) -> None:
        self.rows, self.reads, self.read = rows, reads, read
        self.sources = [row.source if row.sender is not None else number for number, row in enumerate(rows)]
        self.written: dict[int, Tensor] = {}  # by sender row, (tokens, hidden)

    def before_block(self, site: AttentionLayer) -> Callable[..., Any]:
        """Take out of the input of a layer that is read what the senders of earlier layers write."""

        def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
            if site.layer not in self.read:
                return None
            hidden = args[0] if args else kwargs["hidden_states"]  # (rows, tokens, hidden)
            self._check(hidden, site.block)
            changed = hidden[self.sources]  # a copy
            for number, row in enumerate(self.rows):
                if row.sender is not None and row.sender[0] < site.layer:
                    changed[number] -= self.written[number].to(hidden.device)
            return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

        return hook

    def before_projection(self, site: AttentionLayer) -> Callable[..., Any]:
        """Switch off the layer's senders in their rows; give the path rows what their receivers read."""
        passing = PassingTokens()

        def hook(module: nn.Module, args: Any) -> Any:
            x = args[0]  # (rows, tokens, heads * head_dim)
            self._check(x, site.path)
            if site.layer in self.read:
                self.reads[site.layer] = x.detach()
            changed = x.clone()
            split = changed.view(*x.shape[:2], site.heads, site.head_dim)  # (rows, tokens, heads, head_dim)
            span = passing.span(x.shape[1])
            for number, row in enumerate(self.rows):
                if row.sender is not None and row.sender[0] == site.layer:
                    off = torch.arange(site.heads, device=x.device)[None, None, :, None] == row.sender[1]
                    split[number] = at_positions(split[number][None], off, row.replacement, site.layer, span)[0]
                if row.receiver is not None and row.receiver[0] == site.layer:
                    split[number, :, row.receiver[1]] = x[row.source].view_as(split[number])[:, row.receiver[1]]
            return (changed, *args[1:])

        return hook

    def after_mlp(self, site: AttentionLayer) -> Callable[..., Any]:
        """Let the MLP of a sender's layer give what it gives in the clean row."""

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            original = first_tensor(output)
            if original is None:
                raise HeadError(f"{site.mlp} returned no hidden states")
            hidden = as_rows(original, len(self.rows), site.mlp)  # (rows, tokens, hidden)
            return replace_first(output, hidden[self.sources].view(original.shape))

        return hook

    def after_block(self, site: AttentionLayer) -> Callable[..., Any]:
        """Keep what the layer's senders write, and let sender rows go on as the clean one."""

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            hidden = first_tensor(output)
            if hidden is None:
                raise HeadError(f"{site.block} returned no hidden states")
            self._check(hidden, site.block)
            for number, row in enumerate(self.rows):
                if row.sender is not None and row.sender[0] == site.layer:
                    self.written[number] = hidden[row.source] - hidden[number]  # (tokens, hidden)
            return replace_first(output, hidden[self.sources])

        return hook

    def _check(self, tensor: Tensor, path: str) -> None:
        if tensor.dim() != 3 or tensor.shape[0] != len(self.rows):
            raise HeadError(f"{path} has hidden states of shape {tuple(tensor.shape)} for {len(self.rows)} rows")


@dataclass(frozen=True)
class HeadOutputs:
    """Rows that each give one head of a layer another output on the first tokens: what the head reads along a path.

    ``heads`` has a head for each row, ``values`` is ``(rows, tokens, head_dim)``.
    """

    attention_layer: AttentionLayer
    heads: tuple[int, ...]
    values: Tensor

    def __len__(self) -> int:
        return len(self.heads)

    def part(self, rows: slice) -> HeadOutputs:
        """Return these *rows* alone."""
        return replace(self, heads=self.heads[rows], values=self.values[rows])

    def apply(self, x: Tensor) -> Tensor:
        """Return the projection input *x*, ``(rows or 1, tokens, heads * head_dim)``, of each row with its output."""
        site, tokens = self.attention_layer, self.values.shape[1]
        changed = x.expand(len(self), -1, -1).clone()  # (rows, tokens, heads * head_dim)
        split = changed.view(*changed.shape[:2], site.heads, site.head_dim)  # (rows, tokens, heads, head_dim)
        for row, head in enumerate(self.heads):
            split[row, :tokens, head] = self.values[row].to(split)
        return changed


def outputs_along(
    head_map: HeadMap, paths: Sequence[Path], reads: Mapping[Head, Mapping[int, Tensor]]
) -> list[tuple[list[int], HeadOutputs]]:
    """Return by receiving layer the indices of *paths*, and their receivers' outputs.

    *reads* holds by sender and layer the heads' outputs there without what the sender writes, ``(tokens, heads *
    head_dim)``.
    """
    by_layer: dict[int, list[int]] = {}
    for index, path in enumerate(paths):
        by_layer.setdefault(path.receiver[0], []).append(index)
    edits = []
    for layer, indices in by_layer.items():
        site = head_map.attention_layer(layer)
        heads = tuple(paths[index].receiver[1] for index in indices)
        values = [
            reads[paths[index].sender][layer].view(-1, site.heads, site.head_dim)[:, head]
            for index, head in zip(indices, heads, strict=True)
        ]
        edits.append((indices, HeadOutputs(site, heads, torch.stack(values))))
    return edits
