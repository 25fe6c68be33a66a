"""Finding one's way on the page of a large run: its size, the menu, the filter, sorting, addresses, paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.browser import SIZES, Visit
from tests.helpers.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STOPS = """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
    .filter(e => e.checkVisibility() && e.getClientRects().length).length"""
RANKED = ".rp-ranking[open] tr:visible .rp-target"


@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_a_large_run_opens_short(browser: Browser, files: dict[str, Path], size: str) -> None:
    tab = Visit(browser, files["smollm2"], size).tab
    assert tab.evaluate("document.documentElement.scrollHeight") <= 6000
    assert tab.evaluate(STOPS) <= 100
    assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_paper_has_findings_maps_and_the_strongest_heads(browser: Browser, files: dict[str, Path]) -> None:
    tab = Visit(browser, files["smollm2"]).tab
    margins = dict.fromkeys(("top", "bottom", "left", "right"), "1cm")
    printed = tab.pdf(format="A4", margin=margins, print_background=True)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    tab.emulate_media(media="print")
    assert tab.locator("svg[data-grid]:visible").count() == 4
    assert tab.locator(".rp-target:visible").count() == 4 * 20
    assert tab.locator(".rp-item:visible, .rp-menu:visible").count() == 0


def test_the_menu_leads_to_every_section(browser: Browser, files: dict[str, Path]) -> None:
    tab = Visit(browser, files["smollm2"], java_script_enabled=False).tab
    links = tab.get_by_role("navigation", name="Sections").get_by_role("link")
    assert links.all_inner_texts() == ["Accuracy", "Maps", "Mistakes", "Ranking", "Items", "Run"]
    links.get_by_text("Items").click()
    heading = tab.get_by_role("heading", name="Items").bounding_box()
    assert heading is not None
    assert 0 < heading["y"] < SIZES["laptop"][1]


def test_the_filter_keeps_what_holds_its_words(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["smollm2"])
    tab = visit.tab
    box = tab.get_by_role("searchbox", name="Filter items and heads")
    box.fill("L29H8")
    assert tab.locator(".rp-target:visible").all_inner_texts() == ["L29H8"] * 4
    assert tab.locator(".rp-item:visible").count() == 0
    assert tab.locator(".rp-menu [role=status]").inner_text() == "0 items, 1 target"
    box.fill("arithmetic-3")
    assert tab.locator(".rp-item:visible").count() == 1
    box.fill("")
    assert tab.locator(".rp-item:visible").count() == 0  # folded again
    assert tab.locator(RANKED).count() == 20
    assert visit.wrong == []


def test_a_ranking_sorts_by_any_column(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["smollm2"])
    tab = visit.tab
    heads = tab.locator(".rp-ranking[open] table").first.locator("thead th")
    heads.first.get_by_role("button").click()
    assert tab.locator(RANKED).all_inner_texts()[:10] == [*(f"L0H{head}" for head in range(9)), "L1H0"]
    lost = tab.locator(".rp-ranking[open] table").first.get_by_role("columnheader", name="right to wrong")
    for order, compare in (("ascending", int.__le__), ("descending", int.__ge__)):
        lost.get_by_role("button").click()
        assert lost.get_attribute("aria-sort") == order
        column = tab.locator(".rp-ranking[open] table").first.locator("tbody tr td:nth-child(5)").all_inner_texts()
        numbers = [int(text) for text in column]
        assert len(numbers) == 20
        assert all(map(compare, numbers, numbers[1:]))
    assert heads.first.get_attribute("aria-sort") is None
    assert visit.wrong == []


def test_an_address_leads_to_a_head(browser: Browser, files: dict[str, Path]) -> None:
    page = files["smollm2"]
    visit = Visit(browser, page)
    tab = visit.tab
    tab.goto(f"{page.as_uri()}#logic/L29H8")
    assert tab.get_by_role("dialog", name="L29H8 off, logic, zero ablation").is_visible()
    tab.keyboard.press("Escape")
    tab.wait_for_function("location.hash === ''")  # a dialog tells that it was closed once the key is dealt with
    tab.mouse.click(*visit.over("L3H1"))
    tab.wait_for_function("location.hash === '#arithmetic/L3H1'", timeout=5000)
    assert visit.wrong == []


@pytest.mark.parametrize("script", [True, False])
def test_an_address_leads_to_an_item(browser: Browser, files: dict[str, Path], script: bool) -> None:
    page = files["smollm2"]
    tab = Visit(browser, page, java_script_enabled=script).tab
    tab.goto(f"{page.as_uri()}#gsm8k/gsm8k-2")
    item = tab.locator("[id='gsm8k/gsm8k-2'] > summary")
    assert item.is_visible()
    box = item.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < SIZES["laptop"][1]


def test_the_tooltip_never_hides_its_cell(browser: Browser, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["smollm2"])
    tab = visit.tab
    for height in (800, 150):
        tab.set_viewport_size({"width": 1280, "height": height})
        for target in ("L0H0", "L0H8", "L15H4", "L29H8"):
            x, y = visit.over(target)
            tab.evaluate(f"scrollBy(0, {y - height / 2})")
            y = height / 2
            tab.mouse.move(x, y)
            assert tab.locator(".rp-tip strong").inner_text() == target
            tip = tab.locator(".rp-tip").bounding_box()
            assert tip is not None
            assert not (tip["x"] <= x <= tip["x"] + tip["width"] and tip["y"] <= y <= tip["y"] + tip["height"])


def test_the_table_of_tests_is_folded_under_its_heading(browser: Browser, project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads", page=True)
    tab = Visit(browser, project.path / "reports" / "report.html").tab
    assert tab.get_by_role("heading", name="Tests").is_visible()
    assert tab.locator(".run-count").is_visible()
    assert tab.locator("#results-table").is_hidden()
    assert tab.evaluate(STOPS) <= 100
    tab.get_by_text("Table of tests").click()
    assert tab.locator("#results-table").is_visible()
    links = tab.get_by_role("navigation", name="Sections").get_by_role("link")
    assert links.all_inner_texts()[-2:] == ["Tests", "Environment"]
