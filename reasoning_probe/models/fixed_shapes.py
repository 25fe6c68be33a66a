"""Fixed shapes: passes in which every kernel has one shape, so that a row's bits do not depend on its batch.

A product's kernel is chosen by its shape, and another kernel sums in another order. Inside :class:`FixedShapes` a model
runs the attention of :mod:`reasoning_probe.models.fixed_tiles`, and its linear layers see no fewer than a least number
of rows: shorter inputs are padded. Norms and activations compute each row the same way in any batch. (He et al. 2025,
"Defeating nondeterminism in LLM inference", say what differs on GPUs.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

from reasoning_probe.models import fixed_tiles
from reasoning_probe.utils.logging import silence_transformers

LEAST_ROWS = (8, 16, 64)
"""Rows that linear layers are padded to on a CPU, tried in this order: oneDNN needs 8, other libraries more."""

BLOCKS = (64, 256)
"""Rows of the blocks that linear layers run in where the library chooses a kernel for each number of rows.

GPUs' libraries do, and oneDNN on CPUs with AMX.
"""

TRIED_ROWS = (9, 33, 64, 320, 640)
"""Numbers of rows at which products are compared with those of :data:`LEAST_ROWS`' largest."""

Products = Mapping[int, Callable[[Tensor], Tensor]]
"""Products to multiply with in place of torch's own, by the ``id`` of the weight."""


def rows_change_products(model: Any, products: Products) -> bool:
    """Tell whether a row's product with a weight of *model* depends on how many rows are multiplied with it.

    Each shape of a weight is tried once, which takes a second where the proof of a whole model takes many.
    """
    shapes: dict[torch.Size, Any] = {}
    for module in model.modules():
        if type(module) in (torch.nn.Linear, Conv1D) and module.weight.device.type != "meta":
            shapes.setdefault(module.weight.shape, module)
    with torch.inference_mode():
        for shape, module in shapes.items():
            weight: Tensor = module.weight
            features = shape[1] if isinstance(module, torch.nn.Linear) else shape[0]
            product = products.get(id(weight), module)
            numbers = torch.arange(max(TRIED_ROWS) * features, device=weight.device)
            x = (0.7 * numbers).sin().view(-1, features).to(weight.dtype)  # (rows, in)
            least = LEAST_ROWS[-1]
            few = product(x[:least])  # (least, out)
            for rows in TRIED_ROWS:
                compared = min(rows, least)
                if rows > LEAST_ROWS[0] and not torch.equal(product(x[:rows])[:compared], few[:compared]):
                    return True
    return False


class UnfixableError(RuntimeError):
    """A model that cannot run in fixed shapes; the message says why."""


class FixedShapes:
    """Runs *model* in fixed shapes; raises :class:`UnfixableError` if its attention cannot be replaced."""

    def __init__(
        self,
        model: Any,
        least_rows: int,
        products: Products | None = None,
        *,
        in_blocks: bool = False,
        caches_tiles: bool = True,
    ) -> None:
        self.model, self.least_rows, self.products, self.in_blocks = model, least_rows, products or {}, in_blocks
        self.caches_tiles = caches_tiles  # whether caches hold what attention takes: whole tiles in float32
        self._depth = 0
        self._configs = _configs_of(model)
        fixed_tiles.register()
        with self.running():
            if not _uses_fixed_tiles(model):
                raise UnfixableError("its attention does not go through transformers' AttentionInterface")

    @property
    def key(self) -> str:
        """What the bits of an answer depend on."""
        kinds = ", packed" * bool(self.products) + ", blocks" * self.in_blocks
        return f"{self.least_rows} rows, {fixed_tiles.KEYS} keys{kinds}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """While open, passes of the model have fixed shapes; on exit its own attention and experts are restored."""
        if self._depth:
            yield
            return
        before = [
            (config, {name: vars(config)[name] for name in _SWITCHES if name in vars(config)})
            for config in self._configs
        ]
        self._depth += 1
        try:
            self._switch()
            with _PaddedShapes(self.least_rows, self.products, in_blocks=self.in_blocks):
                yield
        finally:
            self._depth -= 1
            for config, switches in before:
                vars(config).update(switches)

    def _switch(self) -> None:
        """Let the model use the attention of fixed tiles, and experts that multiply one after another."""
        try:
            with silence_transformers():
                self.model.set_attn_implementation(fixed_tiles.NAME)
                if hasattr(self.model, "set_experts_implementation"):
                    self.model.set_experts_implementation("eager")  # the others multiply in shapes of their own
        except (AttributeError, ValueError, RuntimeError) as error:
            raise UnfixableError(f"its attention cannot be replaced ({str(error)[:120]})") from error


_SWITCHES = ("_attn_implementation_internal", "_experts_implementation_internal")
"""Where configs keep what they use. The public setters refuse to restore the ``None`` that some configs begin with."""


def _configs_of(model: Any) -> list[Any]:
    """Return the configs of *model*, of its parts and of the models inside it, each once."""
    waiting = [model.config, *(module.config for module in model.modules() if hasattr(module, "config"))]
    configs: dict[int, Any] = {}
    while waiting:
        config = waiting.pop()
        if id(config) not in configs and hasattr(config, "sub_configs"):
            configs[id(config)] = config
            waiting += [part for name in config.sub_configs if (part := getattr(config, name, None)) is not None]
    return list(configs.values())


def _uses_fixed_tiles(model: Any) -> bool:
    """Tell whether the model's attention, and that of its text model, is now that of fixed tiles."""
    config = model.config
    return all(part._attn_implementation == fixed_tiles.NAME for part in (config, config.get_text_config(decoder=True)))


