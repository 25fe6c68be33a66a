"""Runs the examples in the package's docstrings."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.helpers.project import PROBES

PACKAGE = PROBES.parent / "reasoning_probe"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples(path: object) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)  # type: ignore[attr-defined]
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert result.attempted
    assert not result.failed
