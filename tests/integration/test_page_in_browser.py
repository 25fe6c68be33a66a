"""The page in a browser: what it shows, what it answers to, that nothing in it runs but its own script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.html_report import MOST_CHANGED, HtmlReportHooks
from reasoning_probe.report.html.pytest_html import patch_pytest_html
from tests.helpers.browser import A4, OPEN_ALL, SIZES, Visit
from tests.helpers.fake_runs import full_run
from tests.helpers.html_pages import HOSTILE
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser


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
    first.locator("summary").click()
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


def test_a_head_opens_its_card_on_two_screens_at_most(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["full"])
    visit.tab.get_by_role("button", name="L1H3").first.click()
    dialog = visit.tab.get_by_role("dialog")
    card = visit.tab.locator(".rp-card[data-target=L1H3]")
    assert dialog.locator(".rp-lead").inner_text() == card.locator(".rp-sentence").inner_text()
    assert dialog.get_by_role("table", name="How its lost answers are wrong").is_visible()
    assert dialog.get_by_text("No sign of one circuit").is_visible()
    assert dialog.evaluate("dialog => dialog.scrollHeight") <= 2 * 800
    rows = dialog.locator(".rp-flip:visible")
    assert rows.count() == 8
    assert dialog.get_by_text(re.compile(r"^\d+ more changed answers$")).is_visible()
    row = rows.first
    assert row.evaluate("row => row.offsetHeight") < 45
    row.locator("summary").focus()
    visit.tab.keyboard.press("Enter")
    assert row.get_by_text("nothing off").is_visible()
    assert visit.wrong == []


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
    assert tab.locator("script").count() == 3
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
    tab.get_by_text("Table of tests").click()
    assert tab.locator("html").get_attribute("lang") == "en"
    headings = tab.locator("h2:not(.rp h2)").all_inner_texts()
    assert headings == ["Tests", "Environment"]
    assert tab.locator("#results-table th[scope=col]").count() == 4
    assert tab.get_by_role("checkbox", name="Show failed").count() == 1
    assert tab.get_by_role("main").count() == 1
    assert visit.wrong == []


def test_the_totals_of_a_session_count_the_cases_without_a_row(browser: Browser, session_page: Path) -> None:
    tab = Visit(browser, session_page).tab
    tab.get_by_text("Table of tests").click()
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
    tab.get_by_text("Table of tests").click()
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
