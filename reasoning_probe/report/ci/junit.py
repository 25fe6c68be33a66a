"""The gate's checks as test cases of pytest's JUnit file, in which wrong answers are only skipped."""

from __future__ import annotations

from xml.etree import ElementTree

from reasoning_probe.report.owners import owner
from reasoning_probe.results.record import GateRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import printable

_CLASS = "reasoning_probe.gate"


def with_gate(xml: str, run: Run) -> str:
    """Return pytest's JUnit file *xml* with a test case for each check of the gate of *run*, counted with the others.

    Whom to ask about a dataset with answers that got worse is a property of the suite, ``reasoning_probe.owner.logic``.

    A test case has a name, a class, a time and a result, as xunit2's schema asks; nothing else, so that it is
    valid in the older families, too. Raises ``ElementTree.ParseError`` where *xml* is none.
    """
    root = ElementTree.fromstring(xml)
    suite = root if root.tag == "testsuite" else root.find("testsuite")
    if suite is None:
        return xml
    gate = run.summary.get("gate")
    if gate is None:
        return xml
    _add_owners(suite, run, gate)
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


def _add_owners(suite: ElementTree.Element, run: Run, gate: GateRecord) -> None:
    """Add the owner of each dataset with answers that got worse to the properties of *suite*."""
    datasets = dict.fromkeys(item["dataset"] for item in gate.get("regressions") or ())
    owners = {dataset: names for dataset in datasets if (names := owner(run, dataset))}
    if not owners:
        return
    properties = suite.find("properties")
    if properties is None:
        properties = ElementTree.Element("properties")
        suite.insert(0, properties)
    for dataset, names in owners.items():
        name = printable(f"reasoning_probe.owner.{dataset}")
        ElementTree.SubElement(properties, "property", name=name, value=names)
