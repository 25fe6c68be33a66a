"""Checks JUnit files against the schema of the xunit2 family, and their counts."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from xmlschema import XMLSchema

SCHEMA = Path(__file__).parents[1] / "data" / "junit-10.xsd"


@cache
def _schema() -> XMLSchema:
    return XMLSchema(SCHEMA)


def problems(text: str) -> list[str]:
    """Return one line for each place where the JUnit file *text* breaks the schema; raise ``ParseError`` for no XML."""
    root = ElementTree.fromstring(text.encode("utf-8"))
    return [f"{error.path}: {error.reason}" for error in _schema().iter_errors(root)]


def check(text: str) -> ElementTree.Element:
    """Return the suite of the JUnit file *text* after asserting that it keeps the schema and that its counts agree."""
    assert problems(text) == []
    (suite,) = ElementTree.fromstring(text.encode("utf-8"))
    cases = suite.findall("testcase")
    children = Counter(child.tag for case in cases for child in case)
    assert {name: int(suite.get(name, "")) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": len(cases),
        "failures": children["failure"],
        "errors": children["error"],
        "skipped": children["skipped"],
    }
    return suite
