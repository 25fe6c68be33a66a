"""The key of a stored outcome: everything about model, tokenizer and code that can change an answer."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reasoning_probe.engine import ENGINE_VERSION
from reasoning_probe.models.generation import GenerationRules, rules_of

_VERSIONED = ("torch.", "transformers.", "builtins.", "abc.", "typing.")
"""Packages whose version stands for their code."""

_IGNORED_KEYS = {"_name_or_path", "name_or_path", "transformers_version"}  # of a config: these change no answer


def model_context(
    model: Any, tokenizer: Any, fingerprint: str, rules: GenerationRules | None = None
) -> dict[str, str] | None:
    """Return everything that all outcomes of *model* depend on, or ``None`` if it cannot be determined.

    *rules* are what the model's generation settings change; ``None`` takes them as they are.

    That is so if Python code was added to the model (hooks, a replaced ``forward`` or ``generate``) or to the tokenizer
    (a replaced ``decode``), if a class of model or tokenizer has no source file (as in a notebook), or if the tokenizer
    does not expose its contents.
    """
    from importlib.metadata import version

    from reasoning_probe.models.weights import device_of

    tokenizer_text = _tokenizer_text(tokenizer)
    if tokenizer_text is None or _patched(model) or _has_replaced_method(tokenizer):
        return None
    config = {key: value for key, value in model.config.to_dict().items() if key not in _IGNORED_KEYS}
    generation = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    classes = {type(module) for module in model.modules()}
    foreign = _foreign_code(classes | set(type(tokenizer).__mro__) - {object})
    if foreign is None:
        return None
    names = sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in classes)
    return {
        "weights": fingerprint,
        "architecture": type(model).__name__,
        "code": digest(*names, *foreign),
        "config": digest(json.dumps(config, sort_keys=True, default=str), str(generation)),
        "generation": digest((rules_of(model) if rules is None else rules).text),
        "tokenizer": digest(tokenizer_text),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_of(model).type,
        "attention": str(getattr(model.config, "_attn_implementation", None)),  # transformers has a public setter only
        "engine": str(ENGINE_VERSION),
        **{name: version(name) for name in ("reasoning-probe", "torch", "transformers", "tokenizers")},
    }


def _tokenizer_text(tokenizer: Any) -> str | None:
    """Return the contents and settings of *tokenizer*, or ``None`` if it does not expose them.

    The settings are those of its files (``init_kwargs``) and the attributes that were set since, whatever their names,
    without paths. What it makes of a sample stands for contents that it may have beside them.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        contents: Any = backend.to_str()
    elif hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "init_kwargs"):
        contents = sorted(tokenizer.get_vocab().items())
    else:
        return None
    model = getattr(tokenizer, "sp_model", None)  # of sentencepiece: pieces and scores
    proto = digest(model.serialized_model_proto().hex()) if model is not None else ""
    settings = [_settings(getattr(tokenizer, "init_kwargs", {})), _settings(vars(tokenizer))]
    special = [str(getattr(tokenizer, "special_tokens_map", None)), str(getattr(tokenizer, "eos_token_id", None))]
    parts = [type(tokenizer).__qualname__, contents, proto, settings, special, _behaviour(tokenizer)]
    return json.dumps(parts, default=str)


def _behaviour(tokenizer: Any) -> list[Any]:
    """Return what *tokenizer* makes of a sample, and the texts that it makes of the tokens."""
    if not callable(tokenizer):
        return []
    ids = list(tokenizer(_SAMPLE)["input_ids"])
    return [ids, tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)]


_SAMPLE = "Question: What's 12 + 3.5?  It is <s> \u00e9\u4e2d , isn't it ?\n\n#### 1,000</s>"
_PLAIN_TYPES = (str, int, float, bool, type(None))


def _settings(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the *values* that are settings: plain ones and collections of such, sorted, without paths and caches."""
    settings = []
    for name, value in sorted(values.items()):
        path = name.endswith(("_file", "name_or_path")) or name in _UNSET
        plain = _plain(value)
        if not path and plain is not _OPAQUE:
            settings.append((name, plain))
    return settings


_OPAQUE = object()
_UNSET = {"is_local", "local_files_only", "deprecation_warnings", "files_loaded", "init_kwargs", "cache", "verbose"}
"""Attributes that tell how a tokenizer was loaded, or what it did since; none changes what it makes of a text."""


def _plain(value: Any) -> Any:
    """Return *value* in JSON's types, added tokens as their texts; objects of other kinds are opaque."""
    if isinstance(value, _PLAIN_TYPES):
        return value
    if isinstance(value, Mapping):
        entries = [(str(key), _plain(each)) for key, each in value.items()]
        return sorted(((key, each) for key, each in entries if each is not _OPAQUE), key=lambda entry: entry[0])
    if isinstance(value, list | tuple):
        return [each for each in map(_plain, value) if each is not _OPAQUE]
    if isinstance(value, set | frozenset):
        return sorted(str(_plain(each)) for each in value)
    return repr(value) if type(value).__name__ == "AddedToken" else _OPAQUE


def _patched(model: Any) -> bool:
    """Tell whether code was added to *model*; accelerate's own hooks only move weights.

    torch has no public list of a module's hooks; a model without the private ones counts as patched.
    """
    from reasoning_probe.models.weights import placing_hooks

    if "generate" in vars(model):
        return True
    for module in model.modules():
        hooks = [getattr(module, name, True) for name in ("_forward_hooks", "_forward_pre_hooks")]
        if any(hooks) or ("forward" in vars(module) and not placing_hooks(module)):
            return True
    return False


def _has_replaced_method(tokenizer: Any) -> bool:
    """Tell whether a function stands in *tokenizer* in place of a method of its class."""
    cls = type(tokenizer)
    return any(inspect.isroutine(value) and hasattr(cls, name) for name, value in vars(tokenizer).items())


def _foreign_code(classes: Iterable[type]) -> list[str] | None:
    """Return a hash of each module that defines *classes* outside of the versioned packages; ``None`` without a file.

    A model's code imports its own helpers, so every loaded module of the same package counts.
    """
    modules = {cls.__module__ for cls in classes if not f"{cls.__module__}.".startswith(_VERSIONED)}
    packages = tuple(f"{name.rpartition('.')[0]}." for name in modules if "." in name)
    with_siblings = modules | {name for name in sys.modules if packages and name.startswith(packages)}
    sources = []
    for name in sorted(with_siblings):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not Path(file).is_file():
            if name in modules:
                return None
            continue
        sources.append(f"{name} {hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()}")
    return sources


def digest(*texts: str) -> str:
    """Return a hash of *texts*, in hexadecimal."""
    hasher = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big") + data)
    return hasher.hexdigest()
