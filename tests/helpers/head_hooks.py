"""Plain hooks that replace heads and MLPs token by token in ``generate`` on one row: oracles of places, patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.targets import Target

StandIn = Callable[[str, int, slice], Any]
"""What stands in for the features of a module at a position, by the module's path, position and features.

``None`` keeps them; a head's are those of its projection's input, an MLP's all of its output.
"""


@contextmanager
def replaced(model: Any, head_map: HeadMap, target: Target, stand_in: StandIn) -> Iterator[None]:
    """Replace the heads and MLPs of *target*, as plain ``generate`` passes the tokens of one row.

    The prompt comes whole, and later tokens one by one; without a cache everything comes again.
    """
    passed: dict[str, int] = {}

    def change(name: str, rows: Any, parts: list[slice]) -> None:
        tokens = rows.shape[1]
        start = passed.get(name, 0) if tokens == 1 else 0
        passed[name] = start + tokens
        for index in range(tokens):
            for part in parts:
                value = stand_in(name, start + index, part)
                if value is not None:
                    rows[:, index, part] = value

    def heads(site: Any) -> Any:
        parts = [slice(head * site.head_dim, (head + 1) * site.head_dim) for head in target.in_layer(site.layer)]

        def hook(module: Any, args: Any) -> Any:
            x = args[0].clone()
            change(site.path, x, parts)
            return (x, *args[1:])

        return hook

    def mlp(site: Any) -> Any:
        def hook(module: Any, args: Any, output: Any) -> Any:
            x = (output[0] if isinstance(output, tuple) else output).clone()
            change(site.mlp, x.view(1, -1, x.shape[-1]), [slice(None)])
            return (x, *output[1:]) if isinstance(output, tuple) else x

        return hook

    handles = []
    for site in head_map.attention_layers:
        handles.append(model.get_submodule(site.path).register_forward_pre_hook(heads(site)))
        if site.layer in target.mlps:
            handles.append(model.get_submodule(site.mlp).register_forward_hook(mlp(site)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
