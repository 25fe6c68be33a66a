"""Take the pictures of the page that README and docs show: `python docs/tools/screenshots.py`.

Needs Chromium (``CHROMIUM``, or one on the path) and the extra ``test``. Of the colours 64 are kept: the page has few,
and the pictures are a third of the size.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parents[1]
ITEMS = "60"
COLOURS = 64


def main() -> None:
    """Run the probes and take the pictures."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        probes = [str(DOCS.parent / "probes" / f"test_{dataset}.py") for dataset in ("arithmetic", "logic")]
        options = ["--ablate-heads", "--probe-items", ITEMS, "-q", "-p", "no:cacheprovider", "--rootdir", name]
        subprocess.run([sys.executable, "-m", "pytest", *probes, *options], cwd=name, check=False)
        page = next(Path(name).rglob("report.html"))
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        taken(browser, page, 1280, 800, "light").screenshot(path=DOCS / "images/page.png")
        taken(browser, page, 390, 844, "dark").screenshot(path=DOCS / "images/phone-dark.png")
        taken(browser, page, 820, 1180, "light").screenshot(path=DOCS / "images/tablet-light.png")
        paper = taken(browser, page, 794, 1123, "light")
        paper.emulate_media(media="print")
        paper.screenshot(path=DOCS / "images/print.png")
        asked = taken(browser, page, 1280, 800, "dark")
        asked.locator("[data-target=L0H2]").first.click()
        asked.screenshot(path=DOCS / "images/dialog-dark.png")
        browser.close()
    for picture in (DOCS / "images").glob("*.png"):
        with Image.open(picture) as full:
            full.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


def taken(browser: Browser, page: Path, width: int, height: int, scheme: str) -> Page:
    """Return the page in a window of that size, where nothing fades in."""
    size = {"width": width, "height": height}
    tab = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    tab.goto(page.as_uri())
    return tab


if __name__ == "__main__":
    main()
