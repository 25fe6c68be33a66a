"""The tags of the items behind outcomes: those that are stored, or those that the question gives in an older run."""

from __future__ import annotations

from reasoning_probe.data.tags import tags_of
from reasoning_probe.results.outcome import Outcome


def outcome_tags(outcome: Outcome) -> dict[str, str]:
    """Return the tags of the item of *outcome*; from its question, answer and choices where none are stored.

    A built-in or generated question gives the same tags either way. A solution that is not built in is in no run's
    files, so what it alone would tell is missing then.
    """
    if outcome.tags is not None:
        return dict(outcome.tags)
    return tags_of(outcome.question, outcome.expected, tuple(choice.text for choice in outcome.choices or ()))
