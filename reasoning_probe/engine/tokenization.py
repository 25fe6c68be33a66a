"""Queries as tokens and completions as text: where an answer ends and what it says."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from reasoning_probe.data.prompts.prompting import cut_at_stop
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.special_tokens import added_tokens
from reasoning_probe.engine.sampling import GumbelNoise, Sampler, sampler_of
from reasoning_probe.engine.transfers import to_device
from reasoning_probe.models.ablation import Replacement
from reasoning_probe.models.errors import is_panic
from reasoning_probe.models.hooks import text_config
from reasoning_probe.models.targets import Target
from reasoning_probe.models.weights import device_of
from reasoning_probe.utils.text import OneLineError, one_line


class ContextError(OneLineError):
    """A query that the model cannot take, such as one too long; its item is skipped with the message as the reason."""


@dataclass(frozen=True)
class Completion:
    """What the model answered: the new tokens (an end-of-sequence token included) and the expected answer's log-prob.

    ``logprob`` is in nats, summed over the expected answer's tokens.
    """

    tokens: tuple[int, ...]
    logprob: float


@dataclass(frozen=True)
class Baseline:
    """The unablated completion of a query with the best logit at each token, against which noise is measured.

    ``epsilon`` is the relative spacing of the floating-point numbers of the logits' dtype. ``digests`` holds a number
    for the bits of all logits at each token where these must not depend on the batch; it is empty where they may.
    More noise than ``tolerance`` can change the answer whatever the margins are. Where the answer is sampled, logits
    are those with its noise.
    """

    completion: Completion
    best_logits: tuple[float, ...]
    epsilon: float
    digests: tuple[int, ...] = ()
    tolerance: float = math.inf


@dataclass(frozen=True)
class EncodedQuery:
    """A query as tokens: the ``prompt``, ``(1, tokens)``, the expected ``answer``, and the ``limit`` of new tokens.

    The ``sampler`` draws the tokens of its answer; ``None`` decodes greedily.
    """

    prompt: Tensor
    answer: tuple[int, ...]
    limit: int
    sampler: Sampler | None = None


@dataclass(frozen=True)
class AblationJob:
    """A query to answer under each of ``targets``, with what replaces their output and the unablated answer."""

    encoded: EncodedQuery
    stop: tuple[str, ...]
    baseline: Baseline
    targets: tuple[Target, ...]
    replacement: Replacement
    resolves_near_ties: bool = True  # by running the row alone; the log-probability does not need it

    @property
    def prompt_length(self) -> int:
        """Number of tokens of the prompt."""
        return int(self.encoded.prompt.shape[1])

    @property
    def draft(self) -> tuple[int, ...]:
        """The baseline's answer, which ablated rows are verified against."""
        return self.baseline.completion.tokens

    @property
    def length(self) -> int:
        """Number of tokens of the prompt and the baseline's answer."""
        return self.prompt_length + len(self.draft)

    @property
    def start(self) -> int:
        """The first position that a row computes: that of the first ablated token, or of the prompt's last.

        The prompt's last token predicts the answer's first.
        """
        return min(self.replacement.positions.first, self.prompt_length - 1)

    def ended(self, tokens: Sequence[int], codec: TokenCodec) -> bool:
        """Tell whether an answer of *tokens* to this query is complete."""
        return len(tokens) >= self.encoded.limit or codec.ended(tokens, self.stop)


