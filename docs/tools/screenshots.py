"""Write the screenshots of the page that README and docs show, to docs/images/: ``python docs/tools/screenshots.py``.

Needs Chromium (the path in ``CHROMIUM``, or one on ``PATH``) and the extra ``test``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parents[1]
IMAGES = DOCS / "images"
ITEMS = "60"
COLOURS = 64
"""The colours of a screenshot: the page has few, and a palette of 64 makes the files a third of the size."""


def main() -> None:
    """Run two probes on the bundled model and write the screenshots of their page."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = write_report(Path(folder))
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        open_page(browser, report, 1280, 800, "light").screenshot(path=IMAGES / "page.png")
        open_page(browser, report, 390, 844, "dark").screenshot(path=IMAGES / "phone-dark.png")
        open_page(browser, report, 820, 1180, "light").screenshot(path=IMAGES / "tablet-light.png")
        paper = open_page(browser, report, 718, 1047, "light")
        paper.emulate_media(media="print")
        paper.screenshot(path=IMAGES / "print.png")
        dialog = open_page(browser, report, 1280, 800, "dark")
        dialog.locator(".rp-ranking [data-target=L0H2]").first.click()
        dialog.locator(".rp-dialog[open]").wait_for()
        dialog.screenshot(path=IMAGES / "dialog-dark.png")
        browser.close()
    for path in IMAGES.glob("*.png"):
        with Image.open(path) as image:
            whole = image.convert("RGB")
            if path.stem == "print":
                whole = ImageOps.expand(whole, 38, "white")  # a centimetre of A4's margins, as a printer leaves
            whole.quantize(COLOURS).save(path, optimize=True)


def write_report(folder: Path) -> Path:
    """Run copies of the probes of arithmetic and logic in *folder*; return the page that they write."""
    (folder / "probes").mkdir()
    probes = [f"probes/test_{dataset}.py" for dataset in ("arithmetic", "logic")]
    for probe in probes:
        shutil.copy(DOCS.parent / probe, folder / probe)
    options = ["--ablate-heads", "--probe-items", ITEMS]
    in_order = os.environ | {"PYTEST_ADDOPTS": "-p no:randomly"}
    subprocess.run([sys.executable, "-m", "pytest", *probes, *options], cwd=folder, env=in_order, check=False)
    return next(folder.rglob("report.html"))


def open_page(browser: Browser, report: Path, width: int, height: int, scheme: str) -> Page:
    """Open *report* in a window of *width* by *height* pixels and the colour *scheme*, without transitions."""
    size = {"width": width, "height": height}
    page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.goto(report.as_uri())
    return page


if __name__ == "__main__":
    main()
