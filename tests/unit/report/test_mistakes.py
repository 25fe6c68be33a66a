"""How mistakes change with a target off: item by item, so that a target that does nothing adds nothing."""

from __future__ import annotations

from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.mistakes import MistakeChange, by_kind, change_sentences, mistake_changes
from reasoning_probe.results.outcome import Outcome
from tests.helpers.fake_runs import as_run, every_head, outcome
from tests.helpers.html_pages import Page
from tests.helpers.terminal_lines import summary_lines


def wrong(item: str, category: str, target: str = "baseline", dataset: str = "arithmetic", kind: str = "k") -> Outcome:
    return outcome(dataset, item, target, correct=False, answer="9", category=category, kind=kind)


def test_a_target_that_changes_no_answer_adds_nothing() -> None:
    baseline = [outcome(item="a"), wrong("b", "off_by_one")]
    off = [case for head in every_head() for case in (outcome(item="a", target=head), wrong("b", "off_by_one", head))]
    run = as_run([*baseline, *off])
    assert mistake_changes(run) == {("arithmetic", "off_by_one"): MistakeChange(baseline=1)}
    assert change_sentences(run, 9, 9) == []
    assert "No target changes a mistake. Cases with a target off: 32 on arithmetic." in Page(findings_html(run)).text


def test_mistakes_are_added_and_removed_by_dataset_and_category() -> None:
    run = as_run(
        [
            *(outcome(item="a"), wrong("b", "off_by_one"), outcome("logic", "c")),
            *(wrong("a", "off_by_one", "L0H0"), wrong("b", "hallucination", "L0H0")),  # a new one, and another one
            *(outcome(item="a", target="L0H1"), outcome(item="b", target="L0H1")),  # mends the one there was
            wrong("c", "wrong_label", "L0H0", "logic"),
        ]
    )
    assert mistake_changes(run) == {
        ("arithmetic", "off_by_one"): MistakeChange(1, added=1, removed=2),
        ("arithmetic", "hallucination"): MistakeChange(0, added=1),
        ("logic", "wrong_label"): MistakeChange(0, added=1),
    }
    assert change_sentences(run, 9, 9) == ["arithmetic off_by_one +1 -2, hallucination +1", "logic wrong_label +1"]
    assert change_sentences(run, 1, 1) == ["arithmetic off_by_one +1 -2"]
    line = "with a target off: arithmetic off_by_one +1 -2, hallucination +1; logic wrong_label +1"
    assert line in " ".join(map(str.strip, summary_lines(run, verbosity=1)))
    assert "with a target off: arithmetic off&#95;by&#95;one +1 -2, hallucination +1; logic" in markdown_summary(run)


def test_another_kind_of_the_same_category_counts_by_kind_alone() -> None:
    run = as_run([wrong("a", "hallucination", kind="x"), wrong("a", "hallucination", "L0H0", kind="y")])
    assert mistake_changes(run) == {("arithmetic", "hallucination"): MistakeChange(1)}
    assert mistake_changes(run, by_kind) == {
        ("arithmetic", "hallucination", "x"): MistakeChange(1, removed=1),
        ("arithmetic", "hallucination", "y"): MistakeChange(0, added=1),
    }


def test_a_case_without_a_baseline_changes_nothing() -> None:
    assert mistake_changes(as_run([outcome(item="a"), wrong("b", "off_by_one", "L0H0")])) == {}
