"""The map of a model's heads: where the heads, key/value heads and MLP of each attention layer are."""

from __future__ import annotations

from dataclasses import dataclass, field

from reasoning_probe.utils.text import OneLineError


class HeadError(OneLineError):
    """A model whose heads, key/value groups or MLPs cannot be found or verified; the message is one line."""


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer: its heads, and what else of it can be switched off.

    ``layer`` is the number in the module's path, ``block`` the path of the decoder layer, ``path`` that of the output
    projection, whose input has ``heads * head_dim`` features. ``kv_heads`` is the number of key/value heads that the
    heads share, 0 if it is unknown. ``mlp`` is the path of the module whose output is the MLP's contribution to the
    residual stream, empty if there is none or if it is unknown.
    """

    layer: int
    block: str
    path: str
    heads: int
    head_dim: int
    kv_heads: int = field(default=0, compare=False)
    mlp: str = field(default="", compare=False)

    def group(self, kv_head: int) -> range:
        """Return the heads that share *kv_head*. They are neighbours, because models repeat their keys in order."""
        size = self.heads // self.kv_heads
        return range(kv_head * size, (kv_head + 1) * size)


@dataclass(frozen=True)
class HeadMap:
    """All attention layers of a model, lowest first."""

    attention_layers: tuple[AttentionLayer, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the attention layers, which are not contiguous in a hybrid model."""
        return tuple(attention_layer.layer for attention_layer in self.attention_layers)

    def __len__(self) -> int:
        """Return the number of heads in all layers."""
        return sum(attention_layer.heads for attention_layer in self.attention_layers)

    def attention_layer(self, layer: int) -> AttentionLayer:
        """Return the attention layer with the number *layer*. Raises ``KeyError`` if that layer has no attention."""
        for attention_layer in self.attention_layers:
            if attention_layer.layer == layer:
                return attention_layer
        raise KeyError(layer)
