"""Checks of ``config.json``: it names no code but transformers' own, and asks for no model that cannot be built.

transformers checks the types of most values when it reads them. What is checked here, it takes at its word: names of
attention kernels, which it fetches from the hub and runs, and sizes, which it builds layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.utils.text import one_line

MOST_LAYERS = 1000
"""Layers of a model; the deepest in use have 130."""

MOST_EXPERTS = 100_000
"""Experts of all layers together; the largest models in use have 25,000."""

MOST_LABELS = 1_000_000
"""Labels of a classifier, whose names transformers makes up when it reads the config of any model."""

LARGEST_SIZE = 2**31 - 1
"""The largest number that a config may hold as the size of anything."""

_LAYERS = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"),
    *("encoder_layers", "decoder_layers", "num_encoder_layers", "num_nextn_predict_layers", "block_count"),
)
_EXPERTS = (
    *("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "n_shared_experts",
)
_LABELS = "num_labels"
_SIZES = (
    *("vocab_size", "hidden_size", "n_embd", "d_model", "num_attention_heads", "n_head"),
    *("num_key_value_heads", "head_dim", "intermediate_size", "n_inner", "max_position_embeddings"),
    *("n_positions", "n_ctx", "ffn_dim", _LABELS),
)

_IMPLEMENTATIONS = (
    *("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4"),
    *("flex_attention", "batched_mm", "grouped_mm"),
)
"""The names of attention and of experts in transformers' own code."""

_QUANTISED = (
    *("torchao", "bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8"),
    *("fbgemm_fp8", "hqq", "aqlm", "vptq", "bitnet", "quanto", "eetq", "higgs", "spqr", "mxfp4"),
    *("auto-round", "quark", "fp_quant"),
)
_FROM_HUB = ("mxfp4", "eetq", "fbgemm_fp8", "metal", "nvfp4")
"""The methods whose code transformers fetches from the hub."""


def check_config(config: Mapping[str, Any], name: str, remote_code: bool) -> None:
    """Raise :class:`ModelError` if *config*, the content of ``config.json``, names code or sizes that it must not.

    With *remote_code* the user trusts the model's code, so that only the sizes are checked.
    """
    for part in _parts(config):
        if not remote_code:
            _check_code(part, name)
        _check_sizes(part, name)
    if config.get("return_dict") is False:
        raise ModelError(
            f"cannot load the model {name}: return_dict in config.json is false, so that its outputs have no names:"
            " take that setting out"
        )


def check_decoder(model: Any, name: str) -> None:
    """Raise :class:`ModelError` for a model whose config has it generate as an encoder and a decoder."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(
            f"cannot load the model {name}: is_encoder_decoder in config.json is true, and {type(model).__name__} has"
            " no encoder: take that setting out"
        )


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield *config* and the configs inside it, such as ``text_config``."""
    yield config
    for value in config.values():
        if isinstance(value, Mapping):
            yield from _parts(value)


def _check_code(config: Mapping[str, Any], name: str) -> None:
    for key, value in config.items():
        if (
            str(key)
            .strip("_")
            .endswith(("attn_implementation", "attn_implementation_internal", "experts_implementation"))
        ):
            for implementation in value.values() if isinstance(value, Mapping) else [value]:
                known = implementation is None or str(implementation).removeprefix("paged|") in _IMPLEMENTATIONS
                if not known:
                    raise _untrusted(name, f"{key} names {one_line(implementation, 60)!r}")
    quantised = config.get("quantization_config")
    if quantised is None:
        return
    if not isinstance(quantised, Mapping):
        raise ModelError(f"cannot load the model {name}: quantization_config in config.json is not a JSON object")
    method = quantised.get("quant_method")
    if method is None and (quantised.get("load_in_4bit") or quantised.get("load_in_8bit")):
        method = "bitsandbytes"
    if method not in _QUANTISED:
        raise ModelError(
            f"cannot load the model {name}: quantization_config names the method {one_line(method, 60)!r}, which is"
            f" not one of transformers' own"
        )
    if method in _FROM_HUB and _hub_kernels():
        raise _untrusted(name, f"quantization_config names {method!r}")


def _hub_kernels() -> bool:
    """Tell whether the library that fetches kernels from the hub is installed; without it, none are."""
    from transformers.utils import import_utils

    available = getattr(import_utils, "is_kernels_available", None)
    return bool(available and available())


def _untrusted(name: str, what: str) -> ModelError:
    return ModelError(
        f"cannot load the model {name}: {what}, which is code from the hub, and not run: leave it out of config.json,"
        " or trust it with --probe-trust-remote-code"
    )


def _check_sizes(config: Mapping[str, Any], name: str) -> None:
    layers = 0
    for key in (*_LAYERS, *_EXPERTS, *_SIZES):
        if key not in config:
            continue
        value = config[key]
        if value is None or isinstance(value, list):  # transformers' own default, or a number for each layer
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SIZE:
            raise ModelError(
                f"cannot load the model {name}: {key} in config.json is {one_line(repr(value), 40)}: it must be a whole"
                " number from 0 on"
            )
        if key in _LAYERS:
            layers = max(layers, value)
            if value > MOST_LAYERS:
                raise ModelError(
                    f"cannot load the model {name}: {key} in config.json is {value:,}, and no model has more than"
                    f" {MOST_LAYERS:,} layers"
                )
    if isinstance(labels := config.get(_LABELS), int) and labels > MOST_LABELS:
        raise ModelError(
            f"cannot load the model {name}: {_LABELS} in config.json is {labels:,}, and no model has more than"
            f" {MOST_LABELS:,}"
        )
    experts = max((config[key] for key in _EXPERTS if isinstance(config.get(key), int)), default=0)
    if experts * max(layers, 1) > MOST_EXPERTS:
        raise ModelError(
            f"cannot load the model {name}: config.json describes {experts * max(layers, 1):,} experts, and no model"
            f" has more than {MOST_EXPERTS:,}"
        )
