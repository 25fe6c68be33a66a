"""The width of the terminal as ``COLUMNS`` says it, whatever it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_probe.cli import main
from reasoning_probe.report.terminal.tables import FALLBACK, PIPED, console
from reasoning_probe.results.run import write_run
from tests.helpers.fake_runs import as_run, outcome


@pytest.mark.parametrize(
    ("columns", "width"),
    [("0", FALLBACK), ("1", FALLBACK), ("19", FALLBACK), ("20", 20), ("100", 100), ("x", PIPED), ("-3", PIPED)],
)
def test_a_width_that_is_none_is_not_taken(
    columns: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width
    write_run(tmp_path, as_run([outcome()]))
    assert main(["gate", str(tmp_path), "--min-accuracy", "1"]) == 0
    assert "gate passed: arithmetic: 1 of 1 right" in " ".join(capsys.readouterr().out.split())
