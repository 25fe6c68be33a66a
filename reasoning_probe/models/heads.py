"""Where the attention heads are: found by running the model once, proved when it is loaded.

A head is the slice ``[h*head_dim, (h+1)*head_dim)`` of the *input* of the attention output projection. No table of
families says where that projection is. While the model runs once on a few tokens we watch for the attention
pattern itself, a softmax over ``(..., heads, tokens, tokens)`` scores or a call of scaled dot-product attention; the
linear layer that runs next, inside the module that computed the pattern, is the output projection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reasoning_probe.models.components import find_parts, verify_components
from reasoning_probe.models.head_map import AttentionLayer, HeadError, HeadMap
from reasoning_probe.models.hooks import PROBE_TOKENS, hooks, probe_ids, text_config
from reasoning_probe.models.weights import at_hand
from reasoning_probe.utils.logging import silence_transformers

__all__ = ["AttentionLayer", "HeadError", "HeadMap", "find_heads", "hooks", "probe_ids", "text_config", "verify_heads"]

if TYPE_CHECKING:
    from reasoning_probe.models.targets import Target

_QUESTIONS = {"__bool__": True, "__contains__": False, "item": 1, "__int__": 1, "__index__": 1, "__float__": 1.0}


def _is_linear(module: nn.Module) -> bool:
    """Tell whether *module* is a linear layer of any make: torch's, GPT-2's Conv1D, a quantised or adapted one."""
    if isinstance(module, nn.Embedding):
        return False
    if hasattr(module, "in_features") or hasattr(module, "nf"):
        return True
    weight = getattr(module, "weight", None)
    return next(module.children(), None) is None and isinstance(weight, Tensor) and weight.dim() == 2


def _pattern_heads(scores: Tensor, tokens: int) -> int | None:
    """Return the number of heads if *scores* is an attention pattern of one row, else ``None``."""
    if scores.dim() < 3 or scores.shape[-2] != tokens or not tokens <= scores.shape[-1] <= tokens + 8:
        return None  # up to 8 columns more: attention sinks
    return scores.numel() // (scores.shape[-2] * scores.shape[-1])


class _PatternWatch(TorchFunctionMode):
    """Calls back with the number of heads whenever an attention pattern is computed."""

    def __init__(self, tokens: int, seen: Any) -> None:
        super().__init__()
        self.tokens, self.seen = tokens, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        heads = None
        if name == "scaled_dot_product_attention":
            query = args[0] if args else kwargs["query"]
            heads = query.shape[1] if query.dim() == 4 and query.shape[2] == self.tokens else None
        elif name == "softmax":
            scores = args[0] if args else kwargs["input"]
            heads = _pattern_heads(scores, self.tokens)
        elif name in _QUESTIONS and args[0].is_meta:
            return _QUESTIONS[name]  # "is this mask all ones?" and the like, which a tensor without data can't answer
        elif name in ("nonzero", "where") and len(args) == 1 and args[0].is_meta:
            # "Which tokens go to this expert?": one, so that the expert runs.
            places = torch.zeros(1, args[0].dim(), dtype=torch.long, device="meta")
            return places.unbind(1) if name == "where" or kwargs.get("as_tuple") else places
        if heads is not None:
            self.seen(heads)
        return func(*args, **kwargs)


class _Tracer:
    """Follows one forward pass: which module computed an attention pattern, which linear layer came next."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.stack: list[nn.Module] = []
        self.inside_linear = 0
        self.open: list[tuple[nn.Module, int]] = []  # (module that computed a pattern, its number of heads)
        self.found: list[tuple[str, int, int]] = []  # (projection, heads, input features), in the order they ran

    def pattern(self, heads: int) -> None:
        owner = self.stack[-1]
        if not self.open or self.open[-1][0] is not owner:
            self.open.append((owner, heads))

    def enter(self, module: nn.Module, args: Any) -> None:
        self.stack.append(module)
        if not _is_linear(module):
            return
        self.inside_linear += 1
        if self.inside_linear > 1 or not self.open or not args or not isinstance(args[0], Tensor):
            return
        owner, heads = self.open[-1]
        entry = (self.names[module], heads, int(args[0].shape[-1]))
        if entry[2] % heads:
            return  # not a concatenation of heads: a gate or a router that runs in between
        if owner in self.stack:
            # Inside the owner the *last* linear layer counts: gates may run between the pattern and the projection.
            if self.found and self._last_owner is owner:
                self.found[-1] = entry
            else:
                self.found.append(entry)
                self._last_owner: nn.Module | None = owner
        else:  # the pattern's module has ended without a projection (BERT's self-attention): the next one is it
            self.found.append(entry)
            self.open.pop()

    def leave(self, module: nn.Module) -> None:
        self.stack.pop()
        if _is_linear(module):
            self.inside_linear -= 1
        if self.open and self.open[-1][0] is module and self.found and getattr(self, "_last_owner", None) is module:
            self.open.pop()
            self._last_owner = None