_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)

_NAMES = "silu gelu mish elu selu celu softplus logsigmoid tanh sigmoid exp exp2 expm1 log1p erf sin cos"
_ELEMENTWISE = frozenset(
    getattr(holder, name) for name in _NAMES.split() for holder in (functional, torch, Tensor) if hasattr(holder, name)
)
"""Functions of single numbers that torch computes in vectors, and the last few numbers of a thread another way."""

_TREATED = frozenset({*_ELEMENTWISE, *_PRODUCTS, functional.linear, torch.addmm, torch.bmm})
"""The functions that compute in other shapes inside a :class:`_PaddedShapes`."""

VECTOR = 64
"""Numbers that a vectorised loop takes at a time, at most."""

SMALL = 16**3
"""Multiplications up to which torch computes a product in half precision itself, rather than by oneDNN."""

INNER = 16
"""Batched products have at least one row for so many features: with fewer, MKL takes a kernel for small products."""

GRAIN = 32768
"""Numbers from which torch divides an elementwise function among threads."""


class _PaddedShapes(TorchFunctionMode):
    """While open, no product with a weight sees fewer than *least_rows* rows, and no vector is left half full."""

    def __init__(self, least_rows: int, products: Products, *, in_blocks: bool) -> None:
        super().__init__()
        self.least_rows, self.products, self.in_blocks = least_rows, products, in_blocks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _TREATED:  # nearly all calls: every attribute of a tensor is one
            return func(*args, **kwargs) if kwargs else func(*args)
        if func in _ELEMENTWISE:
            return _in_full_vectors(lambda x: func(x, *args[1:], **(kwargs or {})), args[0])
        if func is functional.linear and not kwargs:
            product = self.products.get(id(args[1])) or (lambda x: func(x, *args[1:]))
            return self._padded(product, args[0], args[1])
        if func is torch.addmm and not kwargs:  # transformers' Conv1D
            bias, x, weight = args
            product = self.products.get(id(weight)) or (lambda x: func(bias, x, weight))
            return self._padded(product, x, weight)
        if func is torch.bmm and not kwargs:
            return self._padded_batch(*args)
        if func in _PRODUCTS and not kwargs and args[1].dim() == 2 and args[0].dim() > 1:
            return self._padded(lambda x: func(x, args[1]), args[0], args[1])
        return func(*args, **(kwargs or {}))

    def _padded(self, product: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor) -> Tensor:
        """Return the *product* of *x*, ``(..., in)``, and *weight* in at least so many rows, or in blocks of them."""
        rows, least_rows = x.shape[:-1].numel(), max(self.least_rows, SMALL // max(1, weight.numel()) + 1)
        if rows == least_rows or (rows > least_rows and not self.in_blocks):
            return product(x)
        if rows > least_rows:
            blocks = torch.split(x.reshape(rows, -1), least_rows)
            return torch.cat([self._padded(product, block, weight) for block in blocks]).view(*x.shape[:-1], -1)
        padded = x.new_zeros(least_rows, x.shape[-1])  # (least_rows, in)
        padded[:rows] = x.reshape(rows, -1)
        return product(padded)[:rows].view(*x.shape[:-1], -1)  # (..., out)

    def _padded_batch(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the products of *x*, ``(batch, rows, inner)``, and *y*, ``(batch, inner, out)``, in so many rows."""
        rows, least_rows = x.shape[1], max(self.least_rows, x.shape[2] // INNER)
        if rows == least_rows or (rows > least_rows and not self.in_blocks):
            return torch.bmm(x, y)
        if rows > least_rows:
            return torch.cat([self._padded_batch(block, y) for block in torch.split(x, least_rows, dim=1)], dim=1)
        padded = x.new_zeros(x.shape[0], least_rows, x.shape[2])  # (batch, least_rows, inner)
        padded[:, :rows] = x
        return torch.bmm(padded, y)[:, :rows].contiguous()  # (batch, rows, out)


def _in_full_vectors(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return *function* of every number of *x*, each thread of which computes a multiple of :data:`VECTOR`."""
    if x.device.type != "cpu":
        return function(x)
    unit = VECTOR * min(torch.get_num_threads(), -(-x.numel() // GRAIN))
    if not unit or (x.numel() % unit == 0 and x.is_contiguous()):
        return function(x)
    padded = functional.pad(x.reshape(-1), (0, -x.numel() % unit))
    return function(padded)[: x.numel()].view(x.shape)
