"""A patch of pytest-html's page, applied to its text once it is written.

Its template (4.1 and 4.2) has no language, no viewport, no landmarks, unlabelled check boxes, header cells without a
scope, things that answer to the pointer alone, low contrast, no print styles and a link to an outside address; and it
counts only the rows that it lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

from reasoning_probe.report.html.rendering import package_file, render
from reasoning_probe.utils.text import pluralise

_TOP = {
    "<html>": '<html lang="en">',
    '<meta charset="utf-8"/>': '<meta charset="utf-8"/><meta name="viewport" content="width=device-width">',
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
_TESTS = {
    "join('')}<ul>`": "join('')}</ul>`",  # its script opens a second list to close the first
    # its default folds what passed; expected failures are no news, either
    "&#34;renderCollapsed&#34;: [&#34;passed&#34;]": "&#34;renderCollapsed&#34;: [&#34;passed&#34;, &#34;xfailed&#34;]",
}
_MEDIA = re.compile(r'<div class="media">.*?</div>\s*(?=<div class="logwrapper")', re.DOTALL)


def patch_pytest_html(page: str, totals: Mapping[str, int], listed: int, dropped: int = 0, css: str = "") -> str:
    """Return pytest-html's *page* with what it lacks.

    *totals* are the tests by outcome, as pytest-html spells them (``passed``, ``xfailed``), of which *listed* have a
    row and *dropped* would have one in a shorter run. *css* is what the user gave with ``--css``; it comes last, so
    that it wins over our styles.
    """
    top, marker, tests = page.rpartition('<p class="run-count">')
    top = top.replace(f"<style>{package_file('page.css')}</style>", "", 1)  # the findings bring it
    match = re.search(r'<div id="environment-header">.*?</table>', top, re.DOTALL)
    environment = match[0] if match else ""
    top = _replace_each(top.replace(environment, "", 1), _TOP)
    top = re.sub(r'<a href="https?://[^"]*">pytest-html</a>', "pytest-html", top)
    if not re.search(r"format_type&#34;: &#34;(image|video)", tests):  # a video player a row takes most of the time
        top = _MEDIA.sub('<div class="media"></div>', top)
    head, head_end, body = top.partition("</head>")
    tests, footer_start, footer = _tests(tests).partition("<footer>")
    pieces = {
        "before_head_end": head,
        "css": css,
        "before_tests": head_end + body,
        "tests": marker + _count_all(tests, totals, listed, dropped),
        "environment": _replace_each(environment, _ENVIRONMENT),
        "footer": footer_start + footer,
    }
    return str(render("pytest_html", **{name: Markup(piece) for name, piece in pieces.items()})) + "\n"


def _tests(tests: str) -> str:
    """Return the part from the number of tests on, with scopes, labels and keys for its table and check boxes."""
    tests = re.sub("</body>|</html>", "", tests)
    tests = re.sub(r'(<th class="sortable")', r'\1 scope="col" tabindex="0"', tests)
    tests = tests.replace("<th>", '<th scope="col">')
    tests = re.sub(r'(<input[^>]*data-test-result="(\w+)")', r'\1 aria-label="Show \2"', tests)
    return _replace_each(tests, _TESTS)


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
