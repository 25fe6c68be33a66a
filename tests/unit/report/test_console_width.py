"""The width of the terminal as ``COLUMNS`` says it, whatever it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasoning_probe.cli import main
from reasoning_probe.report.effects import groups
from reasoning_probe.report.format import nats, points
from reasoning_probe.report.terminal.compare import show_comparison
from reasoning_probe.report.terminal.show import print_run
from reasoning_probe.report.terminal.tables import FALLBACK, PIPED, console
from reasoning_probe.results.compare import compare
from reasoning_probe.results.run import write_run
from tests.helpers.fake_runs import as_run, full_run, outcome


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


@pytest.mark.parametrize("width", range(60, 141, 10))
def test_columns_go_before_digits_do(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = full_run()
    monkeypatch.setenv("COLUMNS", str(width))
    print_run(run, console())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    strongest = sorted(groups(run)[0].rows, key=lambda row: row["delta"])[0]
    (row,) = [line.split() for line in lines if line.split()[:2] == [strongest["target"], "*"]][:1]
    assert row[2] == points(strongest["delta"])
    assert " ".join(row).endswith(("< 0.001", f"< 0.001 {nats(strongest['delta_logprob'])}"))


@pytest.mark.parametrize("width", range(60, 141, 10))
def test_a_comparison_keeps_targets_and_digits(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = full_run(), full_run(seed=1)
    monkeypatch.setenv("COLUMNS", str(width))
    comparison = compare(("a", first), ("b", second), common=True)
    assert comparison.targets
    show_comparison(comparison, (Path("a"), first), (Path("b"), second), console())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for change in comparison.targets[:3]:
        row = next(line for line in lines if line[:1] == [change.target])
        assert points(change.first) in row
        assert points(change.second) in row
