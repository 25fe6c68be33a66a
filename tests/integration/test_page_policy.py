"""The page's Content-Security-Policy in a browser: what gets into the page runs nothing, and all of it works."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.report.html.comparison import comparison_page, history_page
from reasoning_probe.report.html.notebook import notebook_html
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.cards.describe import with_cards
from reasoning_probe.results.compare import compare
from reasoning_probe.results.history import history
from reasoning_probe.results.run import Run, read_run, write_run
from tests.helpers.browser import OPEN_ALL, Visit
from tests.helpers.fake_runs import fake_run, full_run
from tests.helpers.html_pages import HOSTILE
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# -- the page's policy, and attempts to get a script in ----------------------------------------------------------------

EVIL = "<img/src/onerror=alert(7)>"
CI_VARIABLES = ("CI_COMMIT_REF_NAME", "GIT_BRANCH", "TRAVIS_BRANCH", "CIRCLE_BRANCH", "BITBUCKET_BRANCH")
"""Variables that CI systems fill with a branch's name, which anybody who may open a pull request chooses."""

ATTACKED = f"""
import logging

import pytest
import reasoning_probe as rp

EVIL = {EVIL!r}


@rp.probe('evil.jsonl', name=EVIL)
def test_probe(answer):
    print(EVIL, "\\x1b[31mred\\x1b[0m \\x1b]8;;javascript:alert(7)\\x1b\\\\link\\x1b]8;;\\x1b\\\\ \\u202e")
    logging.getLogger(EVIL).error(EVIL)
    assert answer.correct, EVIL


@pytest.mark.parametrize("value", [EVIL], ids=[EVIL])
def test_name(value, record_property, extras):
    import pytest_html
    extras.append(pytest_html.extras.url("javascript:alert(7)", name="link"))
    record_property(EVIL, EVIL)
    raise ValueError(EVIL + "\\nE   " + EVIL)


def test_skipped():
    pytest.skip(EVIL)


@pytest.fixture
def broken():
    print(EVIL)
    yield
    raise RuntimeError(EVIL)


def test_teardown(broken):
    print(EVIL)


@pytest.mark.xfail(reason=EVIL)
def test_xfailed():
    assert False, EVIL
"""

CONFTEST = f"""
def pytest_reasoning_probe_section(run):
    import reasoning_probe as rp

    return rp.Section(title={EVIL!r}, text={EVIL!r}, head=[{EVIL!r}], rows=[[{EVIL!r}]])


def pytest_html_results_summary(postfix):
    postfix.append("<p>a paragraph of the user's</p>")
"""


