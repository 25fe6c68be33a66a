"""What a run says in words: sentences of its findings, the terminal's lines, the Markdown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.report import sentences
from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.report.format import percent
from reasoning_probe.report.html.rendering import environment
from reasoning_probe.report.run_notes import remarks
from reasoning_probe.report.terminal.cases import ablated_line, failure_text
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, fake_run, outcome
from tests.helpers.html_pages import HOSTILE, HOSTILE_RUN, hostile_run
from tests.helpers.terminal_lines import summary_lines

# -- sentences ----------------------------------------------------------------------------------------------------


def test_sentences_for_each_finding() -> None:
    def said(sizes: dict[str, int], **values: object) -> list[str]:
        outcomes = [replace(case, **values) for case in fake_outcomes(sizes, noise=0)]  # type: ignore[arg-type]
        return sentences.sentences(as_run(outcomes))

    assert said({"logic": 6}) == [
        "None of 16 heads can be significant on logic with 6 items: at least 7 answers must flip the same way;"
        " try 200 new ones, --probe-items 200@6."
    ]
    (one_grows,) = said({"logic": 6, "gsm8k": 5}, correct=True)
    assert one_grows.endswith(  # gsm8k has no 200 items of its own
        "; try 200 new ones, --probe-items logic=200@6 and 200 new items by --probe-dataset gsm8k=FILE."
    )
    (none_grows,) = said({"mine": 6, "gsm8k": 5}, correct=True)
    assert none_grows.endswith("try 200 new items by --probe-dataset NAME=FILE.")
    assert said({"logic": 40}) == [
        "None of 16 heads is shown to matter for logic: with 40 items, 8 of 10 such runs would name a head that costs"
        " 22 points; fewer would name a weaker one."
    ]
    assert said({"gsm8k": 40, "mine": 3}, correct=False) == [
        "No head can be judged on gsm8k and mine: the baseline is 0 %."
    ]


def test_advice_can_be_followed_whatever_the_dataset() -> None:
    """Only generated datasets have 200 items to give; ``--probe-items 200`` is an error for the built-in gsm8k."""
    outcomes = fake_outcomes({"gsm8k": 5}, noise=0)
    run = as_run([replace(case, correct=True, category=None) for case in outcomes])
    assert sentences.sentences(run) == [
        "None of 16 heads can be significant on gsm8k with 5 items: at least 7 answers must flip the same way;"
        " try 200 new items by --probe-dataset gsm8k=FILE."
    ]


def test_the_logprob_speaks_where_the_accuracy_cannot() -> None:
    outcomes = [
        outcome(item=str(index), correct=False, answer="1", answer_logprob=-9 - index / 50) for index in range(40)
    ]
    outcomes += [
        replace(case, target=target, ablation="zero", answer_logprob=(case.answer_logprob or 0) - off)
        for case in outcomes
        for target, off in (("L0H0", 0.0), ("L0H1", 2.5), ("L1H0", -0.5), ("L1H1", 0.001))
    ]
    assert sentences.sentences(as_run(outcomes)) == [
        "No head can be judged on arithmetic: the baseline is 0 %.",
        "The log-probability of the expected answer on arithmetic falls on most items without 1 of 4 heads: L0H1"
        " (-2.50); it rises on most items without 1 of 4 heads: L1H0 (+0.50) (median nats; not"
        " compared with random directions of the same size).",
    ]


def test_remarks_name_the_extractors_and_the_commonest_answer() -> None:
    solved = [
        outcome("gsm8k", "a", response="9 * 2 = 18\n#### 18", expected="18"),
        outcome("gsm8k", "b", response="She makes $1,000", expected="1000"),
    ]
    asked = [outcome("logic", str(index), expected=label) for index, label in enumerate(["yes", "yes", "no"])]
    run = as_run(solved + asked, formats={"gsm8k": "gsm8k", "logic": "plain"})
    said = remarks(run)
    assert "gsm8k: the two extractors disagree on 1 answer: strict finds 50 % right, flexible 100 %." in said
    assert "logic: always answering “yes” would score 67 %." in said
    assert "logic: the baseline is 100 %, so ablation can only lower it." in said


def test_few_right_answers_are_called_so() -> None:
    outcomes = [outcome(item=str(index), correct=index < 4, answer=str(index < 4)) for index in range(40)]
    outcomes += [replace(case, target=target, ablation="zero") for case in outcomes for target in every_head()]
    assert sentences.sentences(as_run(outcomes)) == [
        "No drop on arithmetic can be significant: at least 7 answers must become wrong, and only 4 of 40 items are"
        " answered right."
    ]


# -- terminal and Markdown ----------------------------------------------------------------------------------------


def test_the_terminal_summary_fits() -> None:
    lines = summary_lines(fake_run())
    assert 8 <= len(lines) <= 20
    assert all(len(line) <= 80 and line.isascii() and "\n" not in line for line in lines)
    assert lines[0].split() == [
        "arithmetic",
        "96",
        "%",
        "###############.",
        *["193", "of", "200", "(93", "%", "to", "98", "%)"],
    ]
    assert any(line.startswith("L1H3          -64* ----------") for line in lines)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(HOSTILE), st.integers(40, 120))
def test_the_terminal_obeys_nobody(evil: str, width: int) -> None:
    found = outcome(
        evil, question=evil, response=evil, expected=evil, answer=evil, correct=False, category=evil, reason=evil
    )
    run = HOSTILE_RUN
    shown = [*summary_lines(run, width), *failure_text(found).split("\n"), ablated_line(found, None)]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", "".join(shown))
    assert all(len(line) <= width for line in summary_lines(run, width))


def test_a_failure_is_short_and_an_ablated_case_one_line() -> None:
    wrong = outcome(target="L3H7", correct=False, answer="15", category="wrong_operation", reason="5 * 3 = 15")
    assert failure_text(wrong).split("\n") == [
        "question  What is 5 + 3?",
        "expected  8",
        "answered  15",
        "response  8",
        "mistake   wrong_operation: 5 * 3 = 15",
    ]
    line = "L3H7 off: wrong_operation, answered 15, expected 8, baseline was"
    assert ablated_line(wrong, outcome()) == f"{line} right"
    assert ablated_line(wrong, replace(wrong, target="baseline")) == f"{line} wrong too"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("70 % required", "70\xa0% required"),
        ("try --probe-items 200.", "try <code>--probe-items\xa0200</code>."),
        ("--ablate-heads shows", "<code>--ablate-heads</code> shows"),
        ("a <!-- b --> & x--y", "a &lt;!-- b --&gt; &amp; x--y"),
    ],
)
def test_no_line_ends_within_an_option_or_before_its_unit(said: str, shown: str) -> None:
    prose = environment().get_template("elements.html.jinja").make_module().prose  # type: ignore[attr-defined]
    assert prose(said) == shown


def test_a_name_that_no_shell_takes_is_in_no_command() -> None:
    for name, said in {"mine": "mine=FILE.", "<b> x": "NAME=FILE.", "n" * 99: "NAME=FILE."}.items():
        sentence = sentences.sentences(as_run([outcome(name), outcome(name, target="L0H0")]))[0]
        assert sentence.endswith(said)
        assert len(sentence) < 250


def test_markdown_is_short_and_plain() -> None:
    shown = markdown_summary(fake_run())
    assert "| arithmetic | 193 of 200 | 96 % | 93 % to 98 % |" in shown
    assert len(markdown_summary(hostile_run()).encode()) < 60_000
    many = as_run([outcome(f"set {index}" * 9, target=t) for index in range(300) for t in ("baseline", "L0H0", "L0H1")])
    assert len(markdown_summary(many).encode()) < 60_000
    signs = {f"{index} {'<&>`|[]' * 40}": 20 for index in range(40)}  # each sign takes five characters
    long = as_run(fake_outcomes(signs, every_head(2, 8), noise=0.5))
    own = {"title": "<" * 99, "text": "<&" * 900, "head": ["<"] * 4, "rows": [["<" * 99] * 4] * 10}
    longest = markdown_summary(Run(long.summary | {"sections": [own] * 10}, long.outcomes))
    assert 40_000 < len(longest.encode()) < 60_000
    assert longest.endswith("There is more in run.json.\n")
    assert all(line.count("|") in (0, 5, 7) for line in longest.split("\n"))
    hostile = markdown_summary(hostile_run())
    assert not re.search(r"[<\x00\x1b\u202e]", hostile)
    assert all(line.count("|") in (0, 5, 7) for line in hostile.split("\n"))


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0 %"), (0.004, "0.4 %"), (0.5, "50 %"), (0.996, "99.6 %"), (1.0, "100 %")]
)
def test_percent_never_rounds_to_all_or_nothing(share: float, shown: str) -> None:
    assert percent(share) == shown
