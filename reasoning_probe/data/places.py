"""The names of places: where in a prompt and its answer heads are off."""

from __future__ import annotations

from collections.abc import Iterable

from reasoning_probe.data.items import PLACES, Item, ItemError, checked_parts
from reasoning_probe.utils.text import OneLineError

ALL, PROMPT, ANSWER, LAST = PLACES

THOUGHT = "thought"
"""What a model thinks before it answers; the name of a part of the question, too, where its item has one."""


class PlaceError(OneLineError):
    """A place that a question does not have; the message is one line."""


def parse_where(text: str) -> str:
    """Return the place that *text* names. Raises ``ValueError``, one line, for what is no name of one.

    >>> parse_where(" operands ")
    'operands'
    """
    name = text.strip()
    if name not in PLACES:
        try:
            checked_parts({name: [[0, 1]]}, "?")
        except ItemError:
            raise ValueError(
                f"{ascii(text)[:60]} is not a place: use {', '.join(PLACES)}, or a part of the questions, operands"
            ) from None
    return name


def check_place(where: str, items: Iterable[Item], *, thinking: bool = False) -> None:
    """Raise :class:`PlaceError` if *where* names a part that the question of none of *items* has.

    Where the model is *thinking*, its thought is a place.
    """
    if where in PLACES or (thinking and where == THOUGHT):
        return
    parts = {name for item in items for name in item.parts}
    if where == THOUGHT and where not in parts:
        raise PlaceError("a thought is a place where it has tokens of its own: add --probe-think-tokens N")
    if where not in parts:
        others = f"{', '.join(PLACES)} or {', '.join(sorted(parts)[:8])}" if parts else f"one of {', '.join(PLACES)}"
        raise PlaceError(f"no question has a part {where!r}: use {others}")
