"""What pytest-html's page lacks, added to its text once it is written.

Its template (4.1 and 4.2) has no language, no viewport, no landmarks, unlabelled check boxes, header cells without a
scope, things that answer to the pointer alone, low contrast, no print styles and a link to an outside address; and it
counts only the rows that it lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reasoning_probe.report.html.elements import package_file
from reasoning_probe.utils.text import pluralise


def patch_pytest_html(page: str, totals: Mapping[str, int], listed: int, dropped: int = 0, css: str = "") -> str:
    """Return pytest-html's *page* with what it lacks.

    *totals* are the tests by outcome, as pytest-html spells them (``passed``, ``xfailed``), of which *listed* have a
    row and *dropped* would have one in a shorter run. *css* is what the user gave with ``--css``; it comes last, so
    that it wins over our styles.
    """
    own = f"<style>{package_file('page.css')}</style>"
    styles = f"<style>{package_file('shell.css')}</style>{own}" + (f"<style>{css}</style>" if css else "")
    top, between, tests = page.rpartition('<p class="run-count">')
    top = top.replace(own, "", 1)
    environment = re.search(r'<div id="environment-header">.*?</table>', top, re.DOTALL)
    moved = environment[0] if environment else ""
    top = _each(
        top.replace(moved, "", 1),
        ("<html>", '<html lang="en">'),
        ('<meta charset="utf-8"/>', '<meta charset="utf-8"/><meta name="viewport" content="width=device-width">'),
        ("</head>", f"{styles}</head>"),
        ("<body>", '<body class="rp-shell"><main>'),
        ("<h2>Summary</h2>", ""),
        ("<p>Report generated", '<p class="rp-generated">Report generated'),
        ('<img src="" />', '<img src="" alt="" />'),
        ('<div class="logwrapper">', '<div class="logwrapper" tabindex="0" role="region" aria-label="Log">'),
    )
    top = re.sub(r'<a href="https?://[^"]*">pytest-html</a>', "pytest-html", top)
    moved = moved.replace('<div id="environment-header">', '<div id="environment-header" tabindex="0" role="button">')
    moved = moved.replace("<h2>", '<h2 id="rp-environment">')
    moved = moved.replace('<table id="environment">', '<table id="environment" aria-labelledby="rp-environment">')
    tests = re.sub("</body>|</html>", "", tests)
    tests = tests.replace("<footer>", f"{moved}</main><footer>", 1) + "</body></html>\n"
    tests = re.sub(r'(<th class="sortable")', r'\1 scope="col" tabindex="0"', tests)
    tests = tests.replace("join('')}<ul>`", "join('')}</ul>`", 1)  # its script opens a second list to close the first
    tests = tests.replace("<th>", '<th scope="col">')
    tests = re.sub(r'(<input[^>]*data-test-result="(\w+)")', r'\1 aria-label="Show \2"', tests)
    if not re.search(r"format_type&#34;: &#34;(image|video)", tests):  # a video player a row takes most of the time
        top = re.sub(
            r'<div class="media">.*?</div>\s*(?=<div class="logwrapper")',
            '<div class="media"></div>',
            top,
            flags=re.DOTALL,
        )
    collapsed = "&#34;renderCollapsed&#34;: [&#34;passed&#34;"  # pytest-html's default; expected failures are no news
    tests = tests.replace(f"{collapsed}]", f"{collapsed}, &#34;xfailed&#34;]", 1)
    return top + "<h2>Tests</h2>" + between + _counted(tests, totals, listed, dropped)


def _each(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        text = text.replace(old, new, 1)
    return text


def _counted(tests: str, totals: Mapping[str, int], listed: int, dropped: int) -> str:
    """Put our totals in place of pytest-html's, which miss the cases that have no row."""
    ran = sum(totals.get(outcome, 0) for outcome in ("passed", "failed", "xpassed", "xfailed"))
    everything = sum(totals.values())
    note = f" The table lists {listed:,} of them; an ablated case that changed nothing has no row."
    if dropped:
        note += f" {dropped:,} more are left out to keep the page quick: see outcomes.jsonl."
    tests = re.sub(r"^\d+ tests? took", f"{pluralise(ran, 'test')} took", tests, count=1)
    if listed < everything:
        tests = tests.replace("</p>", f"{note}</p>", 1)
    for outcome, number in totals.items():
        tests = re.sub(rf'(<span class="{outcome}">)\d+ ', rf"\g<1>{number} ", tests, count=1)
    return tests
