"""The special tokens that a tokenizer puts around a text, and what they must not do to a prompt.

A prompt begins with one beginning-of-sequence token at most, wherever it comes from: the tokenizer, a chat template or
the user's own text. It ends in no end-of-sequence token: tokenizers that were set up for training append one, after
which a model begins something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SAMPLE = "Question"


@dataclass(frozen=True)
class AddedTokens:
    """The ids that a tokenizer puts ``before`` and ``after`` a text, and the id that begins a sequence, if any.

    ``always`` are those that it puts after a text even where it is told to add no special tokens.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    beginning: int | None = None
    always: tuple[int, ...] = ()

    def trimmed(self, ids: Sequence[int], special_tokens: bool = True) -> list[int]:
        """Return the *ids* of a prompt without a doubled beginning, and without what the tokenizer put after it.

        *special_tokens* says whether the tokenizer was to add its own.

        >>> AddedTokens((1,), (2,), 1).trimmed([1, 1, 50, 60, 2])
        [1, 50, 60]
        """
        trimmed = list(ids)
        end = self.after if special_tokens else self.always
        if end and len(trimmed) > len(end) and tuple(trimmed[-len(end) :]) == end:
            del trimmed[-len(end) :]
        beginnings = {self.before, () if self.beginning is None else (self.beginning,)} - {()}
        for beginning in beginnings:
            size = len(beginning)
            while len(trimmed) > 2 * size and tuple(trimmed[: 2 * size]) == beginning * 2:
                del trimmed[:size]
        return trimmed


def added_tokens(tokenizer: Any) -> AddedTokens:
    """Return what *tokenizer* puts around a text; nothing where it cannot be told apart from the text's own tokens."""
    beginning = getattr(tokenizer, "bos_token_id", None)
    beginning = beginning if isinstance(beginning, int) else None
    try:
        bare = list(tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"])
        whole = list(tokenizer(_SAMPLE)["input_ids"])
    except TypeError:  # a function of the user's that takes a text and nothing else
        return AddedTokens(beginning=beginning)
    eos = getattr(tokenizer, "eos_token_id", None)
    core = list(bare)
    while len(core) > 1 and core[-1] == eos:
        core.pop()
    always = tuple(bare[len(core) :])
    for start in range(len(whole) - len(core) + 1 if core else 0):
        end = start + len(core)
        if whole[start:end] == core:
            return AddedTokens(tuple(whole[:start]), tuple(whole[end:]), beginning, always)
    return AddedTokens(beginning=beginning, always=always)


def token_text(tokenizer: Any, name: str) -> str:
    """Return the text of the special token *name* of *tokenizer*, ``bos_token`` or ``eos_token``; empty for none."""
    text = getattr(tokenizer, name, None)
    return text if isinstance(text, str) else ""
