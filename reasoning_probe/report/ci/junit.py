"""The gate's checks as test cases of pytest's JUnit file, in which wrong answers are only skipped."""

from __future__ import annotations

from xml.etree import ElementTree

from reasoning_probe.results.record import GateRecord
from reasoning_probe.utils.text import printable

_CLASS = "reasoning_probe.gate"


def with_gate(xml: str, gate: GateRecord) -> str:
    """Return pytest's JUnit file *xml* with a test case for each check of *gate*, counted with the others.

    A test case has a name, a class, a time and a result, as xunit2's schema asks; nothing else, so that it is
    valid in the older families, too. Raises ``ElementTree.ParseError`` where *xml* is none.
    """
    root = ElementTree.fromstring(xml)
    suite = root if root.tag == "testsuite" else root.find("testsuite")
    if suite is None:
        return xml
    for check in gate["checks"]:
        name, line = (
            printable(f"{check['dataset']}-{check['rule']}"),
            printable(check["line"]),
        )
        case = ElementTree.SubElement(suite, "testcase", classname=_CLASS, name=name, time="0.000")
        counted = ["tests"]
        if check["passed"] is None:
            ElementTree.SubElement(case, "skipped", type="pytest.skip", message=line)
            counted.append("skipped")
        elif not check["passed"]:
            ElementTree.SubElement(case, "failure", message=line).text = line
            counted.append("failures")
        for attribute in counted:
            suite.set(attribute, str(int(suite.get(attribute) or 0) + 1))
    return '<?xml version="1.0" encoding="utf-8"?>' + ElementTree.tostring(root, encoding="unicode")
