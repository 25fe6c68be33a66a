"""Generation settings of a model: what its ``generation_config.json`` changes in greedy answers.

Answers are decoded greedily. Some settings change greedy answers all the same, such as ``repetition_penalty``: these
are the *rules*. They apply unless the user leaves them out, and they are part of an outcome's key. No other setting
reaches ``generate``: while it runs, the model's own settings are put aside, so that no setting, whichever a version of
transformers may add, can change an answer without being part of its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reasoning_probe.models.errors import ModelError
from reasoning_probe.utils.text import join_names, one_line

if TYPE_CHECKING:
    from reasoning_probe.models.loading import ModelSource

GenerationMode = Literal["model", "plain"]

FILE = "generation_config.json"

NEUTRAL: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "sequence_bias": None,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": 1.0,
    "watermarking_config": None,
    "remove_invalid_values": False,
}
"""The settings that change greedy answers, each with the value that changes nothing; so does an empty one."""

_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "length_penalty"), 1.0),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "diversity_penalty", "penalty_alpha"), 0.0),
    **dict.fromkeys(
        ("do_sample", "early_stopping", "token_healing", "renormalize_logits", "low_memory", "use_mtp"), False
    ),
    **dict.fromkeys(("return_dict_in_generate", "output_scores", "output_attentions", "output_logits"), False),
    **dict.fromkeys(("output_hidden_states", "is_assistant", "disable_compile", "low_memory", "use_mtp"), False),
    "use_cache": True,
    "top_k": 50,
    "max_length": 20,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    **dict.fromkeys(("assistant_lookbehind", "target_lookbehind"), 10),
}
"""Settings that are not used, with the values that a file may write out without meaning anything by them."""

_ELSEWHERE = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id", "transformers_version")
_MENTIONED = (
    *(
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "stop_strings",
        "max_time",
        "penalty_alpha",
        "dola_layers",
    ),
    *("constraints", "force_words_ids", "token_healing", "return_dict_in_generate", "prompt_lookup_num_tokens"),
    *("assistant_early_exit", "use_mtp", "custom_generate"),
)
"""Settings that are not used, though ``generate`` would do or return something else by them: a line says so.

Sampling is not among them, since nobody expects it of greedy decoding; lengths neither: they are options of ours.
"""


@dataclass(frozen=True)
class GenerationRules:
    """The settings of a model that change its greedy answers, ``rules``, and by name those that are not used.

    With the mode ``plain`` there are no rules, and what they would be is among the ``unused``. ``caches`` is false
    where the model's file says that it takes no cached keys and values; that costs time and changes no answer.
    """

    mode: GenerationMode = "model"
    rules: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, Any] = field(default_factory=dict)
    caches: bool = True

    def __bool__(self) -> bool:
        """Tell whether any setting changes greedy answers."""
        return bool(self.rules)

    def record(self) -> dict[str, Any]:
        """Return the settings, their values as JSON: ``generation`` of the model in ``run.json``."""
        return {"mode": self.mode, "rules": _as_json(self.rules), "unused": _as_json(self.unused)}

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``generate`` is told of the model's settings, and all that it is told of them."""
        return self.rules | ({} if self.caches else {"use_cache": False})

    @property
    def text(self) -> str:
        """The arguments as a text, as a part of the keys of outcomes."""
        return json.dumps(self.arguments, sort_keys=True)


def generation_rules(settings: Mapping[str, Any], mode: GenerationMode = "model") -> GenerationRules:
    """Return what *settings*, the content of a ``generation_config.json``, change in greedy answers.

    >>> generation_rules({"repetition_penalty": 1.3, "temperature": 0.6, "no_repeat_ngram_size": 0}).record()
    {'mode': 'model', 'rules': {'repetition_penalty': '1.3'}, 'unused': {'temperature': '0.6'}}
    """
    rules: dict[str, Any] = {}
    unused: dict[str, Any] = {}
    for name, raw in settings.items():
        value = _plain(raw)
        if value in (None, [], {}) or name.startswith("_") or name in _ELSEWHERE:
            continue
        if name in NEUTRAL:
            if value != NEUTRAL[name]:
                (rules if mode == "model" else unused)[name] = value
        elif value != _DEFAULTS.get(name):
            unused[name] = value
    return GenerationRules(mode, rules, unused, caches=unused.pop("use_cache", True) is not False)


