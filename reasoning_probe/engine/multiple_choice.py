"""Multiple choice: every choice's log-probability, with the engine as it is.

A choice is an expected answer like any other, so a question with four choices is asked as four queries, one for each;
only the right one's is answered in full. The outcomes are put together again to one: the answer is the likeliest
choice, as in lm-evaluation-harness, or what was generated, where the choices were listed in the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.protocol import Runner
from reasoning_probe.results.outcome import Choice, Outcome, likeliest
from reasoning_probe.scoring.extraction.choices import read_choice

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import SweepRequest

CATEGORY, KIND = "wrong_label", "other_choice"
"""What a definite but wrong choice is called."""

_NTH = "\x00choice "  # between an item's id and the number of its choice; no id holds it


@dataclass
class _Asked:
    """A question with choices: its query, and what was found of each choice, by target and ablation."""

    query: Query
    found: dict[tuple[str, str | None], dict[int, Outcome]] = field(default_factory=dict)


def run_multiple_choice(
    runner: Runner, plan: Sequence[SweepRequest], skipped: list[dict[str, str]], *, listed: bool
) -> Iterator[list[Outcome]]:
    """Run *plan* on *runner*; questions with choices yield one outcome a case, as all others do.

    *skipped* is the engine's list of items that were left out; *listed* says that the prompt lists the choices.
    """
    asked: dict[tuple[str, str], _Asked] = {}
    works: list[SweepRequest] = []
    for work in plan:
        if work.query.item.choices:
            asked[work.query.dataset, work.query.item_id] = _Asked(work.query)
            works += [replace(work, query=query) for query in _queries(work.query)]
        else:
            works.append(work)
    for batch in runner.run(works):
        for skip in skipped:
            skip["item"] = skip["item"].partition(_NTH)[0]
        whole = []
        for outcome in batch:
            id, nth, number = outcome.item.partition(_NTH)
            if not nth:
                whole.append(outcome)
                continue
            question = asked[outcome.dataset, id]
            of_case = question.found.setdefault((outcome.target, outcome.ablation), {})
            of_case[int(number)] = outcome
            if len(of_case) == len(question.query.item.choices):
                whole.append(combine_choices(question.query, of_case, listed=listed))
                question.found[outcome.target, outcome.ablation] = {}
        yield whole


def _queries(query: Query) -> Iterator[Query]:
    """Yield a query for each choice as the expected answer; the right one's is answered in full."""
    for number, choice in enumerate(query.item.choices):
        item = replace(query.item, id=f"{query.item_id}{_NTH}{number}", answer=choice, kind=None)
        generation = query.generation if choice == query.item.answer else Generation(1, ())
        yield replace(query, item=item, generation=generation)


def combine_choices(query: Query, found: dict[int, Outcome], *, listed: bool) -> Outcome:
    """Return the outcome of a question from those of its choices."""
    texts = query.item.choices
    logprobs = [found[number].answer_logprob for number in range(len(texts))]
    pairs = tuple(Choice(text, value) for text, value in zip(texts, logprobs, strict=True))
    right = found[texts.index(query.item.answer)]
    best = likeliest(pairs)
    answer = (
        read_choice(right.response, query.item.question, texts) if listed else None if best is None else texts[best]
    )
    outcome = replace(right, item=query.item_id, expected=query.item.answer, choices=pairs, answer=answer)
    if answer == query.item.answer:
        return replace(outcome, correct=True, category=None, kind=None, reason=None)
    if answer is None:
        said = "the response is empty" if not right.response.strip() else "it names none of the choices"
        kind = "empty" if not right.response.strip() else "cut_off" if right.truncated else "no_answer"
        return replace(outcome, correct=False, category="incomplete", kind=kind, reason=said)
    reason = f"chooses {_short(answer)} where {_short(query.item.answer)} is right"
    return replace(outcome, correct=False, category=CATEGORY, kind=KIND, reason=reason)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
