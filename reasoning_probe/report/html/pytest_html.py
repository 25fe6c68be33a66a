"""A patch of pytest-html's page, applied to its text before it is written.

Its template (4.1 and 4.2) has no language, no viewport, no landmarks, unlabelled check boxes, header cells without a
scope, things that answer to the pointer alone, low contrast, no print styles and a link to an outside address; and it
counts only the rows that it lists. Its script shows variables of the CI system and names of tests as HTML, so these are
escaped in its data, and a policy allows no script but its own and ours.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from reasoning_probe.report.html.content_policy import content_policy
from reasoning_probe.report.html.rendering import page_styles, render
from reasoning_probe.utils.text import escape_control_characters, pluralise

SECTIONS = {"rp-tests": "Tests", "rp-environment": "Environment"}
"""The titles of the page's own sections by their ids, for the menu of the findings."""
_CHARSET = '<meta charset="utf-8"/>'
_TOP = {
    "<html>": '<html lang="en">',
    "<title": '<meta name="viewport" content="width=device-width"><title',
    "<body>": '<body class="rp-shell"><main>',
    "<h2>Summary</h2>": "",
    "<p>Report generated": '<p class="rp-generated">Report generated',
    '<img src="" />': '<img src="" alt="" />',
    '<div class="logwrapper">': '<div class="logwrapper" tabindex="0" role="region" aria-label="Log">',
}
"""Tags of pytest-html's page above the number of tests, and what they become."""
_ENVIRONMENT = {
    '<div id="environment-header">': '<div id="environment-header" tabindex="0" role="button">',
    "<h2>": '<h2 id="rp-environment">',
    '<table id="environment">': '<table id="environment" aria-labelledby="rp-environment">',
}
_SCRIPTS = {
    "join('')}<ul>`": "join('')}</ul>`",  # its script opens a second list to close the first
    ' onclick="location.reload()"': "",  # of a note that only a page of a running session shows
}
_MEDIA = re.compile(r'<div class="media">.*?</div>\s*(?=<div class="logwrapper")', re.DOTALL)


def patch_pytest_html(page: str, totals: Mapping[str, int], listed: int, dropped: int = 0, css: str = "") -> str:
    """Return pytest-html's *page* with what it lacks.

    *totals* are the tests by outcome, as pytest-html spells them (``passed``, ``xfailed``), of which *listed* have a
    row and *dropped* would have one in a shorter run. *css* is what the user gave with ``--css``; it comes last, so
    that it wins over our styles.
    """
    page, data = _patch_data(_replace_each(page, _SCRIPTS))
    top, marker, tests = page.rpartition('<p class="run-count">')
    top = top.replace(f"<style>{page_styles()}</style>", "", 1)  # the findings bring it
    match = re.search(r'<div id="environment-header">.*?</table>', top, re.DOTALL)
    environment = match[0] if match else ""
    top = _replace_each(top.replace(environment, "", 1), _TOP)
    top = re.sub(r'<a href="https?://[^"]*">pytest-html</a>', "pytest-html", top)
    if not _has_media(data):  # a video player a row takes most of the time
        top = _MEDIA.sub('<div class="media"></div>', top)
    head, head_end, body = top.partition("</head>")
    tests, footer_start, footer = _tests(tests).partition("<footer>")
    css = css.replace("</", "<\\/")  # an escape, by which no style sheet ends its element
    pieces = {
        "before_head_end": head.replace(_CHARSET, _CHARSET + _policy(head, footer, css), 1),
        "css": css,
        "before_tests": head_end + body,
        "tests": _fold(marker + _count_all(tests, totals, listed, dropped)),
        "environment": _replace_each(environment, _ENVIRONMENT),
        "footer": footer_start + footer,
    }
    return str(render("pytest_html", **{name: Markup(piece) for name, piece in pieces.items()})) + "\n"


def _policy(head: str, footer: str, css: str) -> str:
    """Return the policy for our scripts and styles, pytest-html's and the user's *css*.

    pytest-html's style sheet is the first of the page, and its script the last element: nothing that others wrote comes
    before the one or after the other.
    """
    style = re.search(r'<style type="text/css">(.*?)</style>', head, re.DOTALL)
    script = footer.rpartition("<script>")[2].rpartition("</script>")[0]
    styles = [css, *([style[1]] if style else [])]
    return str(content_policy([script], styles, files_beside=style is None))


