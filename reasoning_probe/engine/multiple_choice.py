"""Multiple choice: every choice's log-probability, with the engine as it is.

A choice is an expected answer like any other, so a question with four choices is asked as four queries, one for each;
only the correct one's is answered in full. The answers are put together again to one with all log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reasoning_probe.data.prompts.prompting import LOGPROB_ALONE
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import Choice

_CHOICE = "\x00choice "
"""Stands between an item's id and the number of its choice; no id holds it."""


@dataclass
class _Question:
    """A question with choices: its query, and the answers to each choice so far, by target and ablation."""

    query: Query
    answers: dict[tuple[str, str | None], dict[int, Answer]] = field(default_factory=dict)


def run_multiple_choice(engine: Engine, requests: Sequence[SweepRequest]) -> Iterator[list[Answer]]:
    """Run *requests* on *engine*; a question with choices yields one answer a case, as all others do."""
    questions: dict[tuple[str, str], _Question] = {}
    expanded: list[SweepRequest] = []
    for request in requests:
        if request.query.item.choices:
            questions[request.query.dataset, request.query.item_id] = _Question(request.query)
            expanded += [replace(request, query=query) for query in _choice_queries(request.query)]
        else:
            expanded.append(request)
    for batch in engine.run(expanded):
        for skip in engine.skipped:
            skip["item"] = skip["item"].partition(_CHOICE)[0]
        yield [whole for answer in batch if (whole := _whole(answer, questions)) is not None]


def _whole(answer: Answer, questions: Mapping[tuple[str, str], _Question]) -> Answer | None:
    """Return the answer to a whole question; ``None`` while those to some of its choices are missing."""
    item_id, separator, number = answer.item.partition(_CHOICE)
    if not separator:
        return answer
    question = questions[answer.dataset, item_id]
    of_case = question.answers.setdefault((answer.target, answer.ablation), {})
    of_case[int(number)] = answer
    if len(of_case) < len(question.query.item.choices):
        return None
    question.answers[answer.target, answer.ablation] = {}
    return combine_choices(question.query, of_case)


def _choice_queries(query: Query) -> Iterator[Query]:
    """Yield a query for each choice as the expected answer; the correct one's is answered in full."""
    for number, choice in enumerate(query.item.choices):
        item = replace(query.item, id=f"{query.item_id}{_CHOICE}{number}", answer=choice, kind=None)
        generation = query.generation if choice == query.item.answer else LOGPROB_ALONE
        yield replace(query, item=item, generation=generation)


def combine_choices(query: Query, answers: Mapping[int, Answer]) -> Answer:
    """Return the answer to a question from those to its choices, by their numbers."""
    texts = query.item.choices
    choices = tuple(Choice(text, answers[number].answer_logprob) for number, text in enumerate(texts))
    return replace(answers[texts.index(query.item.answer)], query=query, choices=choices)
