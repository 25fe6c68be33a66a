"""Answers: what the model said in one case, before and after it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_probe.data.items import comparable
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.tags import item_tags
from reasoning_probe.results.outcome import Choice, ItemKey, Key, Outcome, likeliest
from reasoning_probe.scoring.choice import judge_choice
from reasoning_probe.scoring.extraction.choices import read_choice
from reasoning_probe.scoring.extraction.markup import after_thought, opened_by, thought_marks
from reasoning_probe.scoring.judge import judge
from reasoning_probe.scoring.judgement import Judgement


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an engine found for *query* under one target, not judged yet.

    ``response``, ``truncated``, ``answer_logprob`` and ``choices`` are those of the :class:`Outcome` that it becomes.
    """

    query: Query
    target: str
    ablation: str | None
    response: str
    truncated: bool
    answer_logprob: float | None
    choices: tuple[Choice, ...] | None = None

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.query.dataset

    @property
    def item(self) -> str:
        """The item's id."""
        return self.query.item_id

    @property
    def key(self) -> Key:
        """What the answer and its outcome are known by."""
        return self.dataset, self.item, self.target, self.ablation

    @property
    def item_key(self) -> ItemKey:
        """What its item is known by."""
        return self.dataset, self.item

    def judged(self, judgement: Judgement) -> Outcome:
        """Return the outcome of the case by *judgement*."""
        donor = self.query.item.counterfactual
        return Outcome(
            dataset=self.dataset,
            item=self.item,
            target=self.target,
            ablation=self.ablation,
            question=self.query.item.question,
            prompt=self.query.prompt[: self.query.thought_start],
            response=self.response,
            expected=self.query.item.answer,
            answer=judgement.answer,
            correct=judgement.correct,
            category=judgement.category,
            kind=judgement.kind,
            reason=judgement.reason,
            answer_logprob=self.answer_logprob,
            truncated=self.truncated,
            choices=self.choices,
            form=self.query.item.form,
            tags=item_tags(self.query.item) or None,
            became_counterfactual=became_counterfactual(self.query, judgement.answer),
            counterfactual=donor.answer if self.query.donors and donor is not None else None,
            thought=None if self.query.thought is None else self.query.thought.text,
            thought_cut=None if self.query.thought is None else self.query.thought.cut,
            sample=None if self.query.draw is None else self.query.draw.sample,
        )


def became_counterfactual(query: Query, answer: str | None) -> bool | None:
    """Tell whether *answer* is that of the other question of *query*; ``None`` where nothing is patched into it."""
    donor = query.item.counterfactual
    if donor is None or not query.donors:
        return None
    kind = query.item.kind
    return answer is not None and comparable(answer, kind) == comparable(donor.answer, kind)


def judge_answer(answer: Answer, *, listed: bool = False, think: str = "auto") -> Judgement:
    """Return the judgement of *answer* by the package's own rules.

    A choice is read from the response where the prompt *listed* the choices; otherwise it is the likeliest one. What
    stands between the marks that *think* names is not read; a mark that ends the prompt opens the response's thought.
    After a thought of limited length, which the prompt holds, a mark that closes no thought is left out.
    """
    item, marks = answer.query.item, thought_marks(think)
    if answer.query.thought is None:
        response = opened_by(answer.query.prompt, marks) + answer.response
    else:
        response = after_thought(answer.response, marks)
    if answer.choices is None:
        return judge(item, response, answer.truncated, think)
    if listed:
        chosen = read_choice(response, item.question, item.choices, marks)
    else:
        best = likeliest(answer.choices)
        chosen = None if best is None else item.choices[best]
    return judge_choice(item.answer, chosen, answer.response, answer.truncated)
