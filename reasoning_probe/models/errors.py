"""Errors of models: what is wrong with a model and how to fix it, in one line instead of a library's traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from reasoning_probe.utils.text import OneLineError, one_line


class ModelError(OneLineError):
    """A model that cannot be found, loaded or used; the message is one line that names the fix."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))  # it may quote the model's files


def is_panic(error: BaseException) -> bool:
    """Tell whether *error* is a panic of a library in Rust, such as tokenizers: it is no ``Exception``."""
    return type(error).__name__ == "PanicException"


@contextmanager
def as_model_error(name: str) -> Iterator[None]:
    """Turn any exception raised while *name* is loaded into a :class:`ModelError`: its files are input, not code."""
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:  # libraries raise every kind of error on a bad file
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"cannot load the model {name}: {_explanation(text) or one_line(text, 300)}") from error


def _explanation(text: str) -> str | None:
    """Return cause and fix of a common error, recognised by the *text* of its message; ``None`` for any other."""
    low = text.lower()
    if "unrecognized configuration class" in low:
        return "it is not a decoder-only language model"
    if "trust_remote_code" in low:
        return (
            "it needs Python code that comes with it, which is not run: read that code, then trust it with"
            " --probe-trust-remote-code"
        )
    if "safetensors" in low and "pytorch_model.bin" not in low and "does not appear to have a file" in low:
        return (
            "it has no weights as safetensors: take a model or a revision that has, or trust its pickled ones with"
            " --probe-allow-pickle"
        )
    if library := re.search(r"requires the (protobuf|sentencepiece|tiktoken) library", low):
        return f"its tokenizer cannot be made: give its files, tokenizer.json among them, or pip install {library[1]}"
    if "ignore_mismatched_sizes" in low or "size mismatch for" in low:
        return "its weights have other shapes than config.json says: the two do not belong together"
    if "device disk is invalid" in low:  # transformers 4 asks for the whole file on a device of that name
        return "no part of it fits into what --probe-device-map allows: allow more, or take transformers 5"
    if "error while deserializing" in low or "incompletebuffer" in low or "not fully covered" in low:
        return f"a file of weights is damaged or incomplete ({one_line(text, 120)}): download it again"
    if any(
        word in low for word in ("not a valid model identifier", "couldn't connect", "can't load", "offline", "404")
    ):
        return "there is no such folder, and the hub has no such model or cannot be reached: check the name"
    return None
