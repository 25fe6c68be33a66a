"""Checks of ``generation_config.json``, whose values transformers trusts, and trips over when it generates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.tokenizer_checks import LARGEST_ID
from reasoning_probe.utils.text import one_line

_IDS = (
    *("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id"),
    "forced_eos_token_id",
)
_LISTS = ("suppress_tokens", "begin_suppress_tokens")
_LISTS_OF_LISTS = ("bad_words_ids",)
_COUNTS = (
    *("max_length", "min_length", "max_new_tokens", "min_new_tokens", "num_beams"),
    *("num_return_sequences", "top_k", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
)
_POSITIVE = ("repetition_penalty", "encoder_repetition_penalty")
_NUMBERS = (
    *("temperature", "top_p", "min_p", "typical_p", "top_h", "epsilon_cutoff"),
    *("eta_cutoff", "length_penalty", "diversity_penalty", "guidance_scale", *_POSITIVE),
)
_TRUTHS = ("do_sample", "use_cache", "early_stopping", "renormalize_logits", "remove_invalid_values")


def check_generation(config: Mapping[str, Any], name: str, file: str = "generation_config.json") -> None:
    """Raise :class:`ModelError` if *config*, the content of *file*, holds a value of a wrong type."""
    for key, value in config.items():
        wanted = None if value is None else _wanted(key, value)
        if wanted is not None:
            raise ModelError(
                f"cannot load the model {name}: {key} in {file} is {one_line(repr(value), 60)}: it must be {wanted}"
            )


def check_ids(config: Mapping[str, Any], name: str, file: str) -> None:
    """Raise :class:`ModelError` if *config*, the content of *file*, names a special token by anything but ids."""
    check_generation({key: config[key] for key in _IDS if key in config}, name, file)


def _wanted(key: str, value: Any) -> str | None:
    """Return what the setting *key* must be if *value* is something else, in words."""
    one_id = f"the id of a token, from 0 to {LARGEST_ID:,}"
    if key in _IDS and not (_is_id(value) or _ids(value)):
        return f"{one_id}, or a list of them"
    if key in _LISTS and not _ids(value):
        return f"a list of ids of tokens, from 0 to {LARGEST_ID:,}"
    if key in _LISTS_OF_LISTS and not (isinstance(value, list) and value and all(_ids(ids) and ids for ids in value)):
        return "a list of lists of ids of tokens"
    if key in _COUNTS and not (_is_number(value) and isinstance(value, int) and 0 <= value < 2**63):
        return "a whole number from 0 on"
    if key in _NUMBERS and not _is_number(value):
        return "a number"
    if key in _POSITIVE and not value > 0:
        return "a number above 0"
    if key in _TRUTHS and not isinstance(value, bool) and not (key == "early_stopping" and value == "never"):
        return "true or false"
    if key == "stop_strings" and not (
        isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value))
    ):
        return "a text or a list of texts"
    if key == "sequence_bias" and not (isinstance(value, dict | list) and value):
        return "a list of lists"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= LARGEST_ID
    )  # some write -1 for none


def _ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_id, value))
