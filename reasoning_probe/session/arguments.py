"""Checks of the arguments of :func:`~reasoning_probe.sweep`: what makes no sense is one line, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from reasoning_probe.data.items import has_lone_surrogate
from reasoning_probe.data.places import parse_where
from reasoning_probe.data.prompts.chat import RESERVED
from reasoning_probe.data.prompts.prompting import ChatMode, ChoiceMode, Prompting
from reasoning_probe.data.prompts.sampling import MOST_SAMPLES, Sampling
from reasoning_probe.engine import NUMERICS
from reasoning_probe.models.generation import GenerationMode
from reasoning_probe.models.targets import ABLATIONS, PATCHES, Target, TargetError, check_ablations
from reasoning_probe.results.cards.choice import parse_describe
from reasoning_probe.results.samples import VerdictError, parse_verdict
from reasoning_probe.scoring.extraction.markup import thought_marks
from reasoning_probe.utils.text import OneLineError, quoted


class ArgumentError(OneLineError):
    """An argument that makes no sense; the message is one line that says what to write instead."""


def check_model(model: Any, tokenizer: Any) -> None:
    """Refuse what is no model, or no tokenizer."""
    if not (hasattr(model, "config") and hasattr(model, "named_modules")):
        raise ArgumentError(f"{quoted(model)} is not a model: give a causal language model of transformers, loaded")
    if not callable(tokenizer) or hasattr(tokenizer, "named_modules"):
        raise ArgumentError(f"{quoted(tokenizer)} is not a tokenizer: give the model's own")


def ablation_names(value: Any) -> tuple[str, ...]:
    """Return the names of ablations, each once."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ArgumentError(f"ablation={quoted(value)} names no ablation: use {', '.join(ABLATIONS)}")
    names = [part.strip() if isinstance(part, str) else part for part in parts]
    for name in names:
        if not isinstance(name, str) or name not in ABLATIONS:
            raise ArgumentError(f"unknown ablation {quoted(name)}: use {', '.join(ABLATIONS)}")
    return tuple(dict.fromkeys(names))


def place(value: Any, ablations: Sequence[str]) -> str:
    """Return the place at which heads are off by these *ablations*."""
    try:
        where = parse_where(value if isinstance(value, str) else quoted(value))
    except ValueError as error:
        raise ArgumentError(f"where={error}") from None
    try:
        check_ablations(ablations, where)
    except TargetError as error:
        raise ArgumentError(f"ablation: {error}") from None
    return where


def check_numbers(**numbers: tuple[Any, int]) -> None:
    """Refuse what is no whole number from the least on; each comes with its least."""
    for name, (value, least) in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name}={quoted(value)} is not a whole number from {least} on")


def check_texts(dataset: Any, stop: Any, cache: Any) -> None:
    """Refuse names, stop strings and folders that are none."""
    if not isinstance(dataset, str) or not dataset.strip():
        raise ArgumentError(f"dataset={quoted(dataset)} is not a name: give a text")
    if not isinstance(stop, list | tuple) or not all(isinstance(word, str) and word for word in stop):
        raise ArgumentError(f"stop={quoted(stop)} holds no stop strings: give a tuple of texts, () for none")
    if cache is not None and not (isinstance(cache, str | Path) and str(cache).strip() and _is_name(str(cache))):
        raise ArgumentError(f"cache={quoted(cache)} is not a folder: give its path, or None")


def _is_name(path: str) -> bool:
    """Tell whether a file system may have *path*, which holds no NUL and no half of a surrogate pair."""
    return "\0" not in path and not has_lone_surrogate(path)


