"""The arguments of :func:`~reasoning_probe.sweep`: what is nonsense is told in one line, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from reasoning_probe.data.prompts.prompting import ChatMode, ChoiceMode, Prompting
from reasoning_probe.models.targets import ABLATIONS, Target
from reasoning_probe.utils.text import printable


class ArgumentError(ValueError):
    """An argument that makes no sense; the message is one line that names the mend."""


def _shown(value: object) -> str:
    return printable(ascii(value), 60)


def check_model(model: Any, tokenizer: Any) -> None:
    """Refuse what is no model, or no tokenizer."""
    if not (hasattr(model, "config") and hasattr(model, "named_modules")):
        raise ArgumentError(f"{_shown(model)} is no model: give a causal language model of transformers, loaded")
    if not callable(tokenizer) or hasattr(tokenizer, "named_modules"):
        raise ArgumentError(f"{_shown(tokenizer)} is no tokenizer: give the model's own")


def ablations(given: Any) -> tuple[str, ...]:
    """Return the names of ablations, each once."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, list | tuple) or not parts:
        raise ArgumentError(f"ablation={_shown(given)} names none: use {', '.join(ABLATIONS)}")
    names = [part.strip() if isinstance(part, str) else part for part in parts]
    for name in names:
        if not isinstance(name, str) or name not in ABLATIONS:
            raise ArgumentError(f"unknown ablation {_shown(name)}: use {', '.join(ABLATIONS)}")
    return tuple(dict.fromkeys(names))


def check_numbers(**given: tuple[Any, int]) -> None:
    """Refuse what is no whole number from the least on; each is given with its least."""
    for name, (value, least) in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name}={_shown(value)} is not a whole number from {least} on")


def check_texts(dataset: Any, stop: Any, cache: Any) -> None:
    """Refuse names, stop strings and folders that are none."""
    if not isinstance(dataset, str) or not dataset.strip():
        raise ArgumentError(f"dataset={_shown(dataset)} is no name: give a text")
    if not isinstance(stop, list | tuple) or not all(isinstance(word, str) and word for word in stop):
        raise ArgumentError(f"stop={_shown(stop)} holds no stop strings: give a tuple of texts, () for none")
    if cache is not None and not (isinstance(cache, str | Path) and str(cache).strip()):
        raise ArgumentError(f"cache={_shown(cache)} is no folder: give its path, or None")


def check_targets(given: Any) -> None:
    """Refuse what is neither a spec nor a sequence of specs and targets."""
    if given is None or isinstance(given, str | Target):
        parts: Sequence[Any] = () if given is None else [given]
        if given == "":
            raise ArgumentError("targets is empty: write L3H7, ..., None for every head, or () for the baseline alone")
    elif isinstance(given, list | tuple):
        parts = given
    else:
        raise ArgumentError(f"targets={_shown(given)} names none: write 'L3H7,L5', or a list of such")
    for part in parts:
        if not isinstance(part, str | Target):
            raise ArgumentError(f"{_shown(part)} is no target: write 'L3H7', or give a Target")
        if isinstance(part, Target) and not part.heads:
            raise ArgumentError(f"the target {_shown(part.name)} switches nothing off: leave it out")


def check_prompting(given: Any) -> None:
    """Refuse ways of putting questions that do not exist."""
    if given is None:
        return
    if not isinstance(given, Prompting):
        raise ArgumentError(f"prompting={_shown(given)} is none: give rp.Prompting(...)")
    check_numbers(shots=(given.shots, 0))
    for name, known in (("chat", get_args(ChatMode)), ("choices", get_args(ChoiceMode))):
        if getattr(given, name) not in known:
            raise ArgumentError(f"{name}={_shown(getattr(given, name))} is none of {', '.join(known)}")