# -- the data of pytest-html's script -------------------------------------------------------------------------------


def _patch_data(page: str) -> tuple[str, dict[str, Any]]:
    """Return *page* with nothing in its script's data that the browser would read as HTML of others; and that data."""
    match = re.search(r'data-jsonblob="([^"]*)"', page)
    if match is None:
        return page, {}
    data: dict[str, Any] = json.loads(html.unescape(match[1]))
    data["environment"] = {
        escape_control_characters(str(name)): _plain(value) for name, value in data.get("environment", {}).items()
    }
    for node_id, rows in data.get("tests", {}).items():
        for row in rows:
            _patch_row(row, node_id)
    if data.get("renderCollapsed") == ["passed"]:  # the default; expected failures are no news, either
        data["renderCollapsed"].append("xfailed")
    return page[: match.start(1)] + str(escape(json.dumps(data))) + page[match.end(1) :], data


def _plain(value: Any) -> Any:
    """Return a *value* of the environment escaped: pytest-html shows a list or an object as a list of its entries."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {str(_escaped(name)): _escaped(entry) for name, entry in value.items()}
    return _escaped(value)


def _escaped(value: Any) -> str:
    return str(escape(escape_control_characters(value if isinstance(value, str) else json.dumps(value))))


def _patch_row(row: dict[str, Any], node_id: str) -> None:
    """Escape the node id, which holds a file's and an item's name, in the cell that pytest-html made of it."""
    row["resultsTableRow"] = [
        cell.replace(node_id, _escaped(node_id)) if cell.startswith('<td class="col-testId">') else cell
        for cell in row.get("resultsTableRow", ())
    ]
    if isinstance(row.get("log"), str):  # HTML already, but not for what turns the text around it
        row["log"] = escape_control_characters(row["log"])


def _has_media(data: Mapping[str, Any]) -> bool:
    rows = (row for rows in data.get("tests", {}).values() for row in rows)
    return any(extra.get("format_type") in ("image", "video") for row in rows for extra in row.get("extras", ()))


# -- the text of the page ---------------------------------------------------------------------------------------------


def _tests(tests: str) -> str:
    """Return the part from the number of tests on, with scopes, labels and keys for its table and check boxes."""
    tests = re.sub("</body>|</html>", "", tests)
    tests = re.sub(r'(<th class="sortable")', r'\1 scope="col" tabindex="0"', tests)
    tests = tests.replace("<th>", '<th scope="col">')
    return re.sub(r'(<input[^>]*data-test-result="(\w+)")', r'\1 aria-label="Show \2"', tests)


def _fold(tests: str) -> str:
    """Return the part from the number of tests on with all but that number folded: its table has a row a test."""
    count, paragraph_end, table = tests.partition("</p>")
    if not paragraph_end:
        return tests
    opened = '<details id="rp-table"><summary>Table of tests</summary><div class="summary"><div class="summary__data">'
    return f'</div></div><h2 id="rp-tests">Tests</h2>{count}{paragraph_end}{opened}{table}</details>'


def _replace_each(text: str, replacements: Mapping[str, str]) -> str:
    """Return *text* with the first occurrence of each key replaced by its value."""
    for old, new in replacements.items():
        text = text.replace(old, new, 1)
    return text


def _count_all(tests: str, totals: Mapping[str, int], listed: int, dropped: int) -> str:
    """Put our totals in place of pytest-html's, which miss the cases that have no row."""
    run = sum(totals.get(outcome, 0) for outcome in ("passed", "failed", "xpassed", "xfailed"))
    note = f" The table lists {listed:,} of them; an ablated case that changed nothing has no row."
    if dropped:
        note += f" {dropped:,} more are left out to keep the page quick: see outcomes.jsonl."
    tests = re.sub(r"^\d+ tests? took", f"{pluralise(run, 'test')} took", tests, count=1)
    if listed < sum(totals.values()):
        tests = tests.replace("</p>", f"{note}</p>", 1)
    for outcome, number in totals.items():
        tests = re.sub(rf'(<span class="{outcome}">)\d+ ', rf"\g<1>{number} ", tests, count=1)
    return tests
