"""The key of a stored outcome: everything of model, tokenizer and code that can change an answer."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reasoning_probe.engine import ENGINE_VERSION

_VERSIONED = ("torch.", "transformers.")
"""Packages whose version stands for their code."""

_NAMES = {"_name_or_path", "name_or_path", "transformers_version"}  # of a config: these change no answer


def model_context(model: Any, tokenizer: Any, fingerprint: str) -> dict[str, str] | None:
    """Return what all outcomes of *model* depend on, or ``None`` where that cannot be told from outside.

    It cannot where Python code was put into the model (hooks, a replaced ``forward``), where a class of it has no file
    (as in a notebook), or the tokenizer is unknown.
    """
    from importlib.metadata import version

    from reasoning_probe.models.weights import device_of

    words = _tokenizer_text(tokenizer)
    if words is None or _patched(model):
        return None
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NAMES}
    generation = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    classes = {type(part) for part in model.modules()}
    foreign = _foreign_code(classes)
    if foreign is None:
        return None
    names = sorted(f"{each.__module__}.{each.__qualname__}" for each in classes)
    return {
        "weights": fingerprint,
        "architecture": type(model).__name__,
        "code": digest(*names, *foreign),
        "config": digest(json.dumps(config, sort_keys=True, default=str), str(generation)),
        "tokenizer": digest(words),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_of(model).type,
        "attention": str(getattr(model.config, "_attn_implementation", None)),  # public to set, not to read
        "engine": str(ENGINE_VERSION),
        **{name: version(name) for name in ("reasoning-probe", "torch", "transformers", "tokenizers")},
    }


def _tokenizer_text(tokenizer: Any) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rest = [type(tokenizer).__qualname__, str(tokenizer.special_tokens_map), str(tokenizer.eos_token_id)]
        return "\n".join([backend.to_str(), *rest])
    if hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "init_kwargs"):
        kwargs = {key: value for key, value in tokenizer.init_kwargs.items() if key not in _NAMES}
        return json.dumps([type(tokenizer).__qualname__, sorted(tokenizer.get_vocab().items()), kwargs], default=str)
    return None


def _patched(model: Any) -> bool:
    """Tell whether code was put into *model*; accelerate's own hooks only move weights.

    torch registers hooks and lists them nowhere in public; a model without these attributes counts as patched.
    """
    from reasoning_probe.models.weights import placing_hooks

    for part in model.modules():
        hooks = [getattr(part, name, True) for name in ("_forward_hooks", "_forward_pre_hooks")]
        if any(hooks) or ("forward" in vars(part) and not placing_hooks(part)):
            return True
    return False


def _foreign_code(classes: Iterable[type]) -> list[str] | None:
    """Return the source of the modules that *classes* outside of these packages come from, or ``None`` for lack of it.

    A model's own code imports its own helpers, so everything that lies beside it in its package counts.
    """
    found = {each.__module__ for each in classes if not f"{each.__module__}.".startswith(_VERSIONED)}
    packages = tuple(f"{name.rpartition('.')[0]}." for name in found if "." in name)
    every = found | {name for name in sys.modules if packages and name.startswith(packages)}
    sources = []
    for name in sorted(every):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not Path(file).is_file():
            if name in found:
                return None
            continue
        sources.append(f"{name} {hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()}")
    return sources


def digest(*texts: str) -> str:
    """Return a hash of *texts*, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
