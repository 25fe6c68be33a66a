"""The page in a browser: what it shows, what it answers to, that nothing in it runs but its own script."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.html_report import MOST_CHANGED, HtmlReportHooks
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.html.pytest_html import patch_pytest_html
from tests.helpers.fake_runs import as_run, fake_outcomes, fake_run, full_run
from tests.helpers.html_pages import HOSTILE, hostile_run
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.removeAttribute('name'); d.open = true })"
A4 = 718
"""Pixels of a page's width between the margins that browsers print with."""
SIZES = {"laptop": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page in a tab of its own, which notes what it asks the network for and what goes wrong in it."""

    def __init__(self, browser: Browser, file: Path, size: str = "laptop", **context: Any) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, **context)
        self.tab: Tab = self.context.new_page()
        self.asked: list[str] = []
        self.refused: list[tuple[str, str | None]] = []
        self.wrong: list[str] = []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("requestfailed", lambda request: self.refused.append((request.url, request.failure)))
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("console", lambda message: self.wrong.append(message.text))
        self.tab.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.tab.goto(file.as_uri())

    def over(self, target: str, number: int = 0) -> tuple[float, float]:
        """The middle of a head's cell in a map of the page."""
        picture = self.tab.locator("svg[data-grid]").nth(number)
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        assert box is not None
        left, top, wide, high = map(float, str(picture.get_attribute("data-grid")).split())
        layers = str(picture.get_attribute("data-layers")).split()
        columns = str(picture.get_attribute("data-columns")).split()
        layer, head = target[1:].split("H")
        scale = box["width"] / float(str(picture.get_attribute("viewBox")).split()[2])
        x = left + wide * (columns.index(f"H{head}") + 0.5) / len(columns)
        y = top + high * (layers.index(layer) + 0.5) / len(layers)
        return box["x"] + scale * x, box["y"] + scale * y


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    strict = as_run(fake_outcomes(), formats={"arithmetic": "plain", "gsm8k": "gsm8k"})
    pages = {
        "full": full_run(),
        "strict": strict,
        "plain": fake_run(),
        "hostile": hostile_run(),
        "large": full_run(32, 32, items=4),
    }
    for name, run in pages.items():
        (folder / f"{name}.html").write_text(standalone_page(run), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture
def session_page(project: Project) -> Path:
    """The page of a test session, by pytest-html, beside a test whose failure has its own row."""
    project.probe("logic")
    project.write("test_own.py", "def test_own():\n    assert '<script>' == '</script>'\n")
    project.run("--ablate-heads", page=True)
    return project.path / "reports" / "report.html"


# -- the map ------------------------------------------------------------------------------------------------------


def test_hovering_a_cell_shows_the_head_its_effect_interval_and_flips(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    tip = visit.tab.locator(".rp-tip")
    assert tip.is_hidden()
    visit.tab.mouse.move(*visit.over("L1H3"))
    shown = tip.inner_text()
    row = next(row for row in full_run().summary["targets"] if row["target"] == "L1H3")
    assert shown.startswith("L1H3")
    assert "accuracy -64 points (" in shown
    assert f"{row['flips_to_wrong']} right to wrong, {row['flips_to_right']} wrong to right of 200" in shown
    visit.tab.mouse.move(1, 1)
    assert tip.is_hidden()
    assert visit.wrong == []


def test_clicking_a_cell_shows_the_flipped_items_side_by_side(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    visit.tab.mouse.click(*visit.over("L2H0"))
    dialog = visit.tab.get_by_role("dialog", name="L2H0 off, arithmetic, zero ablation")
    row = next(row for row in full_run().summary["targets"] if row["target"] == "L2H0")
    assert dialog.get_by_text("right to wrong", exact=True).count() == row["flips_to_wrong"]
    first = dialog.locator(".rp-flip").first
    was, now = (first.locator(".rp-sides > div").nth(side) for side in range(2))
    assert "nothing off" in was.inner_text()
    assert "L2H0 off" in now.inner_text()
    boxes = was.bounding_box(), now.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert was.locator("mark").inner_text() != now.locator("mark").inner_text()
    visit.tab.keyboard.press("Escape")
    assert dialog.is_hidden()


def test_a_tap_opens_a_cell_and_a_tap_beside_closes_it(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"], "phone", has_touch=True, is_mobile=True)
    visit.tab.touchscreen.tap(*visit.over("L1H3"))
    dialog = visit.tab.get_by_role("dialog", name="L1H3 off, arithmetic, zero ablation")
    assert "accuracy -64 points" in dialog.inner_text()
    assert dialog.locator("mark").count() > 100
    visit.tab.touchscreen.tap(195, 4)
    assert dialog.is_hidden()
    assert visit.tab.locator(".rp-tip").is_hidden()
    assert visit.wrong == []


def test_the_map_answers_to_the_keyboard(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    tab = visit.tab
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.matches('svg[data-grid]')"):
            break
    assert tab.locator(".rp-tip strong").inner_text() == "L0H0"
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"):
        tab.keyboard.press(key)
    assert tab.locator(".rp-tip strong").inner_text() == "L1H3"
    tab.keyboard.press("Enter")
    assert tab.get_by_role("dialog").get_by_role("heading", level=2).inner_text().startswith("L1H3 off")
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.matches('svg[data-grid]')")


def test_a_ranked_target_shows_its_flips(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    visit.tab.get_by_role("button", name="L1H3").first.click()
    assert visit.tab.get_by_role("dialog").locator(".rp-flip").count() > 100


def test_without_script_all_is_there_to_read(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"], java_script_enabled=False)
    tab = visit.tab
    assert tab.get_by_text("2 of 16 measured heads matter for arithmetic").is_visible()
    assert tab.locator("svg[data-grid]").first.is_visible()
    tab.get_by_text("Numbers of the maps").first.click()
    assert tab.get_by_role("table", name="Accuracy change in points, beneath it").first.is_visible()
    tab.locator("summary", has_text="arithmetic").last.click()
    tab.locator(".rp-item", has_text="changed it").first.locator("summary").click()
    assert tab.get_by_role("table", name="Switched off, the answer changed").first.is_visible()


# -- sizes, light and dark, paper -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["full", "large", "hostile"])
def test_no_page_is_wider_than_its_screen(browser: Browser, files: dict[str, Path], name: str, size: str) -> None:
    visit = Visit(browser, files[name], size)
    visit.tab.evaluate(OPEN_ALL)
    assert visit.tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


BEYOND = "tables => tables.filter(e => e.scrollWidth > e.clientWidth).map(e => e.getAttribute('aria-label'))"


@pytest.mark.parametrize("shown", [".rp-ranked", "section"])
def test_a_laptop_shows_whole_tables(browser: Browser, files: dict[str, Path], shown: str) -> None:
    visit = Visit(browser, files["full"])
    assert visit.tab.locator(f"{shown} .rp-scroll:visible").count() > 0
    assert visit.tab.locator(f"{shown} .rp-scroll:visible").evaluate_all(BEYOND) == []


def test_a_phone_shows_accuracies_and_captions_whole(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["strict"], "phone")
    table = visit.tab.locator(".rp-scroll", has_text="flexible").first
    assert table.evaluate("e => e.scrollWidth <= e.clientWidth")
    lines = "e => { const all = document.createRange(); all.selectNodeContents(e); return all.getClientRects().length }"
    assert table.get_by_text("193 of 200").evaluate(lines) == 1
    visit = Visit(browser, files["full"], "phone")
    visit.tab.evaluate(OPEN_ALL)
    inside = "spans => spans.every(e => e.getBoundingClientRect().right <= innerWidth)"
    assert visit.tab.locator("caption > span").evaluate_all(inside)


def test_an_option_stands_on_one_line(browser: Browser, files: dict[str, Path]) -> None:
    for size in SIZES:
        visit = Visit(browser, files["full"], size)
        option = visit.tab.locator(".rp-verdict code").first
        assert option.inner_text().startswith("--probe-items")
        assert option.evaluate("e => e.getClientRects().length") == 1


def test_the_first_screen_of_a_laptop_holds_verdict_accuracy_and_map(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["plain"])
    for place in ("h2", ".rp-verdict", "table", "svg[data-grid]"):
        box = visit.tab.locator(place).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SIZES["laptop"][1], place


def test_on_paper_the_maps_of_every_dataset_are_open(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    visit.tab.emulate_media(media="print")
    shut = visit.tab.locator("details[name=rp-maps]:not([open]) svg").first
    box = shut.bounding_box()
    assert box is not None
    assert box["height"] > 50


def test_on_paper_the_ranking_is_whole(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    visit.tab.set_viewport_size({"width": A4, "height": 1000})
    visit.tab.emulate_media(media="print")
    inside = f"tables => tables.every(e => e.getBoundingClientRect().right <= {A4})"
    assert visit.tab.locator(".rp-ranked table:visible").evaluate_all(inside)


def test_motion_is_left_out_where_it_is_not_wanted(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"], reduced_motion="reduce")
    visit.tab.get_by_role("button", name="L1H3").first.click()
    assert visit.tab.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shell", ["ours", "pytest-html"])
def test_axe_finds_nothing_serious(
    browser: Browser, files: dict[str, Path], request: pytest.FixtureRequest, shell: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    file = files["full"] if shell == "ours" else request.getfixturevalue("session_page")
    visit = Visit(browser, file, color_scheme=scheme)
    visit.tab.evaluate(OPEN_ALL)
    for opened in (False, True):
        if opened:
            visit.tab.locator(".rp-open").first.click()
            visit.tab.evaluate("Promise.all(document.getAnimations().map(a => a.finished))")  # wait_for_function evals
        found = axe.Axe().run(visit.tab).response["violations"]
        serious = {
            rule["id"]: rule["nodes"][0]["html"][:200] for rule in found if rule["impact"] in ("serious", "critical")
        }
        assert serious == {}


# -- what others wrote, and where the page leads --------------------------------------------------------------------


def test_nothing_that_others_wrote_runs(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["hostile"])
    tab = visit.tab
    tab.evaluate(OPEN_ALL)
    for button in tab.locator(".rp-open").all():
        button.click()
        assert tab.get_by_role("dialog").is_visible()
        tab.keyboard.press("Escape")
    assert visit.wrong == []
    assert visit.asked == [files["hostile"].as_uri()]
    assert tab.locator("script").count() == 2
    assert tab.locator("img, iframe, object, base, form").count() == 0
    assert tab.evaluate(
        "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).every(a => !/^on/.test(a.name))"
    )
    assert HOSTILE[0] in tab.locator(".rp").inner_text()


def test_hostile_answers_of_a_session_do_nothing(browser: Browser, project: Project) -> None:
    lines = [{"id": f"evil {evil}", "question": evil, "answer": evil} for evil in HOSTILE[:5]]
    project.write("evil.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    probe = "import reasoning_probe as rp\n\n@rp.probe('evil.jsonl', name='<script>alert(2)</script>')\n"
    project.write("test_evil.py", f"{probe}def test_evil(answer):\n    assert answer.correct\n")
    project.run("--probe-heads", CARRIER, page=True)
    file = project.path / "reports" / "report.html"
    visit = Visit(browser, file)
    visit.tab.evaluate(OPEN_ALL)
    assert visit.wrong == []
    assert visit.asked == [file.as_uri()]
    assert "<script>alert(1)</script>" in visit.tab.locator("#results-table").inner_text()


@pytest.mark.parametrize("shell", ["ours", "pytest-html"])
def test_the_page_names_no_outside_address(
    browser: Browser, files: dict[str, Path], request: pytest.FixtureRequest, shell: str
) -> None:
    file = files["full"] if shell == "ours" else request.getfixturevalue("session_page")
    visit = Visit(browser, file)
    assert [url for url in visit.asked if not url.startswith("data:")] == [file.as_uri()]
    links = "[...document.querySelectorAll('[href], [src], [action], [data]')].flatMap(e =>"
    links += " ['href', 'src', 'action', 'data'].map(n => e.getAttribute(n)).filter(Boolean))"
    assert all(re.match("#|data:", link) for link in visit.tab.evaluate(links))


# -- pytest-html's page -----------------------------------------------------------------------------------------------


def test_the_page_of_a_session_is_mended(browser: Browser, session_page: Path) -> None:
    visit = Visit(browser, session_page)
    tab = visit.tab
    assert tab.locator("html").get_attribute("lang") == "en"
    headings = tab.locator("h2:not(.rp h2)").all_inner_texts()
    assert headings == ["Tests", "Environment"]
    assert tab.locator("#results-table th[scope=col]").count() == 4
    assert tab.get_by_role("checkbox", name="Show failed").count() == 1
    assert tab.get_by_role("main").count() == 1
    assert visit.wrong == []


def test_the_totals_of_a_session_count_the_cases_without_a_row(browser: Browser, session_page: Path) -> None:
    tab = Visit(browser, session_page).tab
    listed = tab.locator("#results-table tbody.results-table-row").count()
    said = tab.locator(".run-count").inner_text()
    assert said.startswith("37 tests took")
    assert f"The table lists {listed} of them" in said
    assert listed < 37
    numbers = [int(label.split()[0]) for label in tab.locator(".filters span").all_inner_texts()]
    assert sum(numbers) == 37


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = HtmlReportHooks(SimpleNamespace(run=None), tmp_path / "report.html", css="")  # type: ignore[arg-type]
    for number in range(MOST_CHANGED + 3):
        report: Any = pytest.TestReport(f"test_x[{number}]", ("", 0, ""), {}, "passed", None, "call")
        report.reasoning_probe = {"ablated": True, "unchanged": False}
        cells = ["<td>Passed</td>"]
        rows.pytest_html_results_table_row(report, cells)
        assert bool(cells) == (number < MOST_CHANGED)
    page = '<p class="run-count">9 tests took 1 s.</p>'
    said = patch_pytest_html(page, rows.totals, rows.listed.total(), rows.dropped)
    assert "4,003 tests took 1 s. The table lists 4,000 of them" in said
    assert "3 more are left out" in said


def test_the_table_of_a_session_answers_to_the_keyboard(browser: Browser, session_page: Path) -> None:
    tab = Visit(browser, session_page).tab
    tab.locator(".sortable[data-column-type=testId]").focus()
    tab.keyboard.press("Enter")
    assert "sort=testId" in tab.url
    assert tab.evaluate("document.activeElement.dataset.columnType") == "testId"
    cell = tab.locator("#results-table .failed .col-result").first
    cell.focus()
    assert tab.locator(".failed .extras-row:not(.hidden)").count() > 0
    shown = tab.locator(".extras-row:not(.hidden)").count()
    tab.keyboard.press("Enter")
    assert tab.locator(".extras-row:not(.hidden)").count() == shown - 1


def test_a_style_sheet_of_the_user_wins(browser: Browser, project: Project) -> None:
    project.probe("logic")
    project.write(
        "mine.css", "body { background: rgb(1, 2, 3) } h1 { color: rgb(4, 5, 6) } .rp h3 { color: rgb(7, 8, 9) }"
    )
    for options in ([], ["--html=own.html"], ["--html=own.html", "--self-contained-html"]):
        project.run("--probe-heads", CARRIER, "--css=mine.css", *options, page=True)
        page = project.path / ("own.html" if options else "reports/report.html")
        tab = Visit(browser, page).tab
        colours = (
            "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('h1')).color"
        )
        assert tab.evaluate(colours) == "rgb(1, 2, 3)rgb(4, 5, 6)"


def test_a_style_sheet_that_is_not_there_is_one_line(project: Project) -> None:
    project.probe("logic")
    result = project.run("--css=none.css", page=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --css: cannot read none.css: No such file or directory"])


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
    widths = tab.locator(".rp-signed").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    rows = sorted(
        (row for row in fake_run().summary["targets"] if row["dataset"] == "arithmetic"), key=lambda r: r["delta"]
    )
    assert widths[0] == pytest.approx(16 * (0.15 + 5 * abs(rows[0]["delta"])), abs=0.5)
