"""Checks of a tokenizer's files: how far its rules can lengthen a text, how large its ids are, what it loads.

The rules of ``tokenizer.json`` run in Rust, where nothing can interrupt them, and some of them already while the file
is read. So the file is looked at first: forty rules that each double a text are refused, however short the file is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.model_files import ModelFiles
from reasoning_probe.utils.patterns import may_never_end
from reasoning_probe.utils.text import one_line

MOST_GROWTH = 1000
"""How many times longer a text may become by a tokenizer's rules; those in use stay below 20."""

LARGEST_ID = 2**24
"""The largest id of a token; vocabularies in use have 300,000 tokens."""

MOST_PREPENDED = 1000
"""Characters that rules may put before a text; sentencepiece puts one there."""

MOST_ADDED = 1_000_000
"""Tokens that a post-processor may add to each text."""

_CONFIG, _RULES = "tokenizer_config.json", "tokenizer.json"
_CLASS = re.compile(r"\w+(?:Tokenizer|TokenizerFast|TokenizersBackend|Backend)", re.ASCII)

_SETTINGS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("model_max_length", (int, float), "a number"),
    ("chat_template", (str, list, dict), "a text"),
)
"""The settings that transformers does not check, with their types."""


def check_tokenizer(files: ModelFiles, config: Mapping[str, Any]) -> None:
    """Raise :class:`ModelError` if the tokenizer of the model with the ``config.json`` *config* is not to be used."""
    settings = files.json(_CONFIG)
    for where, value in ((_CONFIG, settings.get("tokenizer_class")), ("config.json", config.get("tokenizer_class"))):
        if value is not None and not (isinstance(value, str) and _CLASS.fullmatch(value)):
            raise ModelError(
                f"cannot load the model {files.name}: tokenizer_class in {where} is {one_line(repr(value), 60)}, which"
                " is not a tokenizer of transformers"
            )
    for key, kinds, wanted in _SETTINGS:
        value = settings.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise ModelError(
                f"cannot load the model {files.name}: {key} in {_CONFIG} is {one_line(repr(value), 60)}: it must be"
                f" {wanted}"
            )
    _check_ids(settings.get("added_tokens_decoder"), _CONFIG, files.name)
    for file in ("added_tokens.json", "vocab.json"):
        _check_ids(_as_ids(files.json(file).values()), file, files.name)
    for file in _rules_files(settings, files.name):
        check_rules(files.json(file), file, files.name)


def _rules_files(settings: Mapping[str, Any], name: str) -> list[str]:
    """Return the files of rules that transformers may choose: a config may name one for each of its versions."""
    named = settings.get("fast_tokenizer_files") or []
    if not isinstance(named, list) or not all(isinstance(file, str) and file == file.strip() for file in named):
        raise ModelError(f"cannot load the model {name}: fast_tokenizer_files in {_CONFIG} is not a list of files")
    for file in named:
        if re.search(r"[\\/:\0]", file):
            raise ModelError(
                f"cannot load the model {name}: {_CONFIG} names {one_line(repr(file), 60)}: it may only name files in"
                " its own folder"
            )
    return [_RULES, *named]


