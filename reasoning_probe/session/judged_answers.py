"""The judgements of a session: equal responses to one item are judged once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.prompting import Prompting
    from reasoning_probe.results.answer import Answer
    from reasoning_probe.results.outcome import ItemKey
    from reasoning_probe.scoring.judgement import Judgement
    from reasoning_probe.session.extensions import Extensions

MOST_KEPT = 10_000
"""So many judgements are kept, those that were asked for last; the outcomes hold the responses themselves."""


class JudgedAnswers:
    """Judges answers by *extensions*, and an answer that repeats another one to its item without judging it again.

    Most heads change nothing, so most responses of a sweep repeat the baseline's. A judgement depends on the item, the
    response and whether it was cut, which is all that a user's hooks get, and on settings that hold for the whole
    session. A hook that draws lots or asks a service is therefore called once for equal responses: one response cannot
    be right under one head and wrong under another. What a hook raises is not kept.
    """

    def __init__(self, extensions: Extensions, prompting: Prompting, most: int = MOST_KEPT) -> None:
        self._extensions, self._prompting, self._most = extensions, prompting, most
        self._judgements: OrderedDict[tuple[ItemKey, str, bool, bool], Judgement] = OrderedDict()

    def judgement(self, answer: Answer) -> Judgement:
        """Return the judgement of *answer*. Raises ``ExtensionError`` for what a user's hook returns."""
        if answer.choices is not None:  # their log-probabilities decide, which differ under each head
            return self._judge(answer)
        key = (answer.item_key, answer.response, answer.truncated, answer.query.thought is None)
        if key not in self._judgements:
            self._judgements[key] = self._judge(answer)
        self._judgements.move_to_end(key)
        while len(self._judgements) > self._most:
            self._judgements.popitem(last=False)
        return self._judgements[key]

    def _judge(self, answer: Answer) -> Judgement:
        prompting = self._prompting
        return self._extensions.judgement(answer, listed=prompting.listing, think=prompting.think)
