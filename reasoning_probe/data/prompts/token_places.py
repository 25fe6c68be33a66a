"""Places of tokens: which tokens of a prompt hold a part of its question, and whether two prompts align.

A token holds a part if it has at least one of its characters. Two prompts align if they have as many tokens, and each
token belongs to the word of the same number: then position by position they say the same kind of thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reasoning_probe.data.items import Arm, Item, ItemError, Span
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.data.prompts.special_tokens import AddedTokens, added_tokens
from reasoning_probe.utils.text import OneLineError


def token_spans(tokenizer: Any, query: Query, added: AddedTokens | None = None) -> list[Span] | None:
    """Return the characters of the prompt of *query* that each of its tokens holds, an empty span for a special one.

    There are as many spans as :meth:`.TokenCodec.ids` has ids. *added* are the tokens that *tokenizer* adds, if they
    are known. It is ``None`` where the tokens' texts do not make the prompt, as with a tokenizer that changes letters.
    """
    added = added_tokens(tokenizer) if added is None else added
    options = {} if query.special_tokens else {"add_special_tokens": False}
    if getattr(tokenizer, "is_fast", False):
        encoding = tokenizer(query.prompt, return_offsets_mapping=True, **options)
        ids, spans = list(encoding["input_ids"]), [(start, end) for start, end in encoding["offset_mapping"]]
    else:
        ids = list(tokenizer(query.prompt, **options)["input_ids"])
        decoded = _decoded_spans(tokenizer, ids, query.prompt)
        if decoded is None:
            return None
        spans = decoded
    trimmed = added.trimmed(ids, special_tokens=query.special_tokens)
    start = next(start for start in range(len(ids)) if ids[start : start + len(trimmed)] == trimmed) if trimmed else 0
    return spans[start : start + len(trimmed)]


def tokens_before(tokenizer: Any, query: Query, place: int, added: AddedTokens | None = None) -> int | None:
    """Return how many tokens of the prompt of *query* come before its character *place*.

    A token that holds characters on both sides comes before it. Where the tokens' texts do not make the prompt, the
    text before *place* has to have the tokens that the prompt begins with; it is ``None`` where it has others.
    """
    added = added_tokens(tokenizer) if added is None else added
    spans = token_spans(tokenizer, query, added)
    if spans is not None:
        return next((index for index, (start, _) in enumerate(spans) if start >= place), len(spans))
    options = {} if query.special_tokens else {"add_special_tokens": False}
    whole, beginning = (
        added.trimmed(list(tokenizer(text, **options)["input_ids"]), special_tokens=query.special_tokens)
        for text in (query.prompt, query.prompt[:place])
    )
    return len(beginning) if whole[: len(beginning)] == beginning else None


def part_tokens(query: Query, spans: Iterable[Span]) -> dict[str, tuple[int, ...]]:
    """Return the indexes of the prompt's tokens that hold each part of the question of *query*, in order.

    *spans* are those of :func:`token_spans`. It is empty where the place of the question in the prompt is not known.

    >>> item = Item(question="5 + 3?", answer="8", parts={"operands": ((0, 1), (4, 5))})
    >>> query = Query("arithmetic", item, "Q: 5 + 3?", Generation(), question_start=3)
    >>> part_tokens(query, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)])
    {'operands': (1, 3)}
    """
    if query.question_start is None:
        return {}
    token_places = list(spans)
    tokens: dict[str, tuple[int, ...]] = {}
    for name, part in query.item.parts.items():
        places = [(start + query.question_start, end + query.question_start) for start, end in part]
        tokens[name] = tuple(
            index
            for index, (start, end) in enumerate(token_places)
            if any(start < place_end and place_start < end for place_start, place_end in places)
        )
    return tokens


def aligned(tokenizer: Any, query: Query, other: Query, added: AddedTokens | None = None) -> bool:
    """Tell whether the prompts of two queries have the same number of tokens, each in the word of the same number."""
    words, other_words = (_words(tokenizer, one, added) for one in (query, other))
    return words is not None and words == other_words


def _words(tokenizer: Any, query: Query, added: AddedTokens | None) -> list[int] | None:
    """Return the number of the word that each token of the prompt ends in; words end at space."""
    spans = token_spans(tokenizer, query, added)
    if spans is None:
        return None
    numbers, number, inside = [], -1, False
    for character in query.prompt:
        number += not inside and not character.isspace()
        inside = not character.isspace()
        numbers.append(number)
    return [numbers[end - 1] if end > start else -1 for start, end in spans]


class DonorError(OneLineError):
    """A donor that cannot be used; the message is the reason, as what is said of the donor."""


@dataclass(frozen=True)
class DonorQueries:
    """The donors of a dataset's items as queries, by the item's id, and why those of the others are left out."""

    arm: Arm
    queries: Mapping[str, Query]
    left_out: Mapping[str, str]

    def describe(self) -> str:
        """Return one line that counts the items that are left out, by the reason; empty if there are none.

        >>> DonorQueries("counterfactual", {}, {"a": "has none", "b": "has none"}).describe()
        'counterfactual: 2 of 2 items are left out: has none (2)'
        """
        if not self.left_out:
            return ""
        reasons = ", ".join(f"{reason} ({count})" for reason, count in Counter(self.left_out.values()).most_common())
        total = len(self.left_out) + len(self.queries)
        return f"{self.arm}: {len(self.left_out)} of {total} items are left out: {reasons}"


def donor_queries(
    renderer: PromptRenderer, tokenizer: Any, dataset: str, items: Iterable[Item], arm: Arm, generation: Generation
) -> DonorQueries:
    """Return the donors of *items*, rendered as these are, that align with them token for token under *tokenizer*."""
    added = added_tokens(tokenizer)
    queries: dict[str, Query] = {}
    left_out: dict[str, str] = {}
    for item in items:
        try:
            queries[str(item.id)] = donor_query(renderer, tokenizer, dataset, item, arm, generation, added)
        except DonorError as error:
            left_out[str(item.id)] = str(error)
    return DonorQueries(arm, queries, left_out)


def donor_query(
    renderer: PromptRenderer,
    tokenizer: Any,
    dataset: str,
    item: Item,
    arm: Arm,
    generation: Generation,
    added: AddedTokens | None = None,
) -> Query:
    """Return a donor of *item*, rendered as it is. Raises :class:`DonorError` where there is none that can be used."""
    donor = getattr(item, arm)
    if donor is None:
        raise DonorError("has none")
    if donor.question in {shot.question for shot in renderer.shots.get(dataset, ())}:
        raise DonorError("is one of the worked examples")
    try:
        other = renderer.query(dataset, item.with_question_of(donor), generation)
    except ItemError:
        raise DonorError("has no prompt") from None
    if not aligned(tokenizer, renderer.query(dataset, item, generation), other, added):
        raise DonorError("does not align with it token for token")
    return other


def _decoded_spans(tokenizer: Any, ids: list[int], prompt: str) -> list[Span] | None:
    """Return the characters of *prompt* that each of *ids* holds, by the texts of the first tokens, ever one more.

    Special tokens before the prompt hold none.
    """
    texts = ["", *(tokenizer.decode(ids[: count + 1]) for count in range(len(ids)))]
    offset = len(texts[-1]) - len(prompt)
    if offset < 0 or texts[-1][offset:] != prompt:
        return None
    ends = [max(0, len(text) - offset) for text in texts]
    return [(start, max(start, end)) for start, end in pairwise(ends)]
