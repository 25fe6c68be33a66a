"""What the report says of thoughts: how many there are and were cut, and what targets change."""

from __future__ import annotations

from dataclasses import replace

from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.thoughts import thought_sentences
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.results.thoughts import thought_records
from tests.helpers.fake_runs import as_run, outcome


def run_of(*outcomes: Outcome) -> Run:
    run = as_run(list(outcomes))
    return replace(run, summary=run.summary | {"think_tokens": 12, "thoughts": thought_records(outcomes)})


def after(thought: str, answer: str, item: str, target: str = "baseline", *, cut: bool = False) -> Outcome:
    return outcome(item=item, target=target, thought=thought, thought_cut=cut, answer=answer, response=answer)


def test_a_head_that_changes_thoughts_is_told_from_one_that_changes_answers() -> None:
    baselines = [after("It is 8.", "8", item, cut=item == "a") for item in "abc"]
    thinker = [after("Hm.", answer, item, "L0H1") for item, answer in zip("abc", "887", strict=True)]
    answerer = [after("It is 8.", answer, item, "L2H0") for item, answer in zip("abc", "778", strict=True)]
    quiet = [after("It is 8.", "8", item, "L3H3") for item in "abc"]
    run = run_of(*baselines, *thinker, *answerer, *quiet)
    assert thought_sentences(run) == [
        "Thoughts have at most 12 tokens: 3 of 3 baseline answers follow one, and the limit ended 1 of them.",
        "Without L2H0, 0 of 3 thoughts on arithmetic change, and the answer after 0 of these;"
        " after the same thought, 2 answers change.",
        "Without L0H1, 3 of 3 thoughts on arithmetic change, and the answer after 1 of these;"
        " after the same thought, 0 answers change.",
    ]


def test_a_run_without_thoughts_says_that_the_limit_changes_nothing() -> None:
    run = run_of(outcome(), outcome(target="L0H1"))
    assert thought_sentences(run) == ["No answer begins with a thought: --probe-think-tokens 12 changes nothing."]
    assert thought_sentences(as_run([outcome()])) == []


def test_the_page_folds_thoughts_and_leaves_them_out_where_there_are_none() -> None:
    thinking = findings_html(run_of(after("Five and three.", "8", "a")))
    (before, _, rest) = thinking.partition("<summary>what the model thought</summary>")
    assert before.rstrip().endswith("<details>"), "the thought is not folded"
    assert "Five and three." in rest.partition("</details>")[0]
    assert "Five and three." not in before
    assert "what the model thought" not in findings_html(run_of(outcome()))
