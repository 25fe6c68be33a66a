"""Commands that follow from a run's verdict, and about how long they take."""

from __future__ import annotations

import pytest

from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.next_steps import next_steps, repeat_command
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, outcome
from tests.helpers.html_pages import Page

STARTED = {
    "command": "pytest probes --ablate-heads",
    "started": "2026-01-02T03:04:05+00:00",
    "commit": None,
    "prompts": {},
}


def started(outcomes: list[Outcome], **settings: object) -> Run:
    run = as_run(outcomes, **settings)
    return Run(run.summary | {"invocation": STARTED}, run.outcomes)  # type: ignore[arg-type]


def commands(run: Run) -> list[str]:
    return [step.command for step in next_steps(run)]


def swept(right: int, items: int = 40) -> list[Outcome]:
    heads = ["baseline", *every_head()]
    return [outcome(item=f"i{n}", target=head, correct=n < right) for head in heads for n in range(items)]


def test_named_heads_are_confirmed_on_new_items_by_mean_and_jointly() -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    begin = "pytest probes --ablate-heads"
    assert commands(run) == [
        f"{begin} --probe-heads L1H3,L2H0 --probe-items arithmetic=200@200",
        f"{begin} --probe-heads L1H3,L2H0 --ablation mean",
        f"{begin} --probe-heads L1H3+L2H0",
    ]
    # Of 52 s, 45 were spent on 17 targets; the first two steps ask three of them, the last two.
    assert [step.time for step in next_steps(run)] == ["about 15 s", "about 15 s", "about 12 s"]
    shown = Page(findings_html(run)).text
    assert all(command in shown for command in commands(run))


def test_too_few_items_call_for_more() -> None:
    (step,) = next_steps(started(fake_outcomes({"arithmetic": 5}, noise=0)))
    assert step.command == "pytest probes --ablate-heads --probe-items arithmetic=200@5"
    assert step.time == "about 30 min"


def test_an_unused_chat_template_comes_first() -> None:
    run = started(swept(7), prompting={"chat_template_unused": True})
    assert commands(run)[0] == "pytest probes --ablate-heads --probe-chat on"
    page = Page(findings_html(run)).text
    assert page.index("The model answers 18 % right without its chat template") < page.index("is shown to matter")
    assert "--probe-chat on" not in commands(started(swept(39), prompting={"chat_template_unused": True}))


def test_a_run_whose_command_is_not_known_has_no_steps() -> None:
    assert next_steps(as_run(fake_outcomes({"arithmetic": 5}))) == []


def test_answers_of_the_store_say_nothing_of_the_time() -> None:
    engine = {"rows": 1, "verified": 1, "decoded": 0, "settled_singly": 0, "recalled": 9}
    (step,) = next_steps(started(fake_outcomes({"arithmetic": 5}, noise=0), engine=engine))
    assert step.time == ""


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["add-1", "b"], "pytest probes --ablate-heads -k '[add-1] or [b]'"),
        (["not"], "pytest probes --ablate-heads -k '[not]'"),
        (["two words"], None),
        ([f"i{n}" for n in range(21)], None),
        ([], None),
    ],
)
def test_items_are_repeated_where_k_can_name_them(items: list[str], expected: str | None) -> None:
    assert repeat_command(started([outcome()]), items) == expected
