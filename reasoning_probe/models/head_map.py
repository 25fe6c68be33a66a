"""What is known of a model's layers: where the heads of each are, its key/value groups and its MLP."""

from __future__ import annotations

from dataclasses import dataclass, field


class HeadError(ValueError):
    """A model whose heads, groups or MLPs cannot be found or proved; the message is one line."""


@dataclass(frozen=True)
class AttentionLayer:
    """The heads of one attention layer, and what else of it can be switched off.

    ``layer`` is the number in the module's path, ``block`` the path of the decoder layer, ``path`` that of the output
    projection, whose input has ``heads * head_dim`` features. ``kv_heads`` is the number of key/value heads that the
    heads share, 0 where it cannot be told; ``mlp`` the path of the module whose output is the MLP's contribution to
    the residual stream, empty where there is none or where it cannot be told.
    """

    layer: int
    block: str
    path: str
    heads: int
    head_dim: int
    kv_heads: int = field(default=0, compare=False)
    mlp: str = field(default="", compare=False)

    def group(self, number: int) -> range:
        """Return the heads that share key/value head *number*: neighbours, as every model repeats its keys."""
        size = self.heads // self.kv_heads
        return range(number * size, (number + 1) * size)


@dataclass(frozen=True)
class HeadMap:
    """All attention layers of a model, lowest first."""

    sites: tuple[AttentionLayer, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the attention layers (not contiguous in a hybrid)."""
        return tuple(site.layer for site in self.sites)

    def __len__(self) -> int:
        """Return the number of heads in all layers."""
        return sum(site.heads for site in self.sites)

    def site(self, layer: int) -> AttentionLayer:
        """Return the site of *layer*; raises ``KeyError`` if it has no attention."""
        for site in self.sites:
            if site.layer == layer:
                return site
        raise KeyError(layer)