@pytest.fixture(params=["reports/report.html", "own.html", "whole.html"])
def attacked_page(project: Project, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a session into which a script is let through every text that somebody else may choose."""
    for name in CI_VARIABLES:
        monkeypatch.setenv(name, EVIL)
    items = [{"id": EVIL, "question": EVIL, "answer": EVIL, "context": EVIL}, {"question": "Why?", "answer": "x"}]
    project.write("evil.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    project.write("test_evil.py", ATTACKED)
    project.write("test_<img src=x onerror=alert(7)>.py", "import no_such_module\n")
    project.write("conftest.py", CONFTEST)
    options = {"own.html": ["--html=own.html"], "whole.html": ["--html=whole.html", "--self-contained-html"]}
    nested = json.dumps({EVIL: EVIL, "list": [EVIL, {EVIL: EVIL}], "object": {EVIL: [EVIL]}, "number": 5, "none": None})
    project.run(
        *("--probe-heads", CARRIER, "--continue-on-collection-errors", "--metadata", EVIL, EVIL),
        *("--metadata-from-json", nested, *options.get(request.param, ())),
        page=True,
    )
    return project.path / request.param


def test_no_script_gets_into_the_page_of_a_session(browser: Browser, attacked_page: Path) -> None:
    visit = Visit(browser, attacked_page)
    tab = visit.tab
    tab.evaluate(OPEN_ALL)
    tab.locator("#show_all_details").click()
    assert visit.wrong == []
    assert tab.locator("img[onerror], .rp img, #environment img, #results-table img").count() == 0
    assert tab.evaluate(
        "[...document.querySelectorAll('*')].every(e => [...e.attributes].every(a => !/^on/.test(a.name)))"
    )
    environment = tab.locator("#environment").inner_text()
    for name in CI_VARIABLES[:1]:
        assert name in environment
    assert environment.count(EVIL) >= 6
    table = tab.locator("#results-table").inner_text()
    assert "test_<img src=x onerror=alert(7)>.py" in table or attacked_page.name == "report.html"
    assert f"test_name[{EVIL}]" in table
    assert "\u202e" not in table
    assert "\\u202e" in table
    assert tab.get_by_text("a paragraph of the user's").is_visible()


def test_the_policy_stops_what_gets_in_all_the_same(browser: Browser, attacked_page: Path) -> None:
    text = attacked_page.read_text(encoding="utf-8")
    inside = f"<script>alert(7)</script>{EVIL}<a href='javascript:alert(7)' id=evil>x</a><p style='color:red'>y</p>"
    inside += "<iframe src='data:text/html,<script>alert(7)</script>'></iframe><base href='https://x.example/'>"
    inside += "<link rel=stylesheet href='https://x.example/x.css'><img src='https://x.example/x.png'><object data=x>"
    attacked_page.write_text(text.replace("<main>", f"<main>{inside}", 1), encoding="utf-8")
    visit = Visit(browser, attacked_page)
    visit.tab.locator("#evil").click()
    assert [line for line in visit.wrong if "Content Security Policy" not in line] == []
    assert len(visit.wrong) >= 8
    assert {url for url in visit.asked if url.startswith("http")} == {
        "https://x.example/x.css",
        "https://x.example/x.png",
    }
    assert {reason for url, reason in visit.refused if url.startswith("http")} == {"csp"}
    assert visit.tab.locator(".rp[data-ready]").count() == 1


def test_under_the_policy_everything_on_the_page_works(browser: Browser, attacked_page: Path) -> None:
    visit = Visit(browser, attacked_page, color_scheme="dark")
    tab = visit.tab
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert tab.evaluate("getComputedStyle(document.querySelector('#results-table')).borderCollapse") == "collapse"
    tab.locator(".rp-open").first.click()
    assert tab.get_by_role("dialog").is_visible()
    tab.keyboard.press("Escape")
    tab.mouse.move(*visit.over(CARRIER))
    assert tab.locator(".rp-tip").is_visible()
    tab.get_by_text("Table of tests").click()
    rows = tab.locator("#results-table tbody.results-table-row")
    number = rows.count()
    tab.get_by_role("checkbox", name="Show failed").click()
    assert 0 < rows.count() < number
    tab.get_by_role("checkbox", name="Show failed").click()
    assert rows.count() == number
    tab.locator(".sortable[data-column-type=testId]").click()
    names = tab.locator("td.col-testId").all_inner_texts()
    tab.locator(".sortable[data-column-type=testId]").click()
    assert tab.locator("td.col-testId").all_inner_texts() == names[::-1] != names
    tab.locator("#show_all_details").click()
    shown = tab.locator(".extras-row:not(.hidden)").count()
    assert shown == number
    rows.first.locator(".col-result").click()
    assert tab.locator(".extras-row:not(.hidden)").count() == shown - 1
    tab.locator("#hide_all_details").click()
    assert tab.locator(".extras-row:not(.hidden)").count() == 0
    tab.locator("#environment-header").click()
    assert tab.locator("#environment").is_hidden()
    assert len(tab.pdf()) > 10_000
    assert visit.wrong == []


@pytest.mark.parametrize("name", ["full", "strict", "plain", "hostile", "large"])
def test_our_own_page_breaks_no_rule_of_its_policy(browser: Browser, files: dict[str, Path], name: str) -> None:
    page = files[name].read_text(encoding="utf-8")
    policy = re.findall('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert len(policy) == 1
    assert page.index(policy[0]) < min(page.index(f"<{element}") for element in ("title", "style", "body", "main"))
    assert "unsafe" not in policy[0]
    assert policy[0].startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    visit = Visit(browser, files[name], color_scheme="dark")
    visit.tab.evaluate(OPEN_ALL)
    visit.tab.emulate_media(media="print")
    assert visit.tab.locator("[style]:not(.rp-cursor)").count() == 0
    assert (
        visit.tab.locator(".rp-swatch").first.evaluate("e => getComputedStyle(e).backgroundColor") != "rgba(0, 0, 0, 0)"
    )
    assert visit.wrong == []


def test_bars_are_as_long_as_what_they_show(browser: Browser, files: dict[str, Path]) -> None:
    tab = Visit(browser, files["plain"]).tab
    entry = fake_run().summary["datasets"]["arithmetic"]
    shares = (
        "bar => { const box = e => bar.querySelector(e).getBoundingClientRect(); const inside = bar.clientWidth;"
        " const left = bar.getBoundingClientRect().left + bar.clientLeft;"
        " const span = box('.rp-span');"
        " return [box('.rp-at').width, span.left - left, span.right - left].map(x => x / inside) }"
    )
    measured = tab.locator(".rp-bar").first.evaluate(shares)
    assert measured == pytest.approx([entry["accuracy"], *entry["ci95"]], abs=0.011)
    widths = tab.locator(".rp-ranking .rp-signed").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    )
    rows = sorted(
        (row for row in fake_run().summary["targets"] if row["dataset"] == "arithmetic"), key=lambda r: r["delta"]
    )
    assert widths[0] == pytest.approx(16 * (0.15 + 5 * abs(rows[0]["delta"])), abs=0.5)


# -- pages of a foreign run: cards, paths, owners, commands, comparisons, notebooks ------------------------------------

TEXTS = {
    *("sentence", "note", "tag", "value", "line", "title", "text", "head", "rows", "name", "architecture", "device"),
    *("token_on", "token_off", "tokens", "command", "started", "commit", "changed", "notes", "owners", "question"),
}
"""The keys of ``run.json`` whose texts, or lists of texts, are free."""


def poisoned(value: Any, key: str = "") -> Any:
    """Return *value*, a part of ``run.json``, with an attack before every free text."""
    if isinstance(value, dict):
        return {name: poisoned(part, key if key == "owners" else name) for name, part in value.items()}
    if isinstance(value, list):
        return [poisoned(part, key) for part in value]
    return f"{' '.join(HOSTILE)} {value}" if isinstance(value, str) and key in TEXTS else value


def foreign_run() -> Run:
    """Return a run with every part of a page, in each of whose texts there is an attack."""
    run = with_cards(full_run(items=20), "3")
    evil = " ".join(HOSTILE)
    example = {"item": evil, "position": 1, "token_on": "8", "token_off": "7", "tokens": ["5", "3"], "direct": 1.0}
    example |= {"attention": [0.5, 0.4], "sinks": {evil: 0.1}, "parts": {evil: 0.5}, "pattern": [[100], [50, 50]]}
    behaviour = {
        "tag": "a",
        "value": "b",
        "lost": 5,
        "right": 9,
        "others_lost": 0,
        "others_right": 9,
        "p_adjusted": 0.0,
    }
    counts = {"count": 5, "lost": 9, "others_count": 0, "others_lost": 9, "p_adjusted": 0.001}
    more = {"examples": [example], "scores": {evil: 0.9}, "labels": [evil], "mistakes": {evil: counts}}
    cards = [{**card, **more, "behaviour": [behaviour], "note": "n"} for card in run.summary["heads"] or ()]
    assert cards
    regression = dict.fromkeys(("dataset", "item", "question", "expected", "answer", "before", "category"), evil)
    gate = {**(run.summary["gate"] or {}), "regressions": [regression], "notes": ["n"]}
    gate["since"] = {"started": "s", "commit": "c", "changed": [["a", "b", "c"]]}
    parts = {"heads": cards, "gate": gate, "owners": {name: ["@a"] for name in run.summary["datasets"]}}
    parts |= {"invocation": {"command": f"pytest {shlex.quote(evil)}", "started": "s", "commit": "c", "prompts": {}}}
    parts |= {"sections": [{"title": "a", "text": "b", "head": ["c"], "rows": [["d"]]}]}
    command = parts["invocation"]["command"]  # type: ignore[index]
    summary = poisoned({**run.summary, **parts})
    summary["invocation"]["command"] = command
    outcomes = [replace(each, response=evil, prompt=evil, reason=each.reason and evil) for each in run.outcomes]
    return Run(summary, outcomes)


@pytest.fixture(scope="module")
def foreign_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("foreign")
    write_run(folder / "run", foreign_run())
    run = read_run(folder / "run")
    first, second = (Path(HOSTILE[0]), run), (Path(HOSTILE[1]), run)
    texts = {
        "page": standalone_page(run),
        "comparison": comparison_page(compare(first, second), first, second),
        "history": history_page(history([first, second, first])),
        "notebook": f"<!doctype html><meta charset=utf-8>{notebook_html(run)}",
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


HANDLERS = "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on/i.test(a.name))).length"


@pytest.mark.parametrize("name", ["page", "comparison", "history", "notebook"])
def test_no_script_of_a_foreign_run_gets_into_a_page(
    browser: Browser, foreign_pages: dict[str, Path], name: str
) -> None:
    visit = Visit(browser, foreign_pages[name])
    visit.tab.evaluate(OPEN_ALL)
    for button in visit.tab.locator(".rp-open").all()[:3]:
        button.click()
        visit.tab.keyboard.press("Escape")
    assert visit.wrong == []
    assert [url for url in visit.asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert len(visit.tab.frames) == (2 if name == "notebook" else 1)
    for frame in visit.tab.frames:
        assert frame.evaluate(HANDLERS) == 0
        assert frame.locator("base, form, object, embed, img:not([src^='data:'])").count() == 0
    assert "alert" in visit.tab.content()