def check_rules(rules: Mapping[str, Any], file: str, name: str) -> None:
    """Raise :class:`ModelError` for the content of a ``tokenizer.json`` that lengthens texts or ids beyond measure."""
    growth, prepended = 1.0, 0
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        for step in _steps(rules.get(part)):
            growth *= _growth(step)
            prepended += len(str(step.get("prepend") or ""))
            pattern = step.get("pattern")
            regex = pattern.get("Regex") if isinstance(pattern, Mapping) else None
            if isinstance(regex, str) and may_never_end(regex):
                raise ModelError(
                    f"cannot load the model {name}: {file} has a pattern that may never end"
                    f" ({one_line(regex, 60)}): write it without repetitions or alternatives inside a repetition"
                )
            if growth > MOST_GROWTH or prepended > MOST_PREPENDED:
                raise ModelError(
                    f"cannot load the model {name}: the rules of {file} can make a text more than {MOST_GROWTH:,} times"
                    " longer, which no tokenizer needs"
                )
            if _added(step) > MOST_ADDED:
                raise ModelError(f"cannot load the model {name}: {file} adds more than {MOST_ADDED:,} tokens to a text")
    padding, model = rules.get("padding"), rules.get("model")
    if isinstance(padding, Mapping):
        strategy = padding.get("strategy")
        fixed = strategy.get("Fixed") if isinstance(strategy, Mapping) else None
        for number in (fixed, padding.get("pad_to_multiple_of")):
            if isinstance(number, int) and number > MOST_ADDED:
                raise ModelError(f"cannot load the model {name}: {file} pads a text to more than {MOST_ADDED:,} tokens")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, Mapping):
        _check_ids(_as_ids(vocabulary.values()), file, name)
    added = rules.get("added_tokens")
    if isinstance(added, list):
        _check_ids(_as_ids(token.get("id") for token in added if isinstance(token, Mapping)), file, name)


def _as_ids(values: Iterable[Any]) -> dict[Any, None]:
    """Return *values* as keys; a list or an object, which can be none, becomes its text, which is no id either."""
    return {value if isinstance(value, str | int | float | None) else repr(value): None for value in values}


def _check_ids(ids: Any, file: str, name: str) -> None:
    """Raise :class:`ModelError` if the keys of *ids* hold one that is no number or too large."""
    if ids is None:
        return
    if not isinstance(ids, Mapping):
        raise ModelError(f"cannot load the model {name}: the tokens in {file} are not a JSON object")
    for id in ids:
        number = int(id) if isinstance(id, str) and id.isascii() and id.isdigit() and len(id) < 20 else id
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_ID:
            raise ModelError(
                f"cannot load the model {name}: {file} has the token id {one_line(repr(id), 40)}: ids go from 0 to"
                f" {LARGEST_ID:,}"
            )


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rules of a *part* of a tokenizer, those inside sequences one by one."""
    if not isinstance(part, Mapping):
        return
    yield part
    for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        inner = part.get(key)
        if isinstance(inner, list):
            for step in inner:
                yield from _steps(step)


def _growth(step: Mapping[str, Any]) -> float:
    """Return how many times longer the rule *step* can make a text."""
    kind = step.get("type")
    if kind == "Replace":
        pattern, content = step.get("pattern"), str(step.get("content") or "")
        literal = pattern.get("String") if isinstance(pattern, Mapping) else None
        if isinstance(literal, str) and literal:
            return max(1.0, len(content) / len(literal))
        return max(1.0, len(content) + 1)  # a regular expression may match one character, or between two
    if kind == "ByteLevel":
        return 2.0  # a byte beyond ASCII becomes a character of two
    if kind == "Precompiled":
        return _charsmap_growth(step.get("precompiled_charsmap"))
    if kind == "TemplateProcessing":
        pieces = step.get("single")
        if not isinstance(pieces, list):
            return 1.0
        return max(1.0, float(sum(isinstance(piece, Mapping) and "Sequence" in piece for piece in pieces)))
    return 1.0


def _charsmap_growth(charsmap: Any) -> float:
    """Return the length of the longest text by which a sentencepiece map replaces a character or more."""
    try:
        data = base64.b64decode(charsmap or "")
    except (TypeError, ValueError, binascii.Error):
        return 1.0  # the library refuses it
    trie = int.from_bytes(data[:4], "little")
    return max(1.0, max(map(len, data[4 + trie :].split(b"\0")), default=0) / 4)  # a character of four bytes, at most


def _added(step: Mapping[str, Any]) -> int:
    """Return how many tokens the rule *step* adds to a text."""
    if step.get("type") != "TemplateProcessing":
        return 0
    tokens, pieces = step.get("special_tokens"), step.get("single")
    if not isinstance(tokens, Mapping) or not isinstance(pieces, list):
        return 0
    longest = max((len(token.get("ids") or ()) for token in tokens.values() if isinstance(token, Mapping)), default=0)
    return longest * len(pieces)
