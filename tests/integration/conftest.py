"""Fixtures of the tests that open pages in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reasoning_probe.report.html.page import standalone_page
from tests.helpers.browser import CHROMIUM
from tests.helpers.fake_runs import as_run, fake_outcomes, fake_run, full_run, smollm2_run
from tests.helpers.html_pages import hostile_run
from tests.helpers.shared_files import made_once

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def write_pages(folder: Path) -> None:
    pages = {
        "full": full_run(),
        "strict": as_run(fake_outcomes(), formats={"arithmetic": "plain", "gsm8k": "gsm8k"}),
        "plain": fake_run(),
        "hostile": hostile_run(),
        "smollm2": smollm2_run(),
        "large": full_run(32, 32, items=4),
    }
    for name, run in pages.items():
        (folder / f"{name}.html").write_text(standalone_page(run), encoding="utf-8")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by their names; tests must only read them."""
    return {page.stem: page for page in made_once(tmp_path_factory, "pages", write_pages).iterdir()}
