"""The command line on a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import as_run, outcome

from reasoning_probe.cache import FILE, FOLDER, Answer, OutcomeCache
from reasoning_probe.cli import main
from reasoning_probe.report.page import standalone_page
from reasoning_probe.store import read_run, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path, as_run([outcome(), outcome(target="L0H0", correct=False, answer="7", category="off_by_one")]))
    return tmp_path


def test_show_prints_what_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("tiny-reasoner answers 1 of 1 question right (100 %).\narithmetic   100 %")
    assert "mistakes with a target off: off_by_one 1" in shown


def test_report_writes_the_page_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    assert main(["report", str(folder), "-o", str(folder / "other.html"), "--figures"]) == 0
    written = [str(folder / name) for name in ("report.html", "other.html", "figures")]
    assert capsys.readouterr().out.split() == written
    assert (folder / "figures" / "arithmetic-accuracy.svg").is_file()
    page = (folder / "report.html").read_text("utf-8")
    assert page == (folder / "other.html").read_text("utf-8") == standalone_page(read_run(folder))


def test_cache_shows_and_prunes_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OutcomeCache(tmp_path / FOLDER)
    store.attach(b"m", {"name": "mine \x1b[31m", "architecture": "GPT2LMHeadModel"})
    store.put({b"a" * 16: Answer("yes", False, -0.5), b"b" * 16: Answer("no", False, -0.5)})
    store.close()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["cache"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / FOLDER}: 2 outcomes, ")
    assert second.split()[:2] == ["2", "mine"]
    assert "\x1b" not in second
    assert main(["cache", "--prune", "30"]) == main(["cache", str(tmp_path / FOLDER), "--prune", "0"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert (shown[0], shown[3]) == ("removed 0 outcomes", "removed 2 outcomes")
    assert shown[4].startswith(f"{tmp_path / FOLDER}: 0 outcomes")


def test_what_is_no_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(tmp_path)]) == 2
    (tmp_path / FILE).write_bytes(b"junk" * 100)
    assert main(["cache", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"reasoning-probe: there is no outcome store in {tmp_path}: a run makes one"
    assert second.startswith(f"reasoning-probe: cannot use the outcome store {tmp_path / FILE}: ")
    with pytest.raises(SystemExit):
        main(["cache", "--prune", "-1"])


def test_bad_input_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder / "none")]) == 2
    assert main(["report", str(folder), "-o", str(folder / "none" / "page.html")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("reasoning-probe: cannot read")
    assert lines[1].startswith("reasoning-probe: cannot write")
    with pytest.raises(SystemExit):
        main([])
