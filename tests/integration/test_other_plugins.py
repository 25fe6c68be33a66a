"""Tests of the plugin beside other plugins, and from an installed wheel in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.project import PROBES, Project

LOGIC = {"syllogism-max-animal", "exclusion-mia-cat", "converse-leo-poet", "compare-tom-taller"}


@pytest.fixture
def logic(project: Project) -> Project:
    """A project with the logic probe; one of its four answers is wrong without ablation."""
    project.probe("logic")
    return project


def test_pytest_cov(logic: Project) -> None:
    pytest.importorskip("pytest_cov")
    result = logic.run_apart("--cov=.", "--cov-report=term")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*test_logic.py * 100%*", "=* reasoning-probe =*"])


def test_pytest_randomly(logic: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_randomly")
    monkeypatch.delenv("PYTEST_ADDOPTS")  # it switches pytest-randomly off
    orders = set()
    for seed in (1, 2):
        result = logic.run_apart("--probe-heads=L1H2", "-v", f"--randomly-seed={seed}")
        result.assert_outcomes(passed=4, failed=1, xfailed=3)
        orders.add(tuple(line.split()[0] for line in result.outlines if "::test_logic[" in line and "%]" in line))
        assert {item for item, _ in logic.computed()} == LOGIC
    assert len(orders) == 2


def test_pytest_timeout(logic: Project) -> None:
    pytest.importorskip("pytest_timeout")
    logic.run("--timeout=100").assert_outcomes(passed=3, failed=1)


def test_pytest_rerunfailures(logic: Project) -> None:
    """A wrong answer stays wrong; asking again computes nothing anew."""
    pytest.importorskip("pytest_rerunfailures")
    result = logic.run("--reruns=2", "--probe-heads=L1H2", page=True)
    assert {key: result.parseoutcomes()[key] for key in ("passed", "failed", "xfailed", "rerun")} == {
        "passed": 4,
        "failed": 1,
        "xfailed": 3,
        "rerun": 2,
    }
    assert len(logic.outcomes()) == 8
    assert (logic.path / "reports" / "report.html").exists()


def test_pytest_split(logic: Project) -> None:
    """Each group computes its own items, and no other."""
    pytest.importorskip("pytest_split")
    items = []
    for group in (1, 2):
        logic.run("--splits=2", f"--group={group}")
        items.append({item for item, _ in logic.computed()})
    assert items[0] | items[1] == LOGIC
    assert len(items[0]) == len(items[1]) == 2


def test_pytest_xdist(logic: Project) -> None:
    logic.run_apart("-n2", "--probe-heads=L1H2").assert_outcomes(passed=4, failed=1, xfailed=3)
    assert len(logic.outcomes()) == 8


def test_an_installed_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    built, site, empty = tmp_path / "built", tmp_path / "site", tmp_path / "empty"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=PROBES.parent, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    empty.mkdir()
    (empty / "test_mine.py").write_text(
        "import reasoning_probe as rp\n\n"
        '@rp.probe([rp.Item(question="What is 5 + 3?", answer="8")])\n'
        f"def test_mine(answer):\n    assert rp.__file__.startswith({str(site)!r})\n    assert answer.response\n"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "-pno:hypothesispytest", "--probe-heads=L0H0"]
    result = subprocess.run(
        command, cwd=empty, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout
    assert {path.name for path in (empty / "reports").iterdir()} == {"outcomes.jsonl", "report.html", "run.json"}
