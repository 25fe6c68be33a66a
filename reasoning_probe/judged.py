"""A reply, judged: what the model said to a query, as the outcome of one case."""

from __future__ import annotations

from reasoning_probe.data.prompts.prompting import Query
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.scoring.judge import judge


def judged(
    query: Query, target: str, ablation: str | None, *, response: str, truncated: bool, logprob: float | None
) -> Outcome:
    """Return the outcome of *query* under *target*; *logprob* is the expected answer's, in nats."""
    judgement = judge(query.item, response, truncated)
    return Outcome(
        dataset=query.dataset,
        item=query.item_id,
        target=target,
        ablation=ablation,
        question=query.item.question,
        prompt=query.prompt,
        response=response,
        expected=query.item.answer,
        answer=judgement.answer,
        correct=judgement.correct,
        category=judgement.category,
        kind=judgement.kind,
        reason=judgement.reason,
        answer_logprob=logprob,
        truncated=truncated,
    )
