"""Attention heads: found by running the model once, verified when it is loaded.

A head is the slice ``[h*head_dim, (h+1)*head_dim)`` of the *input* of the attention output projection. No table of
model families says where that projection is. While the model runs once on a few tokens, a tracer watches for the
attention pattern itself: a softmax over ``(..., heads, tokens, tokens)`` scores or a call of scaled dot-product
attention. The linear layer that runs next, inside the module that computed the pattern, is the output projection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reasoning_probe.models.components import find_components, verify_components
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import PROBE_TOKENS, hooks, probe_ids, text_config
from reasoning_probe.models.weights import weights_loaded
from reasoning_probe.utils.logging import silence_transformers

if TYPE_CHECKING:
    from reasoning_probe.models.targets import Target

_META_VALUES = {"__bool__": True, "__contains__": False, "item": 1, "__int__": 1, "__index__": 1, "__float__": 1.0}
"""What a tensor without data returns where code reads its value, as in "is this mask all ones?"."""

SINK_COLUMNS = 8
"""Attention sinks add up to this many columns to an attention pattern."""


def _is_linear(module: nn.Module) -> bool:
    """Tell whether *module* is a linear layer of any kind: torch's, GPT-2's Conv1D, a quantised or adapted one."""
    if isinstance(module, nn.Embedding):
        return False
    if hasattr(module, "in_features") or hasattr(module, "nf"):
        return True
    weight = getattr(module, "weight", None)
    return next(module.children(), None) is None and isinstance(weight, Tensor) and weight.dim() == 2


def _pattern_heads(scores: Tensor, tokens: int) -> int | None:
    """Return the number of heads if *scores* is an attention pattern of one row, else ``None``."""
    if scores.dim() < 3 or scores.shape[-2] != tokens or not tokens <= scores.shape[-1] <= tokens + SINK_COLUMNS:
        return None
    return scores.numel() // (scores.shape[-2] * scores.shape[-1])


class _PatternWatch(TorchFunctionMode):
    """Calls *on_pattern* with the number of heads whenever an attention pattern is computed."""

    def __init__(self, tokens: int, on_pattern: Callable[[int], None]) -> None:
        super().__init__()
        self.tokens, self.on_pattern = tokens, on_pattern

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        heads = None
        if name == "scaled_dot_product_attention":
            query = args[0] if args else kwargs["query"]  # (1, heads, tokens, head_dim)
            heads = query.shape[1] if query.dim() == 4 and query.shape[2] == self.tokens else None
        elif name == "softmax":
            scores = args[0] if args else kwargs["input"]  # (..., heads, tokens, tokens)
            heads = _pattern_heads(scores, self.tokens)
        elif name in _META_VALUES and args[0].is_meta:
            return _META_VALUES[name]
        elif name in ("nonzero", "where") and len(args) == 1 and args[0].is_meta:
            # Code asks which tokens go to an expert. One does, so that the expert runs.
            indices = torch.zeros(1, args[0].dim(), dtype=torch.long, device="meta")  # (1, dimensions)
            return indices.unbind(1) if name == "where" or kwargs.get("as_tuple") else indices
        if heads is not None:
            self.on_pattern(heads)
        return func(*args, **kwargs)


class _Tracer:
    """Follows one forward pass: which module computed an attention pattern, which linear layer came next."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.stack: list[nn.Module] = []  # the modules that are running, outermost first
        self.linear_depth = 0
        self.open: list[tuple[nn.Module, int]] = []  # (module that computed a pattern, its number of heads)
        self.projections: list[tuple[str, int, int]] = []  # (path, heads, input features), in the order they ran
        self.last_owner: nn.Module | None = None  # the module of the last projection, while it is running

    def pattern(self, heads: int) -> None:
        owner = self.stack[-1]
        if not self.open or self.open[-1][0] is not owner:
            self.open.append((owner, heads))

    def enter(self, module: nn.Module, args: Any) -> None:
        self.stack.append(module)
        if not _is_linear(module):
            return
        self.linear_depth += 1
        if self.linear_depth > 1 or not self.open or not args or not isinstance(args[0], Tensor):
            return
        owner, heads = self.open[-1]
        features = int(args[0].shape[-1])
        if features % heads:
            return  # not a concatenation of heads: a gate or a router that runs in between
        projection = (self.names[module], heads, features)
        if owner not in self.stack:
            # The pattern's module has ended without a projection (BERT's self-attention), so this is the projection.
            self.projections.append(projection)
            self.open.pop()
        elif self.projections and self.last_owner is owner:
            # Gates may run between the pattern and the projection: the *last* linear layer inside the owner counts.
            self.projections[-1] = projection
        else:
            self.projections.append(projection)
            self.last_owner = owner

    def leave(self, module: nn.Module) -> None:
        self.stack.pop()
        if _is_linear(module):
            self.linear_depth -= 1
        if self.open and self.open[-1][0] is module and self.projections and self.last_owner is module:
            self.open.pop()
            self.last_owner = None


