"""Which sentences of a thought matter: what leaving one out does to the expected answer (thought anchors).

Each sentence of the baseline's thought is left out in turn, and the expected answer's log-probability after the rest is
compared with that after the whole thought (after Bogdan et al. 2025, "Thought Anchors: Which LLM reasoning steps
matter?", who resample what follows; here what follows stays, so that one pass a sentence does). Beside each sentence
stand the heads that read it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from reasoning_probe.analyses.sentence_readers import DividedThought, SentenceReaders
from reasoning_probe.data.prompts.prompting import LOGPROB_ALONE
from reasoning_probe.data.prompts.query import Query, Thought
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.results.record import AnchoredSentenceRecord, ThoughtAnchorsRecord

MOST_ITEMS = 3
"""Items of a dataset whose thoughts are taken apart."""

MOST_SENTENCES = 40
"""Sentences of a thought that are left out one by one; longer thoughts are left alone."""

_END = re.compile(r"(?<=[.!?])(?=\s)|(?<=\n)(?=\S)")
_LEFT_OUT = "\x00without "
"""Stands between an item's id and the number of the sentence that is left out; no id holds it."""


def sentences(thought: str) -> list[str]:
    r"""Return the sentences of *thought*, which joined make it again: they end at full stops and at line breaks.

    >>> sentences("It is 7. No, 3.5 + 4\nis 7.5! ")
    ['It is 7.', ' No, 3.5 + 4\n', 'is 7.5!', ' ']
    """
    return [part for part in _END.split(thought) if part]


def thought_anchors(engine: Engine, queries: Sequence[Query], seed: int = 0) -> list[ThoughtAnchorsRecord]:
    """Return what each sentence of the thoughts of *queries* does to the expected answer, in nats.

    *queries* are those after the whole thought; the first few of each dataset whose thought has several sentences are
    taken. A change is the log-probability without the sentence
    minus that with it: negative where the sentence helps. *seed* draws what the heads that read are compared with. Adds
    to the timing of *engine*.
    """
    taken: list[tuple[Query, list[str]]] = []
    counts: Counter[str] = Counter()
    for query in queries:
        parts = _parts(query.thought) if query.thought is not None else []
        if 2 <= len(parts) <= MOST_SENTENCES and counts[query.dataset] < MOST_ITEMS:
            taken.append((query, parts))
            counts[query.dataset] += 1
    requests = [
        SweepRequest(_without(query, parts, left_out))
        for query, parts in taken
        for left_out in (None, *range(len(parts)))
    ]
    with engine.aside("describe_s"):
        logprobs = {
            (answer.dataset, answer.item): answer.answer_logprob for batch in engine.run(requests) for answer in batch
        }
        divided = tuple(DividedThought(query, tuple(parts)) for query, parts in taken)
        read = engine.measure(SentenceReaders(divided, seed)) if divided else None
    records: list[ThoughtAnchorsRecord] = []
    for number, (query, parts) in enumerate(taken):
        whole, *rest = (logprobs.get((query.dataset, _id(query, left_out))) for left_out in (None, *range(len(parts))))
        rows: list[AnchoredSentenceRecord] = [
            {"text": part, "change": None if whole is None or logprob is None else logprob - whole}
            for part, logprob in zip(parts, rest, strict=True)
        ]
        record: ThoughtAnchorsRecord = {"dataset": query.dataset, "item": query.item_id, "sentences": rows}
        readers = read[number] if read else "the process that measured it ended"
        if isinstance(readers, str):
            record["note"] = f"the heads that read its sentences are left out: {readers}"
        else:
            for row, heads in zip(rows, readers, strict=True):
                row["readers"] = heads
        records.append(record)
    return records


def _parts(thought: Thought) -> list[str]:
    """Return the sentences of *thought* that say something; blanks go with the one before."""
    parts: list[str] = []
    for part in sentences(thought.text):
        if parts and not part.strip():
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def _id(query: Query, left_out: int | None) -> str:
    return f"{query.item_id}{_LEFT_OUT}{left_out}"


def _without(query: Query, parts: Sequence[str], left_out: int | None) -> Query:
    """Return *query* after its thought without one of its sentences; no answer is decoded."""
    assert query.thought is not None
    text = "".join(part for number, part in enumerate(parts) if number != left_out)
    item = replace(query.item, id=_id(query, left_out))
    question = replace(query, prompt=query.prompt[: query.thought_start], thought=None, generation=LOGPROB_ALONE)
    return replace(question.after(replace(query.thought, text=text)), item=item)
