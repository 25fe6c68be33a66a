"""Models that think: a thought of limited length, then the answer after it.

The thought is asked first, up to the mark that closes it or its own limit of tokens. Then the mark is put, whether or
not the model wrote it, and the answer is asked (budget forcing: Muennighoff et al. 2025, "s1: Simple test-time
scaling"). Each row answers after its own thought, and so is the expected answer's log-probability. The thought is text
between the two: what follows it is tokenised together with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from reasoning_probe.data.places import ANSWER
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, Thought
from reasoning_probe.engine.multiple_choice import run_multiple_choice
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import BASELINE, ItemKey

TOGETHER = 32
"""So many questions are thought about before they are answered."""

_GROUP = "\x00thought "
"""Stands between an item's id and the number of a thought while it is answered; no id holds it."""

_Variant = tuple[str, str | None]
"""Target and ablation."""


@dataclass(frozen=True)
class Thinking:
    """How thoughts are asked: at most so many ``tokens``, between one of the pairs of ``marks``."""

    tokens: int
    marks: Sequence[tuple[str, str]]

    def closing(self, prompt: str, thought: str) -> str | None:
        """Return the mark that closes *thought*, which follows *prompt*; ``None`` where neither opens one."""
        prompt, thought = prompt.rstrip().lower(), thought.lower()
        opened = ((opening.lower(), closing) for opening, closing in self.marks)
        return next((closing for opening, closing in opened if opening in thought or prompt.endswith(opening)), None)

    def query(self, query: Query) -> Query:
        """Return *query* for its thought alone."""
        closing = tuple(dict.fromkeys(closing for _, closing in self.marks))
        return replace(query, generation=Generation(self.tokens, closing, thinks=True))


def run_thoughts(engine: Engine, requests: Sequence[SweepRequest], thinking: Thinking) -> Iterator[list[Answer]]:
    """Answer *requests* on *engine*, each row after its own thought, which its query then holds.

    A model that opens no thought, and a multiple-choice question, are answered at once. Where heads are off in the
    answer alone, all rows of a question share the thought of the baseline.
    """
    pending = iter(requests)
    while chunk := list(islice(pending, TOGETHER)):
        thoughts, skipped = _thoughts(engine, chunk, thinking)
        queries: dict[ItemKey, Query] = {}  # as they were asked, by dataset and the id of their group
        answering: list[SweepRequest] = []
        for request in chunk:
            key = (request.query.dataset, request.query.item_id)
            if key in skipped:
                yield []
                continue
            groups = _groups(request, thoughts.get(key, {}))
            for number, group in enumerate(groups):
                group_id = f"{request.query.item_id}{_GROUP}{number}"
                queries[group.query.dataset, group_id] = group.query
                item = replace(group.query.item, id=group_id)
                answering.append(SweepRequest(replace(group.query, item=item), group.ablated))
        for batch in run_multiple_choice(engine, answering):
            for skip in engine.skipped:
                skip["item"] = skip["item"].partition(_GROUP)[0]
            yield list(_original(batch, queries))


def _thoughts(
    engine: Engine, requests: Iterable[SweepRequest], thinking: Thinking
) -> tuple[dict[ItemKey, dict[_Variant, Thought | None]], set[ItemKey]]:
    """Return the thoughts of every row, by item, and the items that have no answer."""
    with_thought = {(one.query.dataset, one.query.item_id): one for one in requests if not one.query.item.choices}
    plan = [
        SweepRequest(thinking.query(request.query), () if engine.where == ANSWER else request.ablated)
        for request in with_thought.values()
    ]
    thoughts: dict[ItemKey, dict[_Variant, Thought | None]] = {}
    for batch in engine.run(plan):
        for answer in batch:
            closing = thinking.closing(answer.query.prompt, answer.response)
            thought = None if closing is None else Thought(answer.response, closing, cut=answer.truncated)
            thoughts.setdefault(answer.item_key, {})[answer.target, answer.ablation] = thought
    return thoughts, with_thought.keys() - thoughts.keys()


def _groups(request: SweepRequest, thoughts: Mapping[_Variant, Thought | None]) -> list[SweepRequest]:
    """Return *request* divided by the thoughts of its rows, that of the baseline first."""
    of_baseline = thoughts.get((BASELINE, None))
    groups: dict[Thought | None, list[int]] = {of_baseline: []}
    for place, (target, ablation) in enumerate(request.ablated):
        groups.setdefault(thoughts.get((target.name, ablation), of_baseline), []).append(place)
    return [
        SweepRequest(
            request.query if thought is None else request.query.after(thought),
            tuple(request.ablated[place] for place in places),
        )
        for thought, places in groups.items()
    ]


def _original(batch: Iterable[Answer], queries: Mapping[ItemKey, Query]) -> Iterator[Answer]:
    """Yield the answers of *batch* to the questions as they were; of baselines the one after the baseline's thought."""
    for answer in batch:
        if answer.target != BASELINE or answer.item.endswith(f"{_GROUP}0"):
            yield replace(answer, query=queries[answer.item_key])
