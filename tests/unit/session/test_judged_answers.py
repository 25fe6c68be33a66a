"""Equal responses to one item are judged once, whatever was switched off."""

from __future__ import annotations

from collections import Counter

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.query import query
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import Choice
from reasoning_probe.scoring.judgement import Judgement
from reasoning_probe.session import extensions as extensions_module
from reasoning_probe.session.extensions import ExtensionError, Extensions
from reasoning_probe.session.judged_answers import JudgedAnswers
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.planted_model import planted


def answer(
    response: str, item: str = "a", target: str = "baseline", *, truncated: bool = False, right: str = "8"
) -> Answer:
    asked = query("sums", Item(id=item, question="What is 5 + 3?", answer=right), Generation(8))
    return Answer(
        query=asked, target=target, ablation=None, response=response, truncated=truncated, answer_logprob=None
    )


def counting(calls: Counter[str]) -> Extensions:
    def judge(item: Item, response: str, truncated: bool) -> Judgement:
        calls[response] += 1
        return Judgement(response, item.answer == response)

    return Extensions(judge=judge)


def test_equal_responses_to_an_item_are_judged_once() -> None:
    calls: Counter[str] = Counter()
    judged = JudgedAnswers(counting(calls), Prompting())
    judgements = [judged.judgement(answer("8", target=f"L0H{head}")) for head in range(50)]
    assert set(judgements) == {Judgement("8", True)}
    assert calls == {"8": 1}


def test_what_a_judgement_reads_tells_answers_apart() -> None:
    calls: Counter[str] = Counter()
    judged = JudgedAnswers(counting(calls), Prompting())
    answers = [answer("8"), answer("7"), answer("8", truncated=True), answer("8", "b", right="7")]
    assert [judged.judgement(each).correct for each in answers * 2] == [True, False, True, False] * 2
    assert calls == {"8": 3, "7": 1}


def test_so_many_judgements_are_kept() -> None:
    calls: Counter[str] = Counter()
    judged = JudgedAnswers(counting(calls), Prompting(), most=2)
    for response in ("1", "2", "1", "3", "1", "2"):
        judged.judgement(answer(response))
    assert calls == {"1": 1, "2": 2, "3": 1}  # 2 was asked for longest ago when 3 came


def test_likelihoods_of_choices_are_judged_each_time() -> None:
    item = Item(id="a", question="Which is wet?", answer="rain", choices=("rain", "sand"))
    asked = query("wet", item, Generation(8))
    judged = JudgedAnswers(Extensions(), Prompting())
    for best, right in ((0, True), (1, False)):
        choices = tuple(Choice(text, -1.0 - (index != best)) for index, text in enumerate(item.choices))
        each = Answer(
            query=asked,
            target="L0",
            ablation="zero",
            response="",
            truncated=False,
            answer_logprob=None,
            choices=choices,
        )
        assert judged.judgement(each).correct is right


def test_what_a_hook_raises_is_not_kept() -> None:
    verdicts = iter([None, "no judgement", Judgement("8", True)])
    judged = JudgedAnswers(Extensions(judge=lambda *_: next(verdicts)), Prompting())  # type: ignore[arg-type,return-value]
    assert judged.judgement(answer("8")).correct  # by the package's rules
    with pytest.raises(ExtensionError):
        judged.judgement(answer("8", "b"))
    assert judged.judgement(answer("8", "b")).correct


def test_a_sweep_judges_a_response_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    judge = extensions_module.judge_answer

    def counted(each: Answer, **options: object) -> Judgement:
        calls[each.response] += 1
        return judge(each, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(extensions_module, "judge_answer", counted)
    session = ProbeSession(Settings(ablate_heads=True))
    session.model_runner.use(planted())
    dataset = session.dataset("colours", [Item(id="sky", question="What colour is the sky?", answer="blue")])
    session.select(session.cases(dataset))
    session.sweep(session.items)
    assert len(session.outcomes) > len(calls) > 1
    assert calls == Counter({outcome.response for outcome in session.outcomes.values()})
