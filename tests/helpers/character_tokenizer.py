"""Character-level tokenizers for small random models."""

from __future__ import annotations

from typing import Any

from tests.helpers.model_families import VOCAB

FIRST = 3  # the ids below are padding, beginning and end


class Letters:
    """Maps printable characters to the ids 3 to 96 and back; the ids below decode to nothing."""

    eos_token_id = 2

    def __call__(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> dict[str, Any]:
        ids = [FIRST + ord(letter) % (VOCAB - FIRST) for letter in text]
        if return_tensors is not None:
            import torch

            return {"input_ids": torch.tensor([ids])}
        return {"input_ids": ids}

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        return "".join(chr(32 + int(token)) for token in ids if int(token) >= FIRST)


class Cut(Letters):
    """Keeps only the last characters of a prompt, so that prompts may have any length, down to one token."""

    def __init__(self, keep: int) -> None:
        self.keep = keep

    def __call__(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> dict[str, Any]:
        head, frame, tail = text.partition("Answer:")
        return super().__call__((head + frame)[-self.keep :] + tail if frame else text, return_tensors=return_tensors)