@contextmanager
def _trace(model: nn.Module, tokens: int) -> Iterator[_Tracer]:
    """Trace the forward pass, on *tokens* tokens, that runs inside the context."""
    tracer = _Tracer(model)
    handles: list[Any] = []
    with hooks(handles):
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(lambda m, args: tracer.enter(m, args)))
            handles.append(module.register_forward_hook(lambda m, args, out: tracer.leave(m), always_call=True))
        with _PatternWatch(tokens, tracer.pattern):
            yield tracer


@contextmanager
def _autocast_without_data(model: Any) -> Iterator[None]:
    """Let a model on the meta device turn autocasting off, as rotary tables do in transformers 4.57.

    They name the model's device, and torch has no autocasting for the meta device.
    """
    original = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return original("cpu" if device_type == "meta" else device_type, *args, **kwargs)

    if model.device.type == "meta":
        torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.autocast = original  # type: ignore[misc]


@silence_transformers()
def find_heads(model: Any) -> HeadMap:
    """Return where the heads of *model* are. It runs once on seven tokens, with or without data (meta device).

    Raises :class:`HeadError` if it has no attention heads of this kind, if its attention modules are shared between
    layers, or if config and model disagree about the number of heads.
    """
    name = type(model).__name__
    with _trace(model, PROBE_TOKENS) as tracer, _autocast_without_data(model), torch.no_grad():
        try:
            model(input_ids=probe_ids(model), use_cache=False)
        except Exception as error:
            if model.device.type != "meta":
                raise
            text = " ".join(str(error).split())[:120]  # its code reads values, which a model without data lacks
            raise HeadError(f"{name} cannot be run without its weights, to see its heads: {text}") from error
    if not tracer.projections:
        raise HeadError(f"{name} has no attention heads to switch off: run it without --ablate-heads")
    attention_layers = _attention_layers(name, tracer.projections)
    _check_config(model, attention_layers)
    with _PatternWatch(PROBE_TOKENS, lambda heads: None), _autocast_without_data(model), torch.no_grad():
        return HeadMap(find_components(model, attention_layers))


