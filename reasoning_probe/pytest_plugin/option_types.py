"""The types of the options: functions from a text to its value, which raise :class:`OptionError` with one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reasoning_probe.data.prompts.sampling import MOST_SAMPLES
from reasoning_probe.models.loading import DTYPES
from reasoning_probe.models.targets import ABLATIONS
from reasoning_probe.results.circuits import FEWEST_MASKS
from reasoning_probe.results.screening import METHODS
from reasoning_probe.utils.text import OneLineError

_BYTES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class OptionError(OneLineError):
    """An option's value that cannot be read."""


# -- numbers ------------------------------------------------------------------------------------------------------


MOST_SHOTS = 1_000
"""Worked examples before a question, at most: more fit no model's context."""


def _whole_number(text: str, least: int) -> int:
    digits = text.isascii() and text.isdigit()
    if digits and len(text) > 9:
        raise OptionError(f"{text[:40]} is too large: write a number below 1,000,000,000")
    if not digits or int(text) < least:
        raise OptionError(f"{text[:40]!r} is not a whole number from {least} on")
    return int(text)


def positive_int(text: str) -> int:
    """Return a whole number from 1 on."""
    return _whole_number(text, 1)


def mask_count(text: str) -> int:
    """Return a number of random halves of the heads, enough to tell heads apart."""
    count = positive_int(text)
    if count < FEWEST_MASKS:
        raise OptionError(f"{count} masks are too few to tell heads apart: write {FEWEST_MASKS} or more")
    return count


def sample_count(text: str) -> int:
    """Return a number of samples that a sweep can draw."""
    count = positive_int(text)
    if count > MOST_SAMPLES:
        raise OptionError(f"{count} samples of a case are too many: write {MOST_SAMPLES:,} or fewer")
    return count


def screen(text: str) -> tuple[int, str]:
    """Return the number of heads and the method of ``K`` or ``K:METHOD``."""
    number, colon, method = text.partition(":")
    if colon and method not in METHODS:
        raise OptionError(f"{method[:40]!r} is not a ranking of heads: write {' or '.join(METHODS)} after the number")
    return positive_int(number), method or METHODS[0]


def non_negative_int(text: str) -> int:
    """Return a whole number from 0 on."""
    return _whole_number(text, 0)


def temperature(text: str) -> float:
    """Return what logits are divided by, above 0 and at most 100."""
    if re.fullmatch(r"\d{1,3}(\.\d{1,6})?|\.\d{1,6}", text.strip(), re.ASCII) and 0 < float(text) <= 100:
        return float(text)
    raise OptionError(f"{text[:40]!r} is not a temperature: write a number above 0 and at most 100, such as 0.7")


def top_p(text: str) -> float:
    """Return a probability above 0."""
    if re.fullmatch(r"[01](\.\d{1,9})?|\.\d{1,9}", text.strip(), re.ASCII) and 0 < float(text) <= 1:
        return float(text)
    raise OptionError(f"{text[:40]!r} is not a probability: write a number above 0 and at most 1, such as 0.95")


def non_negative_float(text: str) -> float:
    """Return a number of processors, which may be a fraction or zero."""
    if re.fullmatch(r"\d{1,5}(\.\d{1,4})?", text.strip(), re.ASCII) is None:
        raise OptionError(f"{text[:40]!r} is not a number of processors: write 4, 0.5 or 0")
    return float(text.strip())  # float() strips fewer kinds of white space


@dataclass(frozen=True)
class ItemCounts:
    """How many items are asked, of each dataset or by its name, and how many are passed over before them."""

    counts: int | dict[str, int] | None = None
    starts: int | dict[str, int] = 0


def item_counts(text: str) -> ItemCounts:
    """Return ``N`` items of each dataset, or ``NAME=N,NAME=N`` by name; ``N@K`` passes over the first K."""
    if "=" not in text:
        return ItemCounts(*_count_from(text))
    counts: dict[str, int] = {}
    starts: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        if not (name and number) or name in counts:
            raise OptionError(
                f"cannot read {part.strip()[:40]!r}: write 200, or each dataset once, arithmetic=200,logic=100"
            )
        counts[name], starts[name] = _count_from(number)
    return ItemCounts(counts, starts)


def _count_from(text: str) -> tuple[int, int]:
    count, separator, start = text.partition("@")
    return positive_int(count), non_negative_int(start) if separator else 0


def byte_size(text: str) -> int:
    """Return a number of bytes: ``500MB``, ``4GB``, ``2GiB``."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)\s*([KMG]i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    number = 0 if match is None else int(float(match[1]) * _BYTES[(match[2] or "").upper()])
    if number < 1:
        raise OptionError(f"cannot read the size {text[:40]!r}: write 500MB, 4GB or 2GiB")
    return number


# -- names and texts ----------------------------------------------------------------------------------------------


def non_empty_text(text: str) -> str:
    """Return any text but an empty one."""
    if not text.strip():
        raise OptionError("needs a value")
    return text.strip()


def ablations(text: str) -> tuple[str, ...]:
    """Return the names of ablations without repetitions."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ABLATIONS:
            raise OptionError(f"unknown ablation {name[:40]!r}: use {', '.join(ABLATIONS)}")
    return names


def dtype(text: str) -> str:
    """Return the name of a dtype."""
    if text not in DTYPES:
        raise OptionError(f"unknown dtype {text[:40]!r}: use {', '.join(DTYPES)}")
    return text


def source(text: str) -> tuple[str, str]:
    """Return the name and the source of ``NAME=SOURCE``."""
    name, equals, source = text.partition("=")
    if not (name.strip() and equals and source.strip()):
        raise OptionError(f"cannot read {text[:80]!r}: write NAME=SOURCE, for example gsm8k=gsm8k_test.jsonl")
    return name.strip(), source.strip()


def shots(text: str) -> tuple[int, str | None]:
    """Return the number and the source of ``N`` (no source) or ``N:SOURCE``."""
    number, colon, source = text.partition(":")
    if number != "0" or colon:
        positive_int(number)
    if int(number) > MOST_SHOTS:
        raise OptionError(f"{number[:20]} worked examples fit no model: ask for {MOST_SHOTS:,} or fewer")
    if colon and not source.strip():
        raise OptionError(f"cannot read {text[:80]!r}: write N or N:SOURCE, for example 5:gsm8k_train.jsonl")
    return int(number), source.strip() or None


def think(text: str) -> str:
    """Return ``auto``, ``off``, or a pair of marks with a comma between them."""
    if text in ("auto", "off"):
        return text  # without the import, which every session would pay for
    from reasoning_probe.scoring.extraction.markup import thought_marks

    try:
        thought_marks(text)
    except ValueError as error:
        raise OptionError(str(error)) from None
    return text


# -- types made from others ---------------------------------------------------------------------------------------


def choice(*words: str) -> Callable[[str], str]:
    """Return a type that accepts *words* alone."""

    def parse(text: str) -> str:
        if text not in words:
            raise OptionError(f"{text[:40]!r} is not one of {', '.join(words)}")
        return text

    return parse


def as_option_type(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return *parse* as a type that raises :class:`OptionError` in place of any other ``ValueError``."""

    def parse_option(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise OptionError(str(error)) from None

    return parse_option
