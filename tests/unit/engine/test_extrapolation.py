"""The reckoning for large models: it carries on what a GPU showed, and prints no second that nothing measured."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import extrapolate_70b as extrapolation
from benchmarks.speed import gpu


def a_model(**changes: Any) -> dict[str, Any]:
    """Return the figures of one model as the benchmark for GPUs writes them."""
    figures: dict[str, Any] = {
        "shape": "llama-8b",
        "dtype": "bfloat16",
        "parameters": 7_060_000_000,
        "device_bytes": 80_000_000_000,
        "prompt_tokens": 60.0,
        "new_tokens": 50,
        "numerics": "invariant",
        "seconds_per_row": {"naive": 0.5, "masked": 0.1, "engine": 0.01},
        "seconds_per_baseline": 0.02,
        "engine_against_naive": 50.0,
        "share_leaving_the_baseline": 0.5,
    }
    return figures | changes


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    monkeypatch.setattr(sys, "argv", ["extrapolate_70b", *options])
    extrapolation.main()
    return capsys.readouterr().out


def write(folder: Path, *models: dict[str, Any]) -> str:
    file = folder / "gpu.json"
    file.write_text(json.dumps({"models": models}), encoding="utf-8")
    return str(file)


def test_seconds_grow_with_parameters_and_tokens() -> None:
    workload = extrapolation.Workload(parameters=70.6e9, prompt_tokens=70, new_tokens=150)
    reckoned = extrapolation.reckon(a_model(), workload)
    assert reckoned.case_s == pytest.approx(0.01 * 10 * 2)  # ten times the parameters, 220 tokens in place of 110
    assert reckoned.baseline_s == pytest.approx(0.02 * 10 * 2)
    assert reckoned.naive_s == pytest.approx(0.5 * 10 * 3)  # generate reads all weights for each new token
    assert reckoned.replica_gpus == 3  # 141.2 GB of weights and a third more, in GPUs of 80 GB


def test_the_table_has_the_hours_of_each_number_of_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, a_model())
    line = f"--gpu-json {file} --gpus 2 3 36 --items 100 --heads 360 --session-ms 0.53 --price 2"
    rows = printed(monkeypatch, capsys, *line.split()).splitlines()[-3:]
    # 36,000 cases of 0.2 s and 100 baselines of 0.4 s are 2.011 h of a replica; the driver takes 36 s
    assert rows == [
        "| 2 | 0 | too few for one replica | | | | |",
        "| 3 | 1 | 2.0 | 0.0 | 2.0 | 6 | 12 |",
        "| 36 | 12 | 0.2 | 0.0 | 0.2 | 6 | 13 |",
    ]


def test_the_largest_model_of_the_dtype_counts(tmp_path: Path) -> None:
    smaller, other = a_model(shape="llama-1b", parameters=10**9), a_model(dtype="float32", parameters=10**11)
    skipped = {"shape": "llama-70b", "dtype": "bfloat16", "skipped": "it needs 180 GB"}
    file = Path(write(tmp_path, smaller, other, a_model(), skipped))
    assert extrapolation.measured_model(file, "bfloat16")["shape"] == "llama-8b"
    with pytest.raises(ValueError, match="no model that was measured in float16"):
        extrapolation.measured_model(file, "float16")


def test_without_a_gpu_no_seconds_of_one_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(monkeypatch, capsys)
    assert re.findall(r"[\d.]+ h\b", text) == ["3.1 h"]  # the driver's, which was measured
    assert "s a case" not in text.replace("ms a case", "")


def test_it_reads_what_the_benchmark_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gpu.json"
    line = "gpu --device cpu --shapes tiny --dtypes bfloat16 --items 2 --heads 6 --new-tokens 10 --naive 1 --json"
    monkeypatch.setattr(sys, "argv", [*line.split(), str(file)])
    gpu.main()
    capsys.readouterr()
    text = printed(monkeypatch, capsys, "--gpu-json", str(file), "--replica-gpus", "4")
    assert "from tiny, bfloat16, invariant" in text
    assert "| 8 | 2 |" in text


def test_another_file_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["extrapolate_70b", "--gpu-json", str(file)])
    with pytest.raises(SystemExit, match="is no file of benchmarks"):
        extrapolation.main()
