"""Tests the distributions: a wheel with exactly the package, and an sdist from which the tests can run."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.project import PROBES, ROOT

LIMIT = 8_000_000
"""The maximum size of either file in bytes."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def tracked(*folders: str) -> set[str]:
    """Return the files of the source tree without caches."""
    paths = (path for name in folders for path in (ROOT / name).rglob("*"))
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts) and path.suffix != ".pyc"
    }


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < LIMIT
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == tracked("reasoning_probe")
    assert {"reasoning_probe/py.typed", "reasoning_probe/models/bundled/tiny-reasoner/model.safetensors"} <= inside
    assert {name for name in inside if name.endswith(".jsonl")} == {
        f"reasoning_probe/data/builtin/{name}.jsonl" for name in ("arithmetic", "gsm8k", "logic", "multi_step")
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "reasoning_probe = reasoning_probe.pytest_plugin.plugin" in text
    assert "reasoning-probe = reasoning_probe.cli:main" in text


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < LIMIT
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked("reasoning_probe", "probes", "benchmarks") <= names
    assert {path for path in tracked("tests") if "__pycache__" not in path} <= names
    assert {"conftest.py", "tox.ini", "constraints.txt", "pyproject.toml", "CHANGELOG.md", "README.md"} <= names
    strangers = {name for name in names if name.startswith((".", "reports/", "shared/")) and name != ".gitignore"}
    assert not strangers


def test_a_file_of_more_than_400_lines_says_why_at_its_top() -> None:
    for folder in ("reasoning_probe", "probes", "tests", "benchmarks", "docs", "examples"):
        for path in (PROBES.parent / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            docstring = (ast.get_docstring(ast.parse(text)) or "").replace("\n", " ")
            assert text.count("\n") <= 400 or "more than 400 lines" in docstring.lower(), (
                f"{path}: divide it, or say why not"
            )
