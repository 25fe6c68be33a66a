"""Every field of the classes that users see has a docstring below it, which editors show where the field is used."""

from __future__ import annotations

import ast
from itertools import pairwise

import pytest

from tests.helpers.project import ROOT

DOCUMENTED = [
    ("data/items.py", "Item"),
    ("data/items.py", "Donor"),
    ("results/outcome.py", "Outcome"),
    ("results/outcome.py", "Choice"),
]


@pytest.mark.parametrize(("file", "name"), DOCUMENTED, ids=[name for _, name in DOCUMENTED])
def test_every_field_says_what_it_holds(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "reasoning_probe" / file).read_text(encoding="utf-8"))
    (body,) = [node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    texts = {}
    for node, below in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            literal = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            texts[node.target.id] = below.value.value if literal else None  # type: ignore[attr-defined]
    assert texts
    assert all(isinstance(text, str) and text.endswith(".") for text in texts.values()), texts
