"""The command line on a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import as_run, outcome

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
    assert main(["report", str(folder), "-o", str(folder / "other.html")]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "report.html"), str(folder / "other.html")]
    page = (folder / "report.html").read_text("utf-8")
    assert page == (folder / "other.html").read_text("utf-8") == standalone_page(read_run(folder))


def test_bad_input_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder / "none")]) == 2
    assert main(["report", str(folder), "-o", str(folder / "none" / "page.html")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("reasoning-probe: cannot read")
    assert lines[1].startswith("reasoning-probe: cannot write")
    with pytest.raises(SystemExit):
        main([])
