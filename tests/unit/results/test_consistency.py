"""The two files of a run are of one run: a digest and the counts say so, whoever writes and reads at the same time."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe import cli
from reasoning_probe.results import run as run_files
from reasoning_probe.results.gate_reference import read_reference
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run, RunError, read_run, write_run, write_summary
from reasoning_probe.utils import files
from tests.helpers.fake_runs import as_run, outcome

OUTCOMES = [
    outcome(),
    outcome(target="L0H0", correct=False, answer="7", category="off_by_one", kind="above"),
    outcome(item="b", correct=False, answer="7", category="off_by_one", kind="above"),
    outcome(item="b", target="L0H0"),
    outcome("logic", "c"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", as_run(OUTCOMES))
    return tmp_path / "run"


def changed(folder: Path, change: Callable[[dict[str, Any]], object], *, digest: bool = False) -> Path:
    """Change ``run.json``; without its digest, as an earlier version wrote it, unless *digest*."""
    path = folder / "run.json"
    summary = json.loads(path.read_text("utf-8"))
    if not digest:
        del summary["engine"]["outcomes_sha256"]
    change(summary)
    path.write_text(json.dumps(summary), "utf-8")
    return folder


def add_line(folder: Path, line: Outcome) -> None:
    with (folder / "outcomes.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line.as_dict()) + "\n")


# -- the digest ---------------------------------------------------------------------------------------------------


def test_run_json_holds_the_digest_of_the_outcomes(folder: Path) -> None:
    summary = json.loads((folder / "run.json").read_text("utf-8"))
    digest = hashlib.sha256((folder / "outcomes.jsonl").read_bytes()).hexdigest()
    assert summary["engine"]["outcomes_sha256"] == digest == read_run(folder).digest


def test_a_run_without_a_digest_is_read(folder: Path) -> None:
    assert read_run(changed(folder, lambda _: None)) == as_run(OUTCOMES)


@pytest.fixture
def mixed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the run the outcomes of another one, which only a response tells apart."""
    monkeypatch.setattr(run_files, "RETRIES_S", (0.01,))
    write_run(tmp_path / "other", as_run([outcome(response=" so 8"), *OUTCOMES[1:]]))
    shutil.copy(tmp_path / "other" / "outcomes.jsonl", folder)
    return folder


MIXED = "outcomes.jsonl is not the file that run.json was written with: the two are not of one run"


def test_outcomes_of_another_run_are_refused(mixed: Path) -> None:
    with pytest.raises(RunError, match=MIXED):
        read_run(mixed)
    for reference in (mixed, mixed / "outcomes.jsonl"):
        with pytest.raises(RunError, match=MIXED):
            read_reference(reference)


