"""Places: the part of a prompt and its answer in which heads are off.

The last token of the prompt predicts the answer's first token, so ``prompt`` and ``answer`` meet between the two:
``answer`` is the positions of generated tokens, and ``all`` is both. Tokens that are put around a question (worked
examples, a chat's marks, a beginning-of-sequence token) belong to the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoning_probe.data.items import PLACES
from reasoning_probe.data.places import ALL, ANSWER, LAST, PROMPT, THOUGHT, PlaceError
from reasoning_probe.data.prompts.token_places import part_tokens, token_spans, tokens_before

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.data.prompts.special_tokens import AddedTokens

Span = tuple[int, int]
"""The first position of a stretch of tokens, and the one after its last."""


@dataclass(frozen=True)
class AblatedPositions:
    """The positions of one query at which heads are off.

    They are these ``tokens`` of its prompt, in order (``None``: all of them), and with ``answer`` every generated token
    after the ``prompt_length`` tokens of the prompt.
    """

    prompt_length: int = 0
    tokens: tuple[int, ...] | None = None
    answer: bool = True

    @property
    def everywhere(self) -> bool:
        """Whether no position is left out."""
        return self.tokens is None and self.answer

    @property
    def first(self) -> int:
        """The first of the positions; before it, nothing differs from the clean pass."""
        if self.tokens is None:
            return 0
        return self.tokens[0] if self.tokens else self.prompt_length

    def covers(self, length: int) -> bool | None:
        """Tell whether the first *length* tokens of the prompt are off: all, none, or (``None``) only some."""
        if self.tokens is None:
            return True
        return False if self.first >= length else None

    def mask(self, span: Span | None) -> Tensor | bool:
        """Return which positions of *span* are off, ``(tokens,)`` bool, or one value where all or none are.

        ``None`` stands for generated tokens.
        """
        if self.everywhere or span is None:
            return self.answer
        start, end = span
        off = torch.zeros(end - start, dtype=torch.bool)  # (tokens,)
        answer_start = max(0, self.prompt_length - start)
        off[answer_start:] = self.answer
        if self.tokens is None:
            off[:answer_start] = True
        else:
            off[[token - start for token in self.tokens if start <= token < end]] = True
        return bool(off[0]) if bool((off == off[0]).all()) else off

    @property
    def within_prompt(self) -> AblatedPositions:
        """Those of the prompt alone."""
        return replace(self, answer=False)


EVERYWHERE = AblatedPositions()


def positions_of(
    where: str, query: Query, prompt_length: int, tokenizer: Any, added: AddedTokens | None = None
) -> AblatedPositions:
    """Return the positions of the place *where* in *query*, whose prompt has so many tokens under *tokenizer*.

    *where* is ``all``, ``prompt``, ``answer``, ``last``, ``thought`` or the name of a part of the question. Raises
    :class:`PlaceError` for a part that the item does not have or whose tokens cannot be told.
    """
    if where == THOUGHT and where not in query.item.parts:
        if query.thought is None:  # the tokens that are generated are the thought, or there is none
            return AblatedPositions(prompt_length, (), answer=query.generation.thinks)
        start = _thought_start(query, prompt_length, tokenizer, added)
        return AblatedPositions(prompt_length, tuple(range(start, prompt_length)), answer=False)
    if where in (PROMPT, LAST) and query.thought is not None:
        start = _thought_start(query, prompt_length, tokenizer, added)
        first = 0 if where == PROMPT else start - 1
        return AblatedPositions(prompt_length, tuple(range(first, start)), answer=False)
    if where in PLACES:
        return named_positions(where, prompt_length)
    if where not in query.item.parts:
        raise PlaceError(f"its question has no part {where!r}")
    spans = token_spans(tokenizer, query, added)
    tokens = () if spans is None else part_tokens(query, spans).get(where, ())
    if not tokens:
        raise PlaceError(f"the tokens of its part {where!r} cannot be told")
    return AblatedPositions(prompt_length, tokens, answer=False)


def _thought_start(query: Query, prompt_length: int, tokenizer: Any, added: AddedTokens | None) -> int:
    """Return the first token of the thought that ends the prompt of *query*, which has *prompt_length* tokens.

    A token that holds characters of both belongs to the question. Raises :class:`PlaceError` where it cannot be told.
    """
    assert query.thought_start is not None
    start = tokens_before(tokenizer, query, query.thought_start, added)
    if start is None:
        raise PlaceError("the tokens of its thought cannot be told: switch heads off in all or answer")
    return min(start, prompt_length)


def named_positions(where: str, prompt_length: int) -> AblatedPositions:
    """Return the positions of one of the places that every query has.

    >>> named_positions("last", 7)
    AblatedPositions(prompt_length=7, tokens=(6,), answer=False)
    """
    tokens = {ALL: None, PROMPT: None, ANSWER: (), LAST: (prompt_length - 1,)}[where]
    return AblatedPositions(prompt_length, tokens, answer=where in (ALL, ANSWER))
