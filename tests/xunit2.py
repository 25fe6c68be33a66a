"""The rules of the xunit2 family of JUnit files, as Jenkins' schema (junit-10) states them."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree

_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")
_WORD = re.compile(r".*", re.DOTALL)
_NUMBER = re.compile(r"\d+")

# element: what it may hold, its attributes, those that it must have
RULES: dict[str, tuple[set[str], dict[str, re.Pattern[str]], set[str]]] = {
    "testsuites": (
        {"testsuite"},
        {
            **dict.fromkeys(("name",), _WORD),
            "time": _TIME,
            **dict.fromkeys(("tests", "failures", "disabled", "errors"), _NUMBER),
        },
        set(),
    ),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {
            **dict.fromkeys(
                ("name", "group", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"), _WORD
            ),
            **dict.fromkeys(("tests", "failures", "errors", "skipped"), _NUMBER),
            "time": _TIME,
        },
        {"name", "tests", "failures", "errors"},
    ),
    "properties": ({"property"}, {}, set()),
    "property": (set(), {"name": _WORD, "value": _WORD}, {"name", "value"}),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"}
        | {f"{kind}{what}" for kind in ("rerun", "flaky") for what in ("Failure", "Error")},
        {"name": _WORD, "classname": _WORD, "group": _WORD, "time": _TIME},
        {"name", "classname"},  # xunit2 asks for a classname, too
    ),
    "skipped": (set(), {"type": _WORD, "message": _WORD}, set()),
    "error": (set(), {"type": _WORD, "message": _WORD}, set()),
    "failure": (set(), {"type": _WORD, "message": _WORD}, set()),
    "system-out": (set(), {}, set()),
    "system-err": (set(), {}, set()),
}
_WITH_TEXT = {"skipped", "error", "failure", "system-out", "system-err"}


def check(text: str) -> ElementTree.Element:
    """Return the suite of the JUnit file *text*, after asserting that it keeps the rules and counts right."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    _check(root)
    (suite,) = root
    cases = suite.findall("testcase")
    found = Counter(child.tag for case in cases for child in case)
    assert {name: int(suite.get(name, "")) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": len(cases),
        "failures": found["failure"],
        "errors": found["error"],
        "skipped": found["skipped"],
    }
    return suite


def _check(element: ElementTree.Element) -> None:
    children, attributes, required = RULES[element.tag]
    for name, value in element.attrib.items():
        assert name in attributes, f"{element.tag} has an attribute {name}"
        assert attributes[name].fullmatch(value), f"{element.tag} {name}={value!r}"
    assert required <= set(element.attrib), f"{element.tag} lacks {required - set(element.attrib)}"
    if element.tag not in _WITH_TEXT:
        assert not (element.text or "").strip(), f"{element.tag} holds text"
    for child in element:
        assert child.tag in children, f"{element.tag} holds {child.tag}"
        assert not (child.tail or "").strip(), f"{element.tag} holds text"
        _check(child)
