"""Sessions whose answers are sampled: files, page, store, several processes, verdicts and bad options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import reasoning_probe as rp
from reasoning_probe.cli import main
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.run import read_run
from reasoning_probe.session.arguments import ArgumentError
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build
from tests.helpers.project import Project, gate_lines

OPTIONS = (
    "--model=tiny-reasoner", "--probe-heads=L0H1,L1H3,L1", "--probe-items=6", "--probe-samples=4",
    "--probe-temperature=1", "--probe-top-p=0.95",
)  # fmt: skip


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]


def without_logprob(folder: Path) -> list[dict[str, object]]:
    return [line | {"answer_logprob": None} for line in lines(folder)]


@pytest.fixture
def probes(project: Project) -> Project:
    project.probe("multi_step")
    return project


def test_a_session_keeps_every_sample_and_judges_cases(probes: Project) -> None:
    result = probes.run(*OPTIONS, "--probe-cache=c")
    assert sum(result.parseoutcomes().values()) == 6 * 4, result.parseoutcomes()
    folder = probes.path / "reports"
    assert [line["sample"] for line in lines(folder)] == [0, 1, 2, 3] * 24
    run = read_run(folder)
    assert len(run.outcomes) == 24
    assert all(len(case.samples) == 4 for case in run.outcomes)
    assert len({sample.response for case in run.outcomes for sample in case.samples}) > 12
    passed = sum(case.correct for case in run.outcomes)
    assert result.parseoutcomes().get("passed", 0) == passed
    result.stdout.fnmatch_lines(["*mean of samples*pass@4*majority@4*", "Each case has 4 sampled answers*"])
    page = standalone_page(run).replace("\xa0", " ")
    assert "Each case has 4 sampled answers (temperature 1, top-p 0.95, seed 0)" in page
    assert "of 4 samples right" in page

    again = probes.run(*OPTIONS, "--probe-cache=c", "--probe-dir=again")
    assert again.parseoutcomes() == result.parseoutcomes()
    assert lines(probes.path / "again") == lines(folder)
    assert json.loads((probes.path / "again" / "run.json").read_text())["engine"]["rows"] == 0


def test_multiple_choice_is_sampled_where_an_answer_is_generated_and_said_not_to_be_elsewhere(project: Project) -> None:
    project.write("choices.jsonl", '{"question": "Is Max a cat?", "answer": "Yes", "choices": ["Yes", "No"]}\n')
    project.write(
        "test_choices.py",
        'import reasoning_probe as rp\n\n@rp.probe("choices.jsonl")\ndef test_choices(answer):\n    assert answer\n',
    )
    options = ("--model=tiny-reasoner", "--probe-samples=4", "--probe-temperature=3", "--probe-cache=off")
    line = "Multiple choice is not sampled: all samples of 1 item have the likeliest*"
    result = project.run(*options)
    result.stdout.fnmatch_lines([line])
    assert len({line["answer"] for line in lines(project.path / "reports")}) == 1
    result = project.run(*options, "--probe-choices=generation")
    result.stdout.no_fnmatch_line(line)
    assert len({line["response"] for line in lines(project.path / "reports")}) > 1


@pytest.mark.parametrize("thinks", [False, True], ids=["answers", "thoughts"])
def test_the_store_knows_every_sample_by_itself(probes: Project, thinks: bool) -> None:
    """More samples, and another head, compute only what is new, however the thoughts of a question are grouped."""
    probes.write("think.txt", "Question: {question}\n<think>")
    thoughts = ("--probe-think-tokens=8", "--probe-template=think.txt") if thinks else ()
    options = ("--model=tiny-reasoner", "--probe-items=4", "--probe-cache=c", *thoughts)
    replies = 2 if thinks else 1

    def rows(*others: str) -> int:
        probes.run(*options, *others)
        return int(probes.summary()["engine"]["rows"])

    two = rows("--probe-heads=L0H1,L1H3", "--probe-samples=2")
    assert two == 4 * 2 * 2 * replies
    assert rows("--probe-heads=L0H1,L1H3", "--probe-samples=4") == two
    first = [line for line in lines(probes.path / "reports") if line["sample"] in (0, 1)]
    assert rows("--probe-heads=L0H1,L1H3", "--probe-samples=2") == 0
    assert lines(probes.path / "reports") == first
    assert rows("--probe-heads=L1,L0H1,L1H3", "--probe-samples=2") == two / 2
    for other in ("--probe-seed=1", "--probe-temperature=0.9", "--probe-top-k=3", "--probe-top-p=0.9"):
        assert rows("--probe-heads=L0H1,L1H3", "--probe-samples=2", other) == two, other


def test_a_gate_compares_greedy_and_sampled_runs_and_says_so(probes: Project) -> None:
    options = ("--model=tiny-reasoner", "--probe-items=4")
    for samples, folder in (((), "greedy"), (("--probe-samples=3",), "sampled")):
        for reference in (folder, f"{folder}.jsonl"):
            probes.run(*options, *samples, f"--probe-reference={reference}", "--probe-update-reference")
    for samples, name in (((), "greedy"), (("--probe-samples=3",), "sampled")):
        for reference in ("greedy", "greedy.jsonl", "sampled", "sampled.jsonl"):
            gate = gate_lines(probes.run(*options, *samples, f"--probe-reference={reference}"))
            assert " of 4 items)" in gate[0], gate
            changed = "gate: Changed since the reference: decoding." in gate
            assert changed == (reference.removesuffix(".jsonl") != name), (name, reference, gate)


@pytest.mark.parametrize("options", [("-n2",), ("--probe-numerics=invariant",)], ids=["xdist", "again"])
def test_the_samples_do_not_depend_on_processes_or_on_chance(probes: Project, options: tuple[str, ...]) -> None:
    numerics = [option for option in options if "numerics" in option]
    probes.run(*OPTIONS, *numerics, "--probe-cache=off")
    run = probes.run_apart if "-n2" in options else probes.run
    run(*OPTIONS, *options, "--probe-cache=off", "--probe-dir=other")
    assert without_logprob(probes.path / "other") == without_logprob(probes.path / "reports")


def test_shards_are_merged_to_the_whole_run(probes: Project) -> None:
    probes.run(*OPTIONS, "--probe-cache=off")
    for number in (1, 2):
        probes.run(*OPTIONS, "--probe-cache=off", f"--probe-shard={number}/2", f"--probe-dir=part{number}")
    parts = [str(probes.path / f"part{number}") for number in (1, 2)]
    assert main(["merge", *parts, "-o", str(probes.path / "whole")]) == 0
    assert without_logprob(probes.path / "whole") == without_logprob(probes.path / "reports")
    assert read_run(probes.path / "whole").summary["sampling"] == read_run(probes.path / "reports").summary["sampling"]


@pytest.mark.parametrize(
    ("verdict", "right"),
    [
        ("any", lambda samples: any(samples)),
        ("all", lambda samples: all(samples)),
        ("mean>=0.5", lambda samples: 2 * sum(samples) >= len(samples)),
    ],
)
def test_the_verdict_decides_which_cases_pass(
    probes: Project, verdict: str, right: Callable[[list[bool]], bool]
) -> None:
    probes.run(*OPTIONS, "--probe-cache=off", f"--probe-verdict={verdict}")
    run = read_run(probes.path / "reports")
    assert [case.correct for case in run.outcomes] == [
        right([sample.correct for sample in case.samples]) for case in run.outcomes
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probe-temperature=0.5"], "--probe-temperature is for sampled answers: add --probe-samples N"),
        (["--probe-verdict=any"], "--probe-verdict is for sampled answers: add --probe-samples N"),
        (["--probe-samples=0"], "'0' is not a whole number from 1 on"),
        (
            ["--probe-samples=2", "--probe-top-k=5000000000"],
            "5000000000 is too large: write a number below 1,000,000,000",
        ),
        (["--probe-samples=1000000"], "1000000 samples of a case are too many: write 1,000 or fewer"),
        (["--probe-samples=2", "--probe-temperature=0"], "'0' is not a temperature"),
        (["--probe-samples=2", "--probe-top-p=1.5"], "'1.5' is not a probability"),
        (["--probe-samples=2", "--probe-top-k=x"], "'x' is not a whole number from 0 on"),
        (["--probe-samples=2", "--probe-verdict=most"], "write majority, any, all or mean>=X"),
        (
            ["--probe-samples=2", "--ablate-heads", "--probe-race"],
            "--probe-race takes answers that are decoded greedily",
        ),
        (
            ["--probe-samples=2", "--ablate-heads", "--ablation=patch"],
            "--ablation patch takes answers that are decoded",
        ),
    ],
)
def test_settings_that_cannot_be_met_are_one_line(probes: Project, options: list[str], message: str) -> None:
    result = probes.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": 0},
        {"samples": "3"},
        {"samples": 1001},
        {"samples": 2, "temperature": 0},
        {"samples": 2, "temperature": 1e-300},
        {"samples": 2, "top_p": 1e-300},
        {"samples": 2, "temperature": float("nan")},
        {"samples": 2, "top_p": 2},
        {"samples": 2, "top_k": -1},
        {"samples": 2, "verdict": "best"},
        {"samples": 2, "paths": True},
        {"samples": 2, "ablation": "patch"},
    ],
    ids=str,
)
def test_the_python_api_refuses_what_makes_no_sense(arguments: dict[str, object]) -> None:
    items = [rp.Item(question="1 + 1?", answer="2")]
    with pytest.raises(ArgumentError) as error:
        rp.sweep(build("gpt2"), Letters(), items, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
