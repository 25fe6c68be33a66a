"""Targets: which heads and MLPs are switched off together, and how people write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from reasoning_probe.utils.target_names import (
    TargetPart,
    join_parts,
    kv_groups_of,
    part_name,
    read_part,
    read_range,
    split_parts,
)

if TYPE_CHECKING:
    from reasoning_probe.models.head_map import AttentionLayer, HeadMap

Ablation = Literal["zero", "mean", "resample"]
ABLATIONS: tuple[str, ...] = get_args(Ablation)
"""What can replace a head's output."""

MLP = -1
"""Stands in a target for a layer's MLP, where a head's number would stand."""


class TargetError(ValueError):
    """A target that cannot be read or does not exist in the model; the message is one line."""


@dataclass(frozen=True)
class Target:
    """What is switched off together; ``heads`` holds (layer, head) pairs, none for the baseline.

    The pair (layer, :data:`MLP`) is the layer's MLP.
    """

    name: str
    heads: frozenset[tuple[int, int]]

    @property
    def lowest(self) -> int:
        """The lowest layer in which something is off; below it nothing changes."""
        return min(layer for layer, _ in self.heads)

    def in_layer(self, layer: int) -> list[int]:
        """Return the heads of *layer* that are switched off, in order."""
        return sorted(head for at, head in self.heads if at == layer and head != MLP)

    @property
    def mlps(self) -> frozenset[int]:
        """The layers whose MLP is switched off."""
        return frozenset(layer for layer, head in self.heads if head == MLP)

    @property
    def groups(self) -> frozenset[tuple[int, int]]:
        """The key/value groups that the name speaks of, (layer, group) pairs."""
        return kv_groups_of(self.name)


def every_head(head_map: HeadMap) -> list[Target]:
    """Return one target a head, lowest layer first."""
    return [
        Target(part_name(site.layer, "H", head), frozenset({(site.layer, head)}))
        for site in head_map.sites
        for head in range(site.heads)
    ]


def every_layer(head_map: HeadMap) -> list[Target]:
    """Return one joint target a layer: all of its heads."""
    return [_layer(site.layer, head_map) for site in head_map.sites]


def every_mlp(head_map: HeadMap) -> list[Target]:
    """Return one target a layer that has an MLP: that MLP."""
    return [Target(part_name(site.layer, "MLP"), frozenset({(site.layer, MLP)})) for site in head_map.sites if site.mlp]


def check_spelling(spec: str) -> None:
    """Raise :class:`TargetError` if *spec* cannot be read, whatever the model."""
    for word in _words(spec):
        if read_range(word.upper()) is None:
            for name in split_parts(word):
                _read_part(name, word)


def parse_targets(spec: str, head_map: HeadMap) -> list[Target]:
    """Return the targets that *spec* names, each once, in its order.

    ``L3H7`` is a head, ``L3`` all heads of a layer as one joint target, ``L8-L11`` four such layers, one target
    each, ``L3KV1`` the heads that share key/value head 1 of layer 3, ``L3MLP`` that layer's MLP, ``L3H7+L5H1`` any of
    them jointly; commas separate targets.

    Raises :class:`TargetError` for what cannot be read and for what the model does not have.
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
            _layer(last, head_map)
        layers = [layer for layer in head_map.layers if first <= layer <= last]
        if not layers:
            raise TargetError(f"no layer of {word} has attention heads: {_has(head_map)}")
        return [_layer(layer, head_map) for layer in layers]
    targets = [_part_target(_read_part(name, word), head_map) for name in split_parts(word)]
    if len(targets) == 1:
        return targets
    return [Target(join_parts(t.name for t in targets), frozenset().union(*(t.heads for t in targets)))]


def _read_part(name: str, word: str) -> TargetPart:
    """Return what the part *name* of *word* names, in capital or small letters."""
    part = read_part(name.upper())
    if part is None:
        raise TargetError(f"cannot read the target {_quoted(word)}: write L3H7, L3, L8-L11, L3KV1, L3MLP or L3H7+L5H1")
    return part


def _part_target(part: TargetPart, head_map: HeadMap) -> Target:
    layer, kind, number = part
    all_heads = _layer(layer, head_map)
    site = head_map.site(layer)
    if kind == "KV":
        return _group(site, number)
    name = part_name(*part)
    if kind == "MLP":
        if not site.mlp:
            raise TargetError(f"there is no {name}: no MLP can be told apart in layer {layer} of this model")
        return Target(name, frozenset({(layer, MLP)}))
    if not kind:
        return all_heads
    if (layer, number) not in all_heads.heads:
        raise TargetError(f"there is no head {name}: {_has(head_map)}")
    return Target(name, frozenset({(layer, number)}))


def _group(site: AttentionLayer, number: int) -> Target:
    name, groups = part_name(site.layer, "KV", number), site.kv_heads
    if not groups:
        raise TargetError(f"there is no {name}: the key/value heads of layer {site.layer} cannot be told")
    if groups == site.heads:
        raise TargetError(f"there is no {name}: every head of layer {site.layer} has keys and values of its own")
    if number >= groups:
        raise TargetError(
            f"there is no {name}: layer {site.layer} has {groups} key/value heads (KV0 to KV{groups - 1})"
        )
    return Target(name, frozenset((site.layer, head) for head in site.group(number)))


def _layer(layer: int, head_map: HeadMap) -> Target:
    if layer not in head_map.layers:
        raise TargetError(f"there is no attention layer {part_name(layer)}: {_has(head_map)}")
    return Target(part_name(layer), frozenset((layer, head) for head in range(head_map.site(layer).heads)))


def _has(head_map: HeadMap) -> str:
    layers, heads = head_map.layers, sorted({site.heads for site in head_map.sites})
    contiguous = layers == tuple(range(layers[0], layers[-1] + 1))
    names = [part_name(layer) for layer in layers]
    named = f"{names[0]} to {names[-1]}" if contiguous else ", ".join(names)
    counts = " or ".join(str(count) for count in heads)
    return f"the model has {named} with {counts} heads each (H0 to H{heads[-1] - 1})"


def _quoted(text: str) -> str:
    """Return *text* in quotes, cut; what cannot be printed is escaped before it is counted."""
    quoted = repr(text)
    return quoted if len(quoted) <= 42 else f"{quoted[:38]}...{quoted[0]}"