class TokenCodec:
    """Encodes queries and decodes completions for one model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.added = added_tokens(tokenizer)
        self.device = device_of(model)
        self.eos = _eos_ids(model, tokenizer)
        self.noise = GumbelNoise()
        self.context = _context(model)
        self.vocabulary_size = getattr(model.get_input_embeddings(), "num_embeddings", None)
        self._ended_by_tail: dict[tuple[tuple[int, ...], tuple[str, ...]], bool] = {}

    @property
    def pad(self) -> int:
        """The id that pads rows which have ended."""
        return min(self.eos) if self.eos else 0

    def within_context(self, prompts: Mapping[str, Sequence[str]], chats: Container[str]) -> dict[str, list[str]]:
        """Return *prompts*, by dataset, without those that are longer than the model's context."""
        return {
            name: [prompt for prompt in of_dataset if self._fits(prompt, name not in chats)]
            for name, of_dataset in prompts.items()
        }

    def _fits(self, prompt: str, special_tokens: bool) -> bool:
        if self.context is None or len(prompt.encode("utf-8", "surrogatepass")) < self.context // 2:
            return True  # a token is a byte or more, but for the special ones
        return len(self.ids(prompt, special_tokens)) <= self.context

    def encode(self, query: Query) -> EncodedQuery:
        """Return *query* as tokens; raises :class:`ContextError` if prompt and answer exceed the context."""
        prompt = self.ids(query.prompt, query.special_tokens)
        if not prompt:
            raise ContextError("the tokenizer makes no tokens of the prompt")
        answer = self._continuation(query, prompt)
        if self.vocabulary_size is not None and (last := max(*prompt, *answer)) >= self.vocabulary_size:
            raise ContextError(
                f"the tokenizer makes the token {last} of it, and the model has no more than {self.vocabulary_size}"
            )
        limit = query.generation.max_new_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(prompt))
            if limit < 1 or len(prompt) + len(answer) > self.context:
                what = "its prompt" if query.thought is None else "its prompt with a thought"
                raise ContextError(f"{what} of {len(prompt)} tokens does not fit the context of {self.context}")
        sampler = sampler_of(query, self.noise)
        return EncodedQuery(to_device([prompt], self.device), answer, limit, sampler)

    def ids(self, text: str, special_tokens: bool = True) -> list[int]:
        """Return *text* as token ids; *special_tokens* adds those that the tokenizer puts before a text."""
        options = {} if special_tokens else {"add_special_tokens": False}
        try:
            ids = self.tokenizer(text, **options)["input_ids"]
        except BaseException as error:
            if is_panic(error) or type(error) is Exception:  # what tokenizers raises for a text that it cannot read
                raise ContextError(f"the tokenizer cannot read it: {one_line(error, 120)}") from error
            raise
        return self.added.trimmed(ids, special_tokens=special_tokens)

    def _continuation(self, query: Query, ids: list[int]) -> tuple[int, ...]:
        """Return the tokens of the expected answer after a prompt of *ids*."""
        text = query.continuation
        joint_ids = self.ids(query.prompt + text, query.special_tokens)
        if joint_ids[: len(ids)] == ids and len(joint_ids) > len(ids):
            return tuple(joint_ids[len(ids) :])
        # Prompt and answer merge into other tokens: the answer's own tokens continue the prompt instead.
        return tuple(self.ids(text, special_tokens=False))

    def ended(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Tell whether a completion of *tokens* has just ended, by an end-of-sequence token or a stop string.

        Only the last few tokens are decoded, so that calling this after each token takes time linear in their number.
        """
        if tokens[-1] in self.eos:
            return True
        if not stop:
            return False
        tail = tuple(tokens[-self.stop_window(stop) :])
        key = (tail, stop)
        if key not in self._ended_by_tail:
            text = self.tokenizer.decode(tail, skip_special_tokens=True)
            self._ended_by_tail[key] = any(word in text for word in stop)
        return self._ended_by_tail[key]

    @staticmethod
    def stop_window(stop: tuple[str, ...]) -> int:
        """Return how many of the last tokens can contain a stop string: one has at most as many tokens as bytes."""
        return max((len(word.encode("utf-8", "surrogatepass")) for word in stop), default=0) + 4

    def cut(self, tokens: Sequence[int], stop: tuple[str, ...]) -> tuple[int, ...]:
        """Return *tokens* up to the one that ends the completion."""
        window = self.stop_window(stop)
        for end in range(1, len(tokens) + 1):
            if self.ended(tokens[max(0, end - window) : end], stop):
                return tuple(tokens[:end])
        return tuple(tokens)

    def text(self, tokens: tuple[int, ...], stop: tuple[str, ...]) -> str:
        """Return the text of *tokens*, without special tokens and cut before the first stop string."""
        return cut_at_stop(self.tokenizer.decode(list(tokens), skip_special_tokens=True), stop)

    def truncated(self, tokens: tuple[int, ...], stop: tuple[str, ...], limit: int) -> bool:
        """Tell whether the token limit ended the completion."""
        return len(tokens) >= limit and not self.ended(tokens, stop)


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer: those at which ``generate`` itself ends, and the tokenizer's.

    A chat model's end of turn is often named in only one of the places. A token that only the model's config names
    counts if it is a special token of the tokenizer: a config that was never filled in has its class's default, which
    may be a word of this vocabulary.
    """
    config = _ids(getattr(text_config(model.config), "eos_token_id", None))
    generation = _ids(getattr(getattr(model, "generation_config", None), "eos_token_id", None)) or config
    special = frozenset(getattr(tokenizer, "all_special_ids", ()))
    return generation | _ids(getattr(tokenizer, "eos_token_id", None)) | (config & special)


def _ids(value: Any) -> frozenset[int]:
    return frozenset() if value is None else frozenset(value if isinstance(value, list | tuple) else [value])


def _context(model: Any) -> int | None:
    size = getattr(text_config(model.config), "max_position_embeddings", None)
    return size if isinstance(size, int) and size > 0 else None