def _attention_layers(name: str, projections: Iterable[tuple[str, int, int]]) -> list[AttentionLayer]:
    """Return the layers of the model class *name* that hold the *projections*: (path, heads, input features)."""
    attention_layers = []
    for path, heads, features in projections:
        block = re.search(r"^(.*?\.(\d+))\.", path)
        if block is None:
            raise HeadError(f"{name}: the attention projection {path} is in no numbered layer")
        attention_layers.append(AttentionLayer(int(block[2]), block[1], path, heads, features // heads))
    attention_layers.sort(key=lambda attention_layer: attention_layer.layer)
    if len({attention_layer.path for attention_layer in attention_layers}) < len(attention_layers):
        raise HeadError(f"{name} runs an attention module more than once in a pass: its heads are no single targets")
    if len({attention_layer.layer for attention_layer in attention_layers}) < len(attention_layers):
        raise HeadError(f"{name} has several attention modules in a layer: L0H0 would not say which head is meant")
    return attention_layers


def _check_config(model: Any, attention_layers: list[AttentionLayer]) -> None:
    """Raise :class:`HeadError` if the config declares another number of heads than ran."""
    config = text_config(model.config)
    # A decoder taken out of an encoder-decoder model has its own number beside the encoder's.
    names = ("num_attention_heads", "decoder_attention_heads")
    declared = {getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)}
    traced = {attention_layer.heads for attention_layer in attention_layers}
    if declared and not declared & traced:
        raise HeadError(
            f"{type(model).__name__}: the config says {' or '.join(map(str, sorted(declared)))} heads a layer, but"
            f" {sorted(traced)} ran: its heads cannot be told apart"
        )


@silence_transformers()
def verify_heads(model: Any, head_map: HeadMap, targets: Iterable[Target] = ()) -> None:
    """Verify *head_map* on the loaded weights. Raises :class:`HeadError` if it is wrong.

    Each projection runs exactly once in a pass with ``heads * head_dim`` input features; the heads' contributions plus
    the bias are the projection's output; zeroing all heads leaves only the bias; zeroing none changes no bit.
    MLPs and key/value groups are verified if *targets* switch them off.
    """
    checks = [_ProjectionCheck(model, attention_layer) for attention_layer in head_map.attention_layers]
    for check in checks:
        check.check_features()
    handles = [check.module.register_forward_hook(check) for check in checks]
    with hooks(handles), torch.no_grad():
        model(input_ids=probe_ids(model), use_cache=False)
    for check in checks:
        check.raise_error()
    targets = list(targets)
    mlps = frozenset[int]().union(*(target.mlps for target in targets))
    groups = frozenset[tuple[int, int]]().union(*(target.groups for target in targets))
    verify_components(model, head_map, mlps, groups)


class _ProjectionCheck:
    """A forward hook on one projection that checks what the head map says of it."""

    def __init__(self, model: Any, attention_layer: AttentionLayer) -> None:
        self.module, self.attention_layer = model.get_submodule(attention_layer.path), attention_layer
        self.calls = 0
        self.error: str | None = None
        self._checking = False

    def check_features(self) -> None:
        """Raise :class:`HeadError` if the module declares another number of input features."""
        path, heads = self.attention_layer.path, self.attention_layer.heads
        declared = getattr(self.module, "in_features", getattr(self.module, "nx", None))
        if isinstance(declared, int) and declared != heads * self.attention_layer.head_dim:
            raise HeadError(f"{path} takes {declared} features, not {heads} heads")

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.is_grad_enabled() or self.error or self._checking:
            return  # among others the calls that the check itself makes
        self.calls += 1
        self._checking = True
        try:
            self.error = self._output_error(args[0], output)
        finally:
            self._checking = False

    def _output_error(self, x: Tensor, output: Any) -> str | None:
        """Return why the *output* for the input *x*, ``(1, tokens, heads * head_dim)``, is not the sum of its heads."""
        heads, head_dim = self.attention_layer.heads, self.attention_layer.head_dim
        if not isinstance(output, Tensor) or x.shape[-1] != heads * head_dim:
            return "does not map heads to the residual stream"
        if x.dim() != 3 or x.shape[0] != 1 or x.shape[1] != PROBE_TOKENS:
            return f"takes an input of shape {tuple(x.shape)}, not (rows, tokens, features)"
        split = x.view(1, -1, heads, head_dim)  # (1, tokens, heads, head_dim)
        bias = self.module(torch.zeros_like(x))  # (1, tokens, hidden)
        total = bias.double()  # (1, tokens, hidden)
        for head in range(heads):
            alone = torch.zeros_like(split)  # (1, tokens, heads, head_dim)
            alone[:, :, head] = split[:, :, head]
            total += (self.module(alone.view_as(x)) - bias).double()
        scale = float(output.abs().max()) + float(bias.abs().max()) + 1e-30
        tolerance = {torch.float32: 1e-4, torch.float64: 1e-9}.get(x.dtype, 5e-2)
        error = float((total - output.double()).abs().max())
        if not error <= tolerance * scale:
            return f"is not the sum of its heads' contributions (off by {error:.2g} of {scale:.2g})"
        with weights_loaded(self.module):
            weight_bias = getattr(self.module, "bias", None)  # (hidden,)
            rest = bias if weight_bias is None else bias - weight_bias  # (1, tokens, hidden)
        if float(rest.abs().max()) > tolerance * scale:
            return "leaves more than its bias when all heads are zero"
        return None

    def raise_error(self) -> None:
        """Raise :class:`HeadError` if the projection ran another number of times than once, or failed the check."""
        path = self.attention_layer.path
        if self.calls != 1:
            raise HeadError(f"{path} ran {self.calls} times in one pass, not once: its heads cannot be proved")
        if self.error:
            raise HeadError(f"{path} {self.error}")
