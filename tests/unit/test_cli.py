"""The command line on a finished run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning_probe.cli import main
from reasoning_probe.engine.cache.store import FILE, FOLDER, CachedAnswer, OutcomeCache
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.run import Run, read_run, write_run
from tests.helpers.fake_runs import as_run, full_run, outcome
from tests.helpers.planted_losses import planted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path, as_run([outcome(), outcome(target="L0H0", correct=False, answer="7", category="off_by_one")]))
    return tmp_path


def test_show_prints_what_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny-reasoner answers 1 of 1 question right (100 %).\nGPT2LMHeadModel, float32, cpu, ")
    rows = [line.split() for line in printed.splitlines()]
    assert ["arithmetic", "1", "of", "1", "100", "%", "21", "%", "to", "100", "%", "#" * 16] in rows
    assert ["L0H0", "-100"] in [row[:2] for row in rows]
    assert ["arithmetic", "off_by_one", "0", "1", "0"] in rows  # none without an ablation, one added, none removed
    assert "\x1b" not in printed  # a pipe has no colours
    assert "None of 1 head can be significant on arithmetic with 1 item: " in printed


def test_show_fits_the_terminal_and_the_pipe(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(folder, full_run())
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["show", str(folder), "--most", "3"]) == 0
    piped = capsys.readouterr().out
    (sentence,) = (line for line in piped.splitlines() if "with 4 to 5 items" in line)
    assert sentence.endswith(
        "try 200 new ones, --probe-items logic=200@4,multi_step=200@5."
    )  # not folded: grep finds it whole
    assert piped.count("L1H3 *") == 1
    assert "strongest 3 of 16" in piped
    assert "gate FAILED: multi_step: accuracy dropped" in piped
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["show", str(folder)]) == 0
    folded = capsys.readouterr().out
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in folded.splitlines()) <= 60
    assert "\x1b[1m" in folded
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["show", str(folder)]) == 0
    assert "\x1b[3" not in capsys.readouterr().out


def test_what_a_model_wrote_does_nothing_in_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[red]x[/red] :smile: \x1b[31m\x07\n\u202e[link=file:///]"
    wrong = {"correct": False, "category": hostile, "kind": hostile, "answer": hostile}
    outcomes = [
        outcome(hostile, hostile, question=hostile),
        outcome(hostile, hostile, hostile, question=hostile, **wrong),
    ]
    write_run(folder, as_run(outcomes))
    write_run(folder / "other", as_run([outcome(hostile, hostile, question=hostile, **wrong), *outcomes[1:]]))
    assert main(["show", str(folder)]) == main(["compare", str(folder), str(folder / "other")]) == 0
    printed = capsys.readouterr().out
    assert "[red]x[/red] :smile: \\x1b[31m\\x07" in printed
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)


def test_report_writes_the_page_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    assert main(["report", str(folder), "-o", str(folder / "other.html"), "--figures"]) == 0
    written = [str(folder / name) for name in ("report.html", "other.html", "figures")]
    assert capsys.readouterr().out.split() == written
    assert (folder / "figures" / "arithmetic-accuracy.svg").is_file()
    page = (folder / "report.html").read_text("utf-8")
    assert page == (folder / "other.html").read_text("utf-8") == standalone_page(read_run(folder))


def test_report_makes_the_cards_of_the_heads_that_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = as_run(planted(), describe="0")
    write_run(folder, run)
    assert main(["report", str(folder), "--describe", "L0H1"]) == 0
    assert "wrong in the units digit alone" in (folder / "report.html").read_text("utf-8")
    (card,) = read_run(folder).summary["heads"] or ()
    assert card["target"] == "L0H1"
    capsys.readouterr()
    assert main(["show", str(folder)]) == 0
    assert "- L0H1: 40 of 40 lost answers are wrong in the units digit alone" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(folder), "--describe", "head3"])
    assert "'head3' is not a target: write auto, a number of heads" in capsys.readouterr().err


def test_report_makes_cards_of_a_run_that_has_none(folder: Path) -> None:
    run = as_run(planted())
    write_run(folder, Run({key: run.summary[key] for key in run.summary if key != "heads"}, run.outcomes))  # type: ignore
    before = (folder / "run.json").read_bytes()
    assert main(["report", str(folder)]) == 0
    assert "L0H0: loses subtraction" in (folder / "report.html").read_text("utf-8")
    assert (folder / "run.json").read_bytes() == before


def test_cache_shows_and_prunes_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OutcomeCache(tmp_path / FOLDER)
    store.attach(b"m", {"name": "mine \x1b[31m", "architecture": "GPT2LMHeadModel"})
    store.put({b"a" * 16: CachedAnswer("yes", False, -0.5), b"b" * 16: CachedAnswer("no", False, -0.5)})
    store.close()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["cache"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / FOLDER}: 2 outcomes, ")
    assert second.split()[:2] == ["2", "mine"]
    assert "\x1b" not in second
    assert main(["cache", "--prune", "30"]) == main(["cache", str(tmp_path / FOLDER), "--prune", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[3]) == ("removed 0 outcomes", "removed 2 outcomes")
    assert lines[4].startswith(f"{tmp_path / FOLDER}: 0 outcomes")


def test_what_is_no_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(tmp_path)]) == 2
    (tmp_path / FILE).write_bytes(b"junk" * 100)
    assert main(["cache", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"reasoning-probe: there is no outcome store in {tmp_path}: a run makes one"
    assert second.startswith(f"reasoning-probe: cannot use the outcome store {tmp_path / FILE}: ")


@pytest.mark.parametrize("days", ["-1", "x", "nan", "inf"])
def test_days_that_are_none_are_refused_in_words(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cache", "--prune", days])
    assert f"argument --prune: {days!r} is not a number of days from 0 on" in capsys.readouterr().err


def test_bad_input_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder / "none")]) == 2
    assert main(["report", str(folder), "-o", str(folder / "none" / "page.html")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("reasoning-probe: cannot read")
    assert lines[1].startswith("reasoning-probe: cannot write")
    with pytest.raises(SystemExit):
        main([])


def test_the_store_of_a_project_is_found_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = OutcomeCache(tmp_path / FOLDER)
    store.attach(b"m", {"name": "mine"})
    store.close()
    assert main(["cache", str(tmp_path)]) == main(["cache", str(tmp_path / FOLDER)]) == 0
    first, _, second, _ = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith(f"{tmp_path / FOLDER}: 0 outcomes")


def test_the_version_and_help_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as exit_info:
            main([option])
        assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"reasoning-probe {version('reasoning-probe')}\n")
    assert "`" not in printed


def test_outcomes_that_are_gone_are_missed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "outcomes.jsonl"
    first, second = file.read_text("utf-8").splitlines()
    for remaining, missing in ((second, "0 of arithmetic under baseline"), (first, "0 of arithmetic under L0H0")):
        file.write_text(remaining + "\n", "utf-8")
        for command in ("show", "report"):
            assert main([command, str(folder)]) == 2
            message = capsys.readouterr().err
            assert message.count("\n") == 1
            assert f"outcomes.jsonl lacks outcomes: {missing}, and run.json counts 1: " in message


def test_settings_that_differ_are_told_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generation = {"max_new_tokens": 32, "stop": ["Question:"]}
    for name, stop in (("a", ["Question:"]), ("b", [])):
        write_run(tmp_path / name, as_run([outcome()], generation={"arithmetic": generation | {"stop": stop}}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c")]) == 2
    printed = capsys.readouterr()
    assert "(stop: none and Question:)" in printed.err
    assert "[" not in printed.out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
def test_output_that_cannot_be_written_is_one_line(folder: Path) -> None:
    command = f"import sys; from reasoning_probe.cli import main; sys.exit(main(['show', {str(folder)!r}]))"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "reasoning-probe: cannot write the output: No space left on device\n"
    assert done.returncode == 2


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path.cwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    try:
        (tmp_path / "gone").rmdir()
        assert main(["cache"]) == 2
    finally:
        os.chdir(before)
    assert capsys.readouterr().err == ("reasoning-probe: the current folder no longer exists: change to another one\n")
