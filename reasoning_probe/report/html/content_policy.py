"""The Content-Security-Policy of a page: its scripts and styles are allowed by their hash, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from markupsafe import Markup

from reasoning_probe.report.html.rendering import SCRIPTS, package_file, page_styles


def content_policy(scripts: Iterable[str] = (), styles: Iterable[str] = (), *, files_beside: bool = False) -> Markup:
    """Return the ``<meta>`` element that allows our scripts and styles, and the texts of *scripts* and *styles*.

    It stands before all that it shall hold for. A handler in an attribute, an inline style, a link that begins with
    ``javascript:`` and whatever lies at another address are refused by the browser, should a text of others ever get
    into the page as HTML. *files_beside* allows style sheets and pictures in files beside the page.
    """
    beside = " 'self'" if files_beside else ""
    directives = (
        "default-src 'none'",
        f"script-src {_hashes(*map(package_file, SCRIPTS), *scripts)}",
        f"style-src {_hashes(package_file('shell.css'), page_styles(), *styles)}{beside}",
        f"img-src data:{beside}",
        f"media-src data:{beside}",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format("; ".join(directives))


def _hashes(*texts: str) -> str:
    return " ".join(dict.fromkeys(map(_hash, texts)))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