def rules_of(model: Any, mode: GenerationMode = "model") -> GenerationRules:
    """Return what the generation settings of *model*, in memory, change in its greedy answers."""
    config = getattr(model, "generation_config", None)
    return generation_rules({} if config is None else vars(config), mode)


def rules_of_files(source: ModelSource, mode: GenerationMode = "model") -> GenerationRules:
    """Return what the files of *source* change, as far as they lie on this machine and are JSON; loading says more.

    Where there is no ``generation_config.json``, transformers takes the settings from ``config.json``.
    """
    settings = _read(source, FILE)
    if settings is None:
        config = _read(source, "config.json") or {}
        settings = {name: config[name] for name in (*NEUTRAL, *_MENTIONED) if name in config}
    return generation_rules(settings, mode)


def _read(source: ModelSource, name: str) -> dict[str, Any] | None:
    """Return the content of the file *name* of *source*; ``None`` where there is none to be read."""
    path: Any = Path(source.location) / name
    if not Path(source.location).is_dir():
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(source.location, name, revision=source.revision)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, TypeError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _plain(value: Any) -> Any:
    """Return *value* in JSON's types, which ``GenerationConfig`` takes as well."""
    if hasattr(value, "to_dict"):  # the config of a watermark
        value = value.to_dict()
    if isinstance(value, dict) and all(isinstance(key, tuple) for key in value):  # biases by their tokens
        return [[list(key), _plain(each)] for key, each in value.items()]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


@contextmanager
def settings_aside(model: Any, config: Any) -> Iterator[None]:
    """While open, let *model* have no generation settings but those of *config*, which ``generate`` is called with."""
    aside = model.generation_config if hasattr(model, "generation_config") else None
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = aside


def check_rules(model: Any, rules: GenerationRules, name: str, eos: list[int]) -> None:
    """Raise :class:`ModelError`, one line, if *model* called *name* cannot generate two tokens by *rules*."""
    if not rules:
        return
    import torch
    from transformers import GenerationConfig

    from reasoning_probe.models.hooks import probe_ids
    from reasoning_probe.utils.logging import silence_transformers

    ids = probe_ids(model)  # (1, tokens)
    try:
        with torch.inference_mode(), silence_transformers():
            config = GenerationConfig(max_new_tokens=2, eos_token_id=eos or None, pad_token_id=0, **rules.arguments)
            with settings_aside(model, config):
                model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    except Exception as error:  # transformers checks some of the settings, and its processors fail in their own ways
        raise ModelError(
            f"the generation settings of {name} cannot be used ({', '.join(sorted(rules.rules))}):"
            f" {one_line(error, 200)}: fix {FILE}, or leave them out with --probe-generation plain"
        ) from error


# -- in words -----------------------------------------------------------------------------------------------------


def rules_sentence(record: Mapping[str, Any]) -> str:
    """Say which settings change the answers and what that costs; *record* is what :meth:`GenerationRules.record` gave.

    >>> rules_sentence({"mode": "model", "rules": {"repetition_penalty": "1.3"}, "unused": {}})
    'repetition_penalty 1.3 of generation_config.json changes the answers; every ablated answer is decoded token by \
token, several times slower: --probe-generation plain leaves it out'
    """
    rules = record.get("rules") or {}
    if not rules:
        return ""
    verb, them = ("changes", "it") if len(rules) == 1 else ("change", "them")
    return (
        f"{join_names(_settings(rules), 5)} of {FILE} {verb} the answers; every ablated answer is decoded token by"
        f" token, several times slower: --probe-generation plain leaves {them} out"
    )


def unused_sentence(record: Mapping[str, Any]) -> str:
    """Say which settings of the model are not used, of those that a reader may expect to apply.

    >>> unused_sentence({"mode": "model", "rules": {}, "unused": {"temperature": "0.6", "num_beams": "4"}})
    'num_beams 4 of generation_config.json is not used: answers are decoded greedily'
    """
    unused = record.get("unused") or {}
    names = {name: value for name, value in unused.items() if name in _MENTIONED}
    if not names:
        return ""
    verb = "is" if len(names) == 1 else "are"
    return f"{join_names(_settings(names), 5)} of {FILE} {verb} not used: answers are decoded greedily"


def _settings(texts: Mapping[str, str]) -> list[str]:
    """Return each setting with its value, if that is short."""
    return [f"{one_line(name, 40)} {text}" if len(text) <= 20 else one_line(name, 40) for name, text in texts.items()]


def _as_json(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}
