"""Checks of ``adapter_config.json``: an adapter changes weights, and does nothing else.

peft imports the module that some fields name, reads the files that others name, and builds whatever sizes they ask for.
So types and fields are those of a list: the types that can be merged into a model, and the fields that describe them.
A field that is not on the list may be there with the value that switches it off, as peft itself writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.model_files import ModelFiles
from reasoning_probe.models.files.weight_checks import largest_rank, shapes
from reasoning_probe.utils.patterns import may_never_end
from reasoning_probe.utils.text import one_line

CONFIG = "adapter_config.json"

TYPES = (
    *("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "HRA", "VERA"),
    *("FOURIERFT", "LN_TUNING", "BONE", "MISS", "RANDLORA", "SHIRA", "C3A", "ROAD", "WAVEFT", "DELORA"),
)
"""The types of adapters that change weights alone, so that they can be merged."""

FIELDS = frozenset(
    (
        # what every adapter says of itself
        *("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
        # which weights it changes
        *("target_modules", "exclude_modules", "target_parameters", "layers_to_transform", "layers_pattern"),
        *("feedforward_modules", "modules_to_save", "bias", "lora_bias", "trainable_token_indices", "fan_in_fan_out"),
        *("ensure_weight_tying", "is_feedforward", "init_weights", "init_lora_weights", "init_ia3_weights"),
        # how
        *(
            "r",
            "rank_pattern",
            "alpha_pattern",
            "alpha",
            "lora_alpha",
            "lora_dropout",
            "rank_dropout",
            "module_dropout",
        ),
        *("use_rslora", "use_dora", "use_effective_conv2d", "rank_dropout_scale", "decompose_both", "decompose_factor"),
        *("init_r", "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step"),
        *("oft_block_size", "boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout", "coft"),
        *("eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms", "apply_GS", "dropout"),
        *("projection_prng_key", "save_projection", "vera_dropout", "d_initial", "n_frequency", "n_frequency_pattern"),
        *("scaling", "random_loc_seed", "block_size", "block_size_pattern", "variant", "group_size", "lambda_pattern"),
        *("randlora_alpha", "randlora_dropout", "sparse", "very_sparse", "random_seed", "mini_r", "miss_dropout"),
        *("delora_lambda", "wavelet_family", "use_idwt", "proportional_parameters", "ortho_gen", "module_pattern"),
    )
)
"""The fields of these types that name no module, no file and no other model."""

_PATTERNS = (
    *("target_modules", "exclude_modules", "layers_pattern", "feedforward_modules"),
    *("rank_pattern", "alpha_pattern"),
)
_INITIAL = ("gaussian", "olora", "pissa", "orthogonal", "bat")


def check_adapter(files: ModelFiles, config: Mapping[str, Any], remote_code: bool) -> None:
    """Raise :class:`ModelError` if *config*, the content of ``adapter_config.json``, does more than change weights.

    With *remote_code* the user trusts the adapter's code, so that its type and its fields may be any.
    """
    kind = config.get("peft_type")
    if kind not in TYPES and not remote_code:
        raise ModelError(
            f"cannot load the model {files.name}: {CONFIG} is of the type {one_line(kind, 40)!r}: use an adapter that"
            f" can be merged, such as {', '.join(TYPES[:4])}"
        )
    for key, value in config.items():
        if not remote_code and key not in FIELDS and not _off(key, value):
            raise ModelError(
                f"cannot load the model {files.name}: {CONFIG} sets {one_line(key, 60)!r}, which can name code, files"
                " or another model: leave it out, or trust it with --probe-trust-remote-code"
            )
    if config.get("layer_replication"):
        raise ModelError(f"cannot load the model {files.name}: {CONFIG} repeats layers: merge it with peft first")
    _check_initialisation(config.get("init_lora_weights"), files.name, remote_code)
    for key in _PATTERNS:
        _check_patterns(key, config.get(key), files.name)


def _off(key: str, value: Any) -> bool:
    """Tell whether *value* leaves the field *key* without effect."""
    if value is None or value is False or value in ({}, []):
        return True
    if key == "megatron_core":
        return bool(value == "megatron.core")  # peft's default, which it imports for a megatron_config alone
    if key == "auto_mapping":
        library = value.get("parent_library") if isinstance(value, Mapping) else None
        return isinstance(library, str) and re.fullmatch(r"transformers(\.\w+)*", library, re.ASCII) is not None
    return bool(key == "qalora_group_size" and isinstance(value, int))


def _check_initialisation(value: Any, name: str, remote_code: bool) -> None:
    """Raise :class:`ModelError` for weights that are to be initialised from files or from data."""
    known = value is None or isinstance(value, bool) or (isinstance(value, str) and value.startswith(_INITIAL))
    if not known and not remote_code:
        raise ModelError(
            f"cannot load the model {name}: init_lora_weights in {CONFIG} is {one_line(repr(value), 40)}, which needs"
            " data: an adapter that is trained has true or false there"
        )


def _check_patterns(key: str, value: Any, name: str) -> None:
    """Raise :class:`ModelError` if *value*, the pattern of a name or several, may take for ever to match."""
    patterns = [value] if isinstance(value, str) else list(value) if isinstance(value, list | Mapping) else []
    for pattern in patterns:
        if not isinstance(pattern, str) or may_never_end(pattern):
            raise ModelError(
                f"cannot load the model {name}: {key} in {CONFIG} holds {one_line(repr(pattern), 60)}: write names, or"
                " patterns without repetitions or alternatives inside a repetition"
            )


def check_rank(files: ModelFiles, config: Mapping[str, Any], weights: Any) -> None:
    """Raise :class:`ModelError` if an adapter of low rank asks for a higher one than its *weights* have."""
    tensor_shapes = shapes(weights)
    if not tensor_shapes or config.get("peft_type") not in ("LORA", "ADALORA", "LOHA"):
        return
    ranks = [config.get("r"), config.get("init_r"), config.get("target_r")]
    pattern = config.get("rank_pattern")
    ranks += list(pattern.values()) if isinstance(pattern, Mapping) and config["peft_type"] != "ADALORA" else []
    most = max(largest_rank(list(tensor_shapes.values())), 64)
    for rank in ranks:
        if rank is None:
            continue
        if isinstance(rank, bool) or not isinstance(rank, int) or not 0 < rank <= most:
            raise ModelError(
                f"cannot load the model {files.name}: {CONFIG} gives it the rank {one_line(repr(rank), 40)}, and its"
                f" weights have {most} at most: the two do not belong together"
            )
