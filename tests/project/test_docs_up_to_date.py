"""Pages that are made from the code and from measurements say what these say today."""

from __future__ import annotations

import importlib
import json
import re

import pytest

from tests.helpers.project import ROOT


def test_pages_made_from_the_code_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "tools")
    generate = importlib.import_module("generate")
    for name, write in generate.PAGES.items():
        message = f"docs/{name}: run python docs/tools/generate.py"
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == write(), message


def test_the_speed_that_is_named_is_the_one_that_was_measured_last() -> None:
    """By ``benchmarks.speed.sweep``, whose figures are beside the pages."""
    sweeps = [
        json.loads((ROOT / f"docs/measurements/sweep-{name}.json").read_text()) for name in ("smollm2", "tiny-reasoner")
    ]
    engine, small = (sweep["seconds_per_1000_cases"]["engine"] for sweep in sweeps)
    naive, small_naive = (sweep["engine_against_naive"] for sweep in sweeps)
    masked, small_masked = (sweep["engine_against_batched"] for sweep in sweeps)

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"take {engine:.0f} ms a case on two cores, {naive:.0f} times less" in readme
    performance = (ROOT / "docs" / "quality" / "performance.md").read_text(encoding="utf-8")
    assert f"| engine (all cases) | {engine:.1f} | {small:.2f} |" in performance
    assert f"| **engine against naive** | **{naive:.1f} x** | **{small_naive:.1f} x** |" in performance
    assert f"| **engine against the mask per row** | **{masked:.2f} x** | **{small_masked:.2f} x** |" in performance


def test_the_architecture_names_every_module() -> None:
    """The table of layers has each package once; the list below it has each module under its package's heading."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "reasoning_probe"
    top = {path.parent.name for path in package.glob("*/__init__.py")}

    (layers,) = re.findall(r"^## The layers\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    cells = [row.split("|")[1] for row in layers.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`([\w.]+)/?`", "".join(cells))) == sorted({*top, "cli.py"})

    sections = dict(re.findall(r"^### (?:`(\w+)/`|The top [^\n]*)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == {*top, ""}
    for name, section in sections.items():
        files = (package / name).rglob("*.py") if name else package.glob("*.py")
        names = {path.relative_to(package / name).as_posix().removesuffix("/__init__.py") for path in files}
        listed = [line.rstrip("/") for line in re.findall(r"^- `([\w./]+)`: .", section, re.MULTILINE)]
        assert sorted(listed) == sorted(names - {"__init__.py"} if name else names), "python docs/tools/generate.py"
