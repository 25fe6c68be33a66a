"""The benchmark for GPUs, tried on a CPU: it measures what it says, writes JSON and prints a table to paste."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.speed import gpu


def test_the_command_runs_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gpu.json"
    line = "gpu --device cpu --shapes tiny --items 2 --heads 6 --new-tokens 10 --naive 2 --json"
    monkeypatch.setattr(sys, "argv", [*line.split(), str(file)])
    gpu.main()
    models = json.loads(file.read_text(encoding="utf-8"))["models"]
    assert [(model["shape"], model["dtype"]) for model in models] == [("tiny", "float32"), ("tiny", "bfloat16")]
    assert [model["numerics"] for model in models] == ["settle", "invariant"]
    for model in models:
        assert model["proof"]["invariant"], model["proof"]
        assert (model["path"], model["rows"], model["naive_rows_measured"]) == ("fast", 12, 2)
        assert model["responses_equal_to_the_row_alone"] == 2
        assert 0 < model["share_leaving_the_baseline"] < 1, "the heads of such a model matter too much, or not at all"
        assert all(seconds > 0 for seconds in model["seconds_per_row"].values())
        assert model["engine"]["passes"] > 0
        assert model["engine"]["bounded_by"]
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny |")]
    assert len(rows) == 2
    assert {row.count("|") for row in rows} == {12}


def test_what_there_is_no_time_for_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        sys, "argv", ["gpu", "--device", "cpu", "--shapes", "tiny", "--dtypes", "bfloat16", "--seconds", "0"]
    )
    gpu.main()
    assert "| tiny | bfloat16 | no time was left of 0 s |" in capsys.readouterr().out


@pytest.mark.parametrize(("shape", "parameters"), [("gpt2", 124_439_808), ("llama-1b", 1_235_814_400)])
def test_the_shapes_are_those_of_the_models(shape: str, parameters: int) -> None:
    assert gpu.parameters_of(shape) == parameters
