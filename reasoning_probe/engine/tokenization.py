"""Replies: the tokens a model answered with, where they end, and what they say."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.data.prompts.prompting import cut_at_stop
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.hooks import text_config
from reasoning_probe.models.targets import Target
from reasoning_probe.models.weights import device_of


class ContextError(ValueError):
    """A query that the model cannot take, being too long for it; its item is skipped with this line as the reason."""


@dataclass(frozen=True)
class Reply:
    """What the model answered: the new tokens (an end-of-sequence token included) and the expected answer's log-prob.

    ``logprob`` is in nats, summed over the expected answer's tokens.
    """

    tokens: tuple[int, ...]
    logprob: float


@dataclass(frozen=True)
class Baseline:
    """The unablated reply to a query with the best logit of each token, against which noise is measured.

    ``step`` is how far two neighbouring numbers of the logits' type are apart, by their size.
    """

    reply: Reply
    best: tuple[float, ...]
    step: float


@dataclass(frozen=True)
class Encoded:
    """A query in tokens: the ``prompt``, ``(1, tokens)``, the expected ``answer``, and the ``limit`` of new tokens."""

    prompt: Tensor
    answer: tuple[int, ...]
    limit: int


@dataclass(frozen=True)
class AblationJob:
    """A query whose ablated answers are wanted: what is switched off, what stands in, and the unablated reply."""

    encoded: Encoded
    stop: tuple[str, ...]
    baseline: Baseline
    targets: tuple[Target, ...]
    replacement: Replacement
    settles: bool = True  # whether replies too close to call are settled alone; for the log-probability none need be

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return int(self.encoded.prompt.shape[1])

    @property
    def draft(self) -> tuple[int, ...]:
        """The baseline's answer, which ablated rows are verified against."""
        return self.baseline.reply.tokens

    @property
    def length(self) -> int:
        """Tokens of the prompt and the baseline's answer."""
        return self.prompt_length + len(self.draft)

    def ended(self, tokens: Sequence[int], codec: TokenCodec) -> bool:
        """Tell whether an answer of *tokens* to this query is complete."""
        return len(tokens) >= self.encoded.limit or codec.ended(tokens, self.stop)


class TokenCodec:
    """Turns queries to tokens and replies to text, for one model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.device = device_of(model)
        self.eos = _eos_ids(model, tokenizer)
        self.context = _context(model)
        self.known = getattr(model.get_input_embeddings(), "num_embeddings", None)
        self._endings: dict[tuple[tuple[int, ...], tuple[str, ...]], bool] = {}

    @property
    def pad(self) -> int:
        """The id that fills rows which have ended."""
        return min(self.eos) if self.eos else 0

    def fitting(self, prompts: Mapping[str, Sequence[str]], chats: Container[str]) -> dict[str, list[str]]:
        """Return *prompts*, by dataset, without those that the model's context does not hold."""
        return {
            name: [prompt for prompt in of_dataset if self._fits(prompt, name not in chats)]
            for name, of_dataset in prompts.items()
        }

    def _fits(self, prompt: str, special_tokens: bool) -> bool:
        if self.context is None or len(prompt.encode("utf-8", "surrogatepass")) < self.context // 2:
            return True  # a token is a byte or more, but for the special ones
        return len(self.ids(prompt, special_tokens)) <= self.context

    def encode(self, query: Query) -> Encoded:
        """Return *query* in tokens; raises :class:`ContextError` if prompt and answer exceed the context."""
        prompt = self.ids(query.prompt, query.special_tokens)
        if not prompt:
            raise ContextError("the tokenizer makes no tokens of the prompt")
        answer = self._continuation(query, prompt)
        if self.known is not None and (last := max(*prompt, *answer)) >= self.known:
            raise ContextError(
                f"the tokenizer makes the token {last} of it, and the model has no more than {self.known}"
            )
        room = query.generation.max_new_tokens
        if self.context is not None:
            room = min(room, self.context - len(prompt))
            if room < 1 or len(prompt) + len(answer) > self.context:
                raise ContextError(f"its prompt of {len(prompt)} tokens does not fit the context of {self.context}")
        return Encoded(torch.tensor([prompt], device=self.device), answer, room)

    def ids(self, text: str, special_tokens: bool = True) -> list[int]:
        """Return *text* in tokens, with the tokenizer's special ones where the text holds none of its own."""
        if special_tokens:
            return list(self.tokenizer(text)["input_ids"])
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _continuation(self, query: Query, ids: list[int]) -> tuple[int, ...]:
        text = query.continuation
        whole = self.ids(query.prompt + text, query.special_tokens)
        if whole[: len(ids)] == ids and len(whole) > len(ids):
            return tuple(whole[len(ids) :])
        # Prompt and answer merge into other tokens: the answer's own tokens continue the prompt instead.
        return tuple(self.ids(text, special_tokens=False))

    def ended(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Tell whether a reply of *tokens* has just ended: by an end-of-sequence token or a stop string.

        Only its last few tokens are looked at, so that asking after each token takes time linear in their number.
        """
        if tokens[-1] in self.eos:
            return True
        if not stop:
            return False
        tail = tuple(tokens[-self.window(stop) :])
        key = (tail, stop)
        if key not in self._endings:
            text = self.tokenizer.decode(tail, skip_special_tokens=True)
            self._endings[key] = any(word in text for word in stop)
        return self._endings[key]

    @staticmethod
    def window(stop: tuple[str, ...]) -> int:
        """Return in how many tokens, the last among them, a stop string ends: it has at most as many as bytes."""
        return max((len(word.encode("utf-8", "surrogatepass")) for word in stop), default=0) + 4

    def cut(self, tokens: Sequence[int], stop: tuple[str, ...]) -> tuple[int, ...]:
        """Return *tokens* as far as the reply goes: up to where it ended."""
        window = self.window(stop)
        for end in range(1, len(tokens) + 1):
            if self.ended(tokens[max(0, end - window) : end], stop):
                return tuple(tokens[:end])
        return tuple(tokens)

    def text(self, tokens: tuple[int, ...], stop: tuple[str, ...]) -> str:
        """Return what *tokens* say, without special tokens and cut before the first stop string."""
        return cut_at_stop(self.tokenizer.decode(list(tokens), skip_special_tokens=True), stop)

    def truncated(self, tokens: tuple[int, ...], stop: tuple[str, ...], limit: int) -> bool:
        """Tell whether the token limit ended the reply."""
        return len(tokens) >= limit and not self.ended(tokens, stop)


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer: those that ``generate`` ends at by itself, and the tokenizer's.

    A chat model's end of turn is often named in one place alone. What the config names beside the generation config
    counts where the tokenizer takes it for a special token: a config that was never filled in holds its class's
    default, which may be a word of this vocabulary.
    """
    config = _ids(getattr(text_config(model.config), "eos_token_id", None))
    own = _ids(getattr(getattr(model, "generation_config", None), "eos_token_id", None)) or config
    special = frozenset(getattr(tokenizer, "all_special_ids", ()))
    return own | _ids(getattr(tokenizer, "eos_token_id", None)) | (config & special)


def _ids(given: Any) -> frozenset[int]:
    return frozenset() if given is None else frozenset(given if isinstance(given, list | tuple) else [given])


def _context(model: Any) -> int | None:
    size = getattr(text_config(model.config), "max_position_embeddings", None)
    return size if isinstance(size, int) and size > 0 else None
