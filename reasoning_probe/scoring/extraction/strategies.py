"""Strategies: functions that are tried in order until one of them decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, TypeVar

Source = TypeVar("Source")
Result = TypeVar("Result")


class Decision(Enum):
    """The decision of a strategy that returns no result."""

    NO_ANSWER = "there is no definite answer, and no later strategy may look for one"


NO_ANSWER: Final = Decision.NO_ANSWER


def first_decision(strategies: Iterable[Callable[[Source], Result | Decision | None]], source: Source) -> Result | None:
    """Return the result of the first strategy that decides, or ``None`` if it is ``NO_ANSWER`` or none decides.

    A strategy returns its result, ``NO_ANSWER``, or ``None`` where it does not apply and the next one is tried.

    >>> first_decision([lambda text: None, str.upper, lambda text: "later"], "yes")
    'YES'
    >>> first_decision([lambda text: NO_ANSWER, lambda text: "later"], "yes") is None
    True
    """
    for strategy in strategies:
        decision = strategy(source)
        if decision is NO_ANSWER:
            return None
        if decision is not None:
            return decision
    return None