@contextmanager
def _following(model: nn.Module, tokens: int) -> Iterator[_Tracer]:
    tracer = _Tracer(model)
    handles = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(lambda m, args: tracer.enter(m, args)))
            handles.append(module.register_forward_hook(lambda m, args, out: tracer.leave(m), always_call=True))
        with _PatternWatch(tokens, tracer.pattern):
            yield tracer
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _autocast_without_data(model: Any) -> Iterator[None]:
    """While open, a model on the meta device may turn autocasting off, as rotary tables do in transformers 4.57.

    It does so by the name of its device, and torch knows of no autocasting on one without data.
    """
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return real("cpu" if device_type == "meta" else device_type, *args, **kwargs)

    if model.device.type == "meta":
        torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.autocast = real  # type: ignore[misc]


@silence_transformers()
def find_heads(model: Any) -> HeadMap:
    """Return where the heads of *model* are, by running it once on seven tokens (a meta-device model will do).

    Raises :class:`HeadError` if it has no attention heads of this kind, if its attention modules are shared between
    layers, or if config and model disagree about the number of heads.
    """
    name = type(model).__name__
    with _following(model, PROBE_TOKENS) as tracer, _autocast_without_data(model), torch.no_grad():
        try:
            model(input_ids=probe_ids(model), use_cache=False)
        except Exception as error:  # code that looks at values, which a model without data has none of
            if model.device.type != "meta":
                raise
            said = " ".join(str(error).split())[:120]
            raise HeadError(f"{name} cannot be run without its weights, to see its heads: {said}") from error
    if not tracer.found:
        raise HeadError(f"{name} has no attention heads to switch off: run it without --ablate-heads")
    sites = []
    for path, heads, features in tracer.found:
        number = re.search(r"^(.*?\.(\d+))\.", path)
        if number is None:
            raise HeadError(f"{name}: the attention projection {path} is in no numbered layer")
        sites.append(AttentionLayer(int(number[2]), number[1], path, heads, features // heads))
    sites.sort(key=lambda site: site.layer)
    if len({site.path for site in sites}) < len(sites):
        raise HeadError(f"{name} runs an attention module more than once in a pass: its heads are no single targets")
    if len({site.layer for site in sites}) < len(sites):
        raise HeadError(f"{name} has several attention modules in a layer: L0H0 would not say which head is meant")
    _check_config(model, sites)
    with _PatternWatch(PROBE_TOKENS, lambda heads: None), _autocast_without_data(model), torch.no_grad():
        return HeadMap(find_parts(model, sites))


def _check_config(model: Any, sites: list[AttentionLayer]) -> None:
    config = text_config(model.config)
    # A decoder taken out of an encoder-decoder model has its own number beside the encoder's.
    names = ("num_attention_heads", "decoder_attention_heads")
    declared = {getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)}
    ran = {site.heads for site in sites}
    if declared and not declared & ran:
        says = " or ".join(map(str, sorted(declared)))
        raise HeadError(
            f"{type(model).__name__}: the config says {says} heads a layer, but {sorted(ran)} ran:"
            " its heads cannot be told apart"
        )


@silence_transformers()
def verify_heads(model: Any, head_map: HeadMap, targets: Iterable[Target] = ()) -> None:
    """Prove on the loaded weights that *head_map* is right; raises :class:`HeadError` where it is not.

    Each projection fires exactly once a pass with ``heads * head_dim`` input features; the heads' contributions plus
    the bias are the projection's output; zeroing all heads leaves only the bias; zeroing none changes no bit.
    MLPs and key/value groups are proved where *targets* switch them off.
    """
    for site in head_map.sites:
        _Proof(model, site).check_module()
    proofs = {site.path: _Proof(model, site) for site in head_map.sites}
    handles = [model.get_submodule(path).register_forward_hook(proof) for path, proof in proofs.items()]
    with hooks(handles), torch.no_grad():
        model(input_ids=probe_ids(model), use_cache=False)
    for proof in proofs.values():
        proof.verdict()
    asked = list(targets)
    mlps = frozenset[int]().union(*(target.mlps for target in asked))
    verify_components(model, head_map, mlps, frozenset[tuple[int, int]]().union(*(target.groups for target in asked)))


class _Proof:
    """A forward hook on one projection that checks what the site says of it."""

    def __init__(self, model: Any, site: AttentionLayer) -> None:
        self.module, self.site = model.get_submodule(site.path), site
        self.fired = 0
        self.error: str | None = None

    def check_module(self) -> None:
        declared = getattr(self.module, "in_features", getattr(self.module, "nx", None))
        if isinstance(declared, int) and declared != self.site.heads * self.site.head_dim:
            raise HeadError(f"{self.site.path} takes {declared} features, not {self.site.heads} heads")

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.is_grad_enabled() or self.error:
            return
        if self.fired < 0:
            return  # our own call below
        self.fired += 1
        fired, self.fired = self.fired, -1
        try:
            self.error = self._problem(args[0], output)
        finally:
            self.fired = fired

    def _problem(self, x: Tensor, output: Any) -> str | None:
        site = self.site
        if not isinstance(output, Tensor) or x.shape[-1] != site.heads * site.head_dim:
            return "does not map heads to the residual stream"
        if x.dim() != 3 or x.shape[0] != 1 or x.shape[1] != PROBE_TOKENS:
            return f"takes an input of shape {tuple(x.shape)}, not (rows, tokens, features)"
        split = x.view(1, -1, site.heads, site.head_dim)  # (1, tokens, heads, head_dim)
        bias = self.module(torch.zeros_like(x))  # (1, tokens, hidden)
        total = bias.double()
        for head in range(site.heads):
            alone = torch.zeros_like(split)
            alone[:, :, head] = split[:, :, head]
            total += (self.module(alone.view_as(x)) - bias).double()
        scale = float(output.abs().max()) + float(bias.abs().max()) + 1e-30
        tolerance = {torch.float32: 1e-4, torch.float64: 1e-9}.get(x.dtype, 5e-2)
        error = float((total - output.double()).abs().max())
        if not error <= tolerance * scale:
            return f"is not the sum of its heads' contributions (off by {error:.2g} of {scale:.2g})"
        with at_hand(self.module):
            weight_bias = getattr(self.module, "bias", None)
            rest = bias if weight_bias is None else bias - weight_bias
        if float(rest.abs().max()) > tolerance * scale:
            return "leaves more than its bias when all heads are zero"
        return None

    def verdict(self) -> None:
        if self.fired != 1:
            raise HeadError(
                f"{self.site.path} ran {self.fired} times in one pass, not once: its heads cannot be proved"
            )
        if self.error:
            raise HeadError(f"{self.site.path} {self.error}")