@pytest.mark.parametrize(
    "command",
    [
        ["show", "run"],
        ["compare", "run", "other"],
        ["compare", "other", "run"],
        ["report", "run"],
        ["merge", "run", "other", "-o", "whole"],
        ["export", "run", "--format", "csv"],
        ["gate", "run", "--min-accuracy", "0.1"],
        ["gate", "other", "--reference", "run"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_refuses_them_in_one_line(
    mixed: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mixed.parent)
    before = {path: path.read_bytes() for path in mixed.iterdir()}
    assert cli.main(command) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert MIXED in output.err
    assert {path: path.read_bytes() for path in mixed.iterdir()} == before


def test_a_verdict_is_not_written_beside_the_outcomes_of_another_run(folder: Path) -> None:
    judged = read_run(folder)
    write_run(folder, as_run([outcome(response=" so 8")]))
    with pytest.raises(RunError, match="was replaced by another run's: run the same command again"):
        write_summary(folder, judged)
    assert read_run(folder) == as_run([outcome(response=" so 8")])


def test_a_reader_waits_for_a_writer_between_its_two_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = as_run([outcome(response=" so 8")])
    write_run(folder.parent / "other", other)
    shutil.copy(folder.parent / "other" / "outcomes.jsonl", folder)  # a writer without locks got so far
    slept = []

    def finish(seconds: float) -> None:
        slept.append(seconds)
        shutil.copy(folder.parent / "other" / "run.json", folder)

    monkeypatch.setattr(time, "sleep", finish)
    assert read_run(folder) == other
    assert slept == [run_files.RETRIES_S[0]]


# -- several processes ----------------------------------------------------------------------------------------------


def write_again_and_again(folder: Path, response: str, size: int, until: float) -> None:
    run = as_run([outcome(item=str(number), response=response) for number in range(size)])
    while time.time() < until:
        write_run(folder, run)


def test_two_writers_and_a_reader_never_meet_a_mixture(tmp_path: Path) -> None:
    write_run(tmp_path, as_run([outcome()]))
    until = time.time() + 4
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=write_again_and_again, args=(tmp_path, response, size, until))
        for response, size in ((" eight", 30), (" 8, since 5 and 3 are 8", 40))
    ]
    for writer in writers:
        writer.start()
    reads: list[Run] = []
    while time.time() < until:
        reads.append(read_run(tmp_path))
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    kinds = {(run.outcomes[0].response, len(run.outcomes)) for run in reads}
    assert kinds - {(" 8", 1)} == {(" eight", 30), (" 8, since 5 and 3 are 8", 40)}
    assert all(len({line.response for line in run.outcomes}) == 1 for run in reads)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outcomes.jsonl", "run.json"]


def test_a_lock_that_somebody_keeps_holds_nobody_up_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_S", 0.1)
    with files.locked(folder):
        assert read_run(folder) == as_run(OUTCOMES)
        write_run(folder, as_run(OUTCOMES[:1]))
    assert read_run(folder) == as_run(OUTCOMES[:1])


# -- contradictions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run["datasets"]["arithmetic"].update(items=1), "holds too many outcomes: 2 of arithmetic under"),
        (lambda run: run["datasets"]["arithmetic"].update(items=3), "lacks outcomes: 2 of arithmetic under baseline"),
        (lambda run: run["datasets"]["arithmetic"].update(correct=2), "has 1 right answers to arithmetic under base"),
        (lambda run: run["datasets"]["arithmetic"].update(accuracy=0.9), "contradict each other: an accuracy of 0.9"),
        (lambda run: run["datasets"].pop("logic"), "holds outcomes of logic, a dataset that run.json lacks"),
        (lambda run: run["datasets"].update(more=run["datasets"]["logic"]), "lacks outcomes: 0 of more under baseline"),
        (lambda run: run["targets"][0].update(items=3), "lacks outcomes: 2 of arithmetic under L0H0"),
        (lambda run: run["targets"][0].update(correct=2), "has 1 right answers to arithmetic under L0H0, and run.json"),
        (lambda run: run["targets"][0].update(flips_to_wrong=0), "has 1 of arithmetic under L0H0 turned wrong"),
        (lambda run: run["targets"].append(run["targets"][0]), "run.json has arithmetic under L0H0 twice"),
        (lambda run: run["targets"].clear(), "arithmetic under L0H0, whose effect run.json lacks"),
        (lambda run: run["errors"].clear(), "wrong answers to arithmetic under"),
        (lambda run: run["errors"][0].update(count=7), "wrong answers to arithmetic under"),
        (lambda run: run.update(shard="999/3"), "run.json: shard: cannot read the shard '999/3': write 2/8"),
        (lambda run: run.update(shard="0,1/3"), "run.json: shard: cannot read the shard '0/3'"),
        (lambda run: run.update(partial={"planned": 9, "done": 4}), "holds 5 outcomes, and run.json says that 4 of 9"),
        (lambda run: run.update(partial={"planned": 4, "done": 5}), "holds 5 outcomes, and run.json says that 5 of 4"),
    ],
)
@pytest.mark.parametrize("digest", [True, False])
def test_a_contradiction_is_named(folder: Path, change: Any, message: str, *, digest: bool) -> None:
    with pytest.raises(RunError) as caught:
        read_run(changed(folder, change, digest=digest))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_outcome_that_stands_twice_is_named(folder: Path) -> None:
    changed(folder, lambda _: None)
    add_line(folder, outcome())
    with pytest.raises(RunError, match="holds arithmetic add-5-3 under baseline twice"):
        read_run(folder)


def test_outcomes_of_a_dataset_that_run_json_lacks_are_named(folder: Path) -> None:
    changed(folder, lambda _: None)
    add_line(folder, outcome("more"))
    with pytest.raises(RunError, match=r"holds outcomes of more, a dataset that run\.json lacks"):
        read_run(folder)


def test_an_ablated_outcome_without_a_baseline_is_no_contradiction(tmp_path: Path) -> None:
    run = as_run([*OUTCOMES, outcome(item="d", target="L0H0", correct=False, answer="7", category="off_by_one")])
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