def sampling(samples: Any, temperature: Any, top_p: Any, top_k: Any, verdict: Any) -> Sampling | None:
    """Return how answers are sampled; ``None`` where they are decoded greedily."""
    if samples is None:
        return None
    check_numbers(samples=(samples, 1), top_k=(top_k, 0))
    if samples > MOST_SAMPLES:
        raise ArgumentError(f"samples={samples} is too many for a case: ask for {MOST_SAMPLES:,} or fewer")
    # Less than the least, as the options have it, is 0 in float32.
    for name, value, least, most in (("temperature", temperature, 1e-6, 100), ("top_p", top_p, 1e-9, 1)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ArgumentError(f"{name}={quoted(value)} is not a number from {least:g} to {most}")
    try:
        return Sampling(samples, float(temperature), float(top_p), top_k, parse_verdict(str(verdict)))
    except VerdictError as error:
        raise ArgumentError(f"verdict={quoted(verdict)}: {error}") from None


def check_race(race: Any, targets: Any) -> None:
    """Refuse what says neither that targets race nor that they do not, and a race of nothing."""
    if not isinstance(race, bool):
        raise ArgumentError(f"race={quoted(race)} is neither True nor False")
    if race and isinstance(targets, list | tuple) and not targets:
        raise ArgumentError("race stops targets, and nothing is switched off: leave out targets=()")


def check_greedy(
    sampling: Sampling | None, ablations: Sequence[str], *, paths: bool, masks: int | None, race: bool
) -> None:
    """Refuse sampled answers where only greedy ones are measured."""
    plain = ["race"] * race + _of_plain_answers(ablations, paths=paths, masks=masks)
    if sampling is not None and plain:
        raise ArgumentError(f"{plain[0]} takes answers that are decoded greedily: leave out samples")


def check_thinking(tokens: Any, think: str, ablations: Sequence[str], *, paths: bool, masks: int | None) -> None:
    """Refuse a limit of thoughts that is none, and thoughts where they cannot be asked."""
    if tokens is None:
        return
    check_numbers(think_tokens=(tokens, 1))
    if think == "off":
        raise ArgumentError("think_tokens needs the marks of a thought: leave out think='off'")
    if plain := _of_plain_answers(ablations, paths=paths, masks=masks):
        raise ArgumentError(f"{plain[0]} takes answers without a thought: leave out think_tokens")


def _of_plain_answers(ablations: Sequence[str], *, paths: bool, masks: int | None) -> list[str]:
    """Return what was chosen that is measured on greedy answers without a thought alone."""
    return ["paths"] * paths + ["masks"] * (masks is not None) + [name for name in ablations if name in PATCHES]


def check_targets(value: Any) -> None:
    """Refuse what is neither a spec nor a sequence of specs and targets."""
    if value is None or isinstance(value, str | Target):
        parts: Sequence[Any] = () if value is None else [value]
        if value == "":
            raise ArgumentError("targets is empty: write L3H7, ..., None for every head, or () for the baseline alone")
    elif isinstance(value, list | tuple):
        parts = value
    else:
        raise ArgumentError(f"targets={quoted(value)} names no target: write 'L3H7,L5', or a list of such")
    for part in parts:
        if not isinstance(part, str | Target):
            raise ArgumentError(f"{quoted(part)} is not a target: write 'L3H7', or give a Target")
        if isinstance(part, Target) and not part.heads:
            raise ArgumentError(f"the target {quoted(part.name)} switches nothing off: leave it out")


def described_heads(value: Any) -> str:
    """Return which heads have a card, in the option's spelling."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        value = ",".join(value) if value else 0
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ArgumentError(f"describe={quoted(value)} names no heads: write 'auto', a number, or 'L3H1,L5H0'")
    try:
        return parse_describe(str(value))
    except ValueError as error:
        raise ArgumentError(f"describe: {error}") from None


def check_numerics(value: Any) -> None:
    """Refuse numerics that do not exist."""
    if value not in NUMERICS:
        raise ArgumentError(f"numerics={quoted(value)} is not one of {', '.join(NUMERICS)}")


def check_prompting(value: Any) -> None:
    """Refuse ways of putting questions that do not exist."""
    if value is None:
        return
    if not isinstance(value, Prompting):
        raise ArgumentError(f"prompting={quoted(value)} is not a Prompting: give rp.Prompting(...)")
    check_numbers(shots=(value.shots, 0))
    for name, text in (("shots_from", value.shots_from), ("template", value.template)):
        if not isinstance(text, str | Path | None):
            raise ArgumentError(f"{name}={quoted(text)} is not a text: give one, or None")
    if not isinstance(value.cot, bool):
        raise ArgumentError(f"cot={quoted(value.cot)} is neither True nor False")
    for name, known in (("chat", get_args(ChatMode)), ("choices", get_args(ChoiceMode))):
        if getattr(value, name) not in known:
            raise ArgumentError(f"{name}={quoted(getattr(value, name))} is not one of {', '.join(known)}")
    try:
        thought_marks(value.think)
    except ValueError as error:
        raise ArgumentError(f"think={error}") from None
    check_chat_kwargs(value.chat_kwargs)


def check_generation(value: Any) -> None:
    """Refuse what is no way to treat the model's generation settings."""
    if value not in get_args(GenerationMode):
        raise ArgumentError(f"generation={quoted(value)} is not one of {', '.join(get_args(GenerationMode))}")


def check_chat(prompting: Prompting) -> None:
    """Refuse arguments for a chat template that is off."""
    if prompting.chat_kwargs and prompting.chat == "off":
        raise ArgumentError(
            "chat_kwargs is for the chat template, which is off: give prompting=rp.Prompting(chat='on')"
        )


def check_chat_kwargs(value: Any) -> None:
    """Refuse what are no arguments for a chat template."""
    if value is None:
        return
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise ArgumentError(
            f"chat_kwargs={quoted(value)} is not a dict of names: give one, {{'enable_thinking': False}}"
        )
    if reserved := sorted(RESERVED & set(value)):
        raise ArgumentError(f"chat_kwargs: {reserved[0]} is not for you to pass: it says what is rendered, or how")
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError, RecursionError):
        raise ArgumentError(f"chat_kwargs={quoted(value)}: give values of JSON's types") from None
