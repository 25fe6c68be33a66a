"""Targets: which heads and MLPs are switched off together, and how a list of them is parsed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from reasoning_probe.data.items import PLACES, Arm
from reasoning_probe.data.places import ALL, ANSWER, LAST
from reasoning_probe.utils.target_names import (
    TargetPart,
    join_parts,
    kv_groups_of,
    part_name,
    read_part,
    read_range,
    split_parts,
)
from reasoning_probe.utils.text import OneLineError

if TYPE_CHECKING:
    from reasoning_probe.models.head_map import AttentionLayer, HeadMap

Ablation = Literal["zero", "mean", "resample", "patch", "patch-same", "restore"]
ABLATIONS: tuple[str, ...] = get_args(Ablation)
"""The values that can replace a head's output."""

PATCHES: dict[str, Arm] = {"patch": "counterfactual", "patch-same": "same_answer", "restore": "counterfactual"}
"""The ablations that take a head's output, token by token, from another prompt: from which of the item's donors.

``restore`` asks the counterfactual and takes the values from the item's own prompt: see :func:`.restored`.
"""

MLP = -1
"""The number that stands for a layer's MLP in place of a head's number."""


class TargetError(OneLineError):
    """A target that cannot be read or does not exist in the model; the message is one line."""


@dataclass(frozen=True)
class Target:
    """The heads and MLPs that are switched off together; ``heads`` holds (layer, head) pairs, none for the baseline.

    The pair (layer, :data:`MLP`) is the layer's MLP.
    """

    name: str
    heads: frozenset[tuple[int, int]]

    @property
    def lowest(self) -> int:
        """The lowest layer in which something is off; no activation below it changes."""
        return min(layer for layer, _ in self.heads)

    def in_layer(self, layer: int) -> list[int]:
        """Return the heads of *layer* that are switched off, in order."""
        return sorted(head for head_layer, head in self.heads if head_layer == layer and head != MLP)

    @property
    def mlps(self) -> frozenset[int]:
        """The layers whose MLP is switched off."""
        return frozenset(layer for layer, head in self.heads if head == MLP)

    @property
    def groups(self) -> frozenset[tuple[int, int]]:
        """The key/value groups in the name, (layer, group) pairs."""
        return kv_groups_of(self.name)


def check_ablations(names: Sequence[str], where: str) -> None:
    """Raise :class:`TargetError` for ablations that cannot go together, or not at the place *where*."""
    if "restore" in names and len(names) > 1:
        other = next(name for name in names if name != "restore")
        raise TargetError(f"restore asks the counterfactual questions and {other} the items' own: run it by itself")
    patching = next((name for name in names if name in PATCHES), None)
    if patching is not None and where == ANSWER:
        raise TargetError(f"{patching} replaces what heads give at tokens of the prompt: heads stay on in the answer")
    if patching == "restore" and where not in PLACES:
        raise TargetError(f"restore asks the counterfactual questions, whose parts are not marked: use {ALL} or {LAST}")


def every_head(head_map: HeadMap) -> list[Target]:
    """Return a target for each head, lowest layer first."""
    return [
        Target(part_name(attention_layer.layer, "H", head), frozenset({(attention_layer.layer, head)}))
        for attention_layer in head_map.attention_layers
        for head in range(attention_layer.heads)
    ]


def every_layer(head_map: HeadMap) -> list[Target]:
    """Return a joint target for each layer: all of its heads."""
    return [_layer_target(layer, head_map) for layer in head_map.layers]


def every_mlp(head_map: HeadMap) -> list[Target]:
    """Return a target for the MLP of each layer that has one."""
    layers = [attention_layer.layer for attention_layer in head_map.attention_layers if attention_layer.mlp]
    return [Target(part_name(layer, "MLP"), frozenset({(layer, MLP)})) for layer in layers]


