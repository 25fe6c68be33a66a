"""A page in a tab of headless Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.removeAttribute('name'); d.open = true })"
A4 = 718
"""Pixels of a page's width between the margins that browsers print with."""
SIZES = {"laptop": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}


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
