"""What is wrong with a model, in one line that names the mend, whatever transformers says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from reasoning_probe.utils.text import one_line


class ModelError(ValueError):
    """A model that cannot be found, loaded or used; the message is one line that names the mend."""

    def __init__(self, said: str) -> None:
        super().__init__(one_line(said))  # it may quote the model's files


@contextmanager
def as_model_error(name: str) -> Iterator[None]:
    """Turn whatever loading raises into one line: a model's files are input, not code."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # libraries raise every kind of error on a bad file
        said = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"cannot load the model {name}: {_meaning(said) or one_line(said, 300)}") from error


def _meaning(said: str) -> str | None:
    """Return what transformers means by an error that it words at length."""
    low = said.lower()
    if "unrecognized configuration class" in low:
        return "it is no decoder-only language model"
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
    if needed := re.search(r"requires the (protobuf|sentencepiece|tiktoken) library", low):
        return f"its tokenizer cannot be made: give its files, tokenizer.json among them, or pip install {needed[1]}"
    if "ignore_mismatched_sizes" in low or "size mismatch for" in low:
        return "its weights have other shapes than config.json says: the two do not belong together"
    if "device disk is invalid" in low:  # transformers 4 asks for the whole file on a device of that name
        return "no part of it fits into what --probe-device-map allows: allow more, or take transformers 5"
    if "deserializing header" in low or "incompletebuffer" in low or "not fully covered" in low:
        return f"a file of weights is damaged or only half there ({one_line(said, 120)}): download it again"
    if any(
        word in low for word in ("not a valid model identifier", "couldn't connect", "can't load", "offline", "404")
    ):
        return "it is no folder here, and the hub has no such model or cannot be reached: check the name"
    return None