def unique_targets(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return *targets*, each once, without those that switch nothing off.

    Raises :class:`TargetError` where two of one name have different heads.
    """
    by_name: dict[str, Target] = {}
    for target in targets:
        if target.heads and by_name.setdefault(target.name, target) != target:
            raise TargetError("two targets have the same name and other heads: give each a name of its own")
    return tuple(by_name.values())


def check_spelling(spec: str) -> None:
    """Raise :class:`TargetError` if *spec* cannot be read for any model."""
    for word in _words(spec):
        if read_range(word.upper()) is None:
            for name in split_parts(word):
                _read_part(name, word)


def parse_targets(spec: str, head_map: HeadMap) -> list[Target]:
    """Return the targets that *spec* names, each once, in the order of *spec*.

    ``L3H7`` is a head, ``L3`` all heads of a layer as one joint target, ``L8-L11`` four such layers, one target
    each, ``L3KV1`` the heads that share key/value head 1 of layer 3, ``L3MLP`` that layer's MLP, ``L3H7+L5H1`` any of
    them jointly; commas separate targets.

    Raises :class:`TargetError` if *spec* cannot be read or names something that the model does not have.
    """
    targets: dict[str, Target] = {}
    for word in _words(spec):
        for target in _parse_word(word, head_map):
            targets.setdefault(target.name, target)
    return list(targets.values())


def _words(spec: str) -> list[str]:
    return [word.strip() for word in spec.split(",")]


def _parse_word(word: str, head_map: HeadMap) -> Iterable[Target]:
    layer_range = read_range(word.upper())
    if layer_range is not None:
        first, last = layer_range
        if first > last:
            raise TargetError(f"{_quoted(word)} runs backwards: write {part_name(last)}-{part_name(first)}")
        if last > head_map.layers[-1]:
            raise _no_layer(last, head_map)
        layers = [layer for layer in head_map.layers if first <= layer <= last]
        if not layers:
            raise TargetError(f"no layer of {word} has attention heads: {_heads_of_model(head_map)}")
        return [_layer_target(layer, head_map) for layer in layers]
    targets = [_part_target(_read_part(name, word), head_map) for name in split_parts(word)]
    if len(targets) == 1:
        return targets
    return [Target(join_parts(t.name for t in targets), frozenset().union(*(t.heads for t in targets)))]


def _read_part(name: str, word: str) -> TargetPart:
    """Return the part of a layer that *name*, a part of *word*, names in capital or small letters."""
    part = read_part(name.upper())
    if part is None:
        raise TargetError(f"cannot read the target {_quoted(word)}: write L3H7, L3, L8-L11, L3KV1, L3MLP or L3H7+L5H1")
    return part


def _part_target(part: TargetPart, head_map: HeadMap) -> Target:
    layer, kind, number = part
    all_heads = _layer_target(layer, head_map)
    attention_layer = head_map.attention_layer(layer)
    if kind == "KV":
        return _group_target(attention_layer, number)
    name = part_name(*part)
    if kind == "MLP":
        if not attention_layer.mlp:
            raise TargetError(f"there is no {name}: no MLP can be identified in layer {layer} of this model")
        return Target(name, frozenset({(layer, MLP)}))
    if not kind:
        return all_heads
    if (layer, number) not in all_heads.heads:
        raise TargetError(f"there is no head {name}: {_heads_of_model(head_map)}")
    return Target(name, frozenset({(layer, number)}))


def _group_target(attention_layer: AttentionLayer, kv_head: int) -> Target:
    layer, kv_heads = attention_layer.layer, attention_layer.kv_heads
    name = part_name(layer, "KV", kv_head)
    if not kv_heads:
        raise TargetError(f"there is no {name}: the key/value heads of layer {layer} cannot be identified")
    if kv_heads == attention_layer.heads:
        raise TargetError(f"there is no {name}: every head of layer {layer} has keys and values of its own")
    if kv_head >= kv_heads:
        raise TargetError(f"there is no {name}: layer {layer} has {kv_heads} key/value heads (KV0 to KV{kv_heads - 1})")
    return Target(name, frozenset((layer, head) for head in attention_layer.group(kv_head)))


def _layer_target(layer: int, head_map: HeadMap) -> Target:
    if layer not in head_map.layers:
        raise _no_layer(layer, head_map)
    heads = range(head_map.attention_layer(layer).heads)
    return Target(part_name(layer), frozenset((layer, head) for head in heads))


def _no_layer(layer: int, head_map: HeadMap) -> TargetError:
    return TargetError(f"there is no attention layer {part_name(layer)}: {_heads_of_model(head_map)}")


def _heads_of_model(head_map: HeadMap) -> str:
    """Return which layers and heads the model has, as the end of a message."""
    layers = head_map.layers
    heads = sorted({attention_layer.heads for attention_layer in head_map.attention_layers})
    names = [part_name(layer) for layer in layers]
    contiguous = layers == tuple(range(layers[0], layers[-1] + 1))
    named = f"{names[0]} to {names[-1]}" if contiguous else ", ".join(names)
    counts = " or ".join(map(str, heads))
    return f"the model has {named} with {counts} heads each (H0 to H{heads[-1] - 1})"


def _quoted(text: str) -> str:
    """Return *text* in quotes, shortened; unprintable characters are escaped first, so that their escapes count."""
    quoted = repr(text)
    return quoted if len(quoted) <= 42 else f"{quoted[:38]}...{quoted[0]}"
