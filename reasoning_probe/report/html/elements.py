"""The few pieces of HTML that the findings are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

from reasoning_probe.utils.text import escape

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+(?: \d+)?")
_UNIT = re.compile(r"(?<=\d) %")


def package_file(name: str) -> str:
    """Return the text of a style sheet or script of this package."""
    return files("reasoning_probe.report.html").joinpath("assets", name).read_text(encoding="utf-8")


def table(caption: str, head: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls sideways where it must; *rows* are ``<tr>`` elements, made already."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    said = escape(caption)
    return (
        f'<div class="rp-scroll" tabindex="0" role="region" aria-label="{said}"><table>'
        f"<caption><span>{prose(caption)}</span></caption>"
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(first: str, *cells: str) -> str:
    """Return a table row; the cells are HTML, the first is the row's header."""
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def figure(svg: str, caption: str, attributes: str = "") -> str:
    """Return a picture with its caption. HTML knows SVG without its namespace, so the page names no address at all."""
    inline = svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
    said = escape(caption)
    return (
        f'<figure{attributes}><div class="rp-scroll" tabindex="0" role="region" aria-label="{said}">{inline}</div>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def details(summary: str, body: str, *, opened: bool = False, attributes: str = "") -> str:
    """Return something that opens; *summary* and *body* are HTML."""
    return f"<details{attributes}{' open' if opened else ''}><summary>{summary}</summary>{body}</details>"


def prose(text: str) -> str:
    r"""Return a sentence in which no line ends between a number and its per cent, or within an option with its number.

    >>> prose("try --probe-items 200")
    'try <code>--probe-items\xa0200</code>'
    """
    return _OPTION.sub(lambda option: f"<code>{whole(option[0])}</code>", _UNIT.sub("\xa0%", escape(text)))


def whole(text: str) -> str:
    """Return a few words that no line ends between."""
    return text.replace(" ", "\xa0")


def name(text: object) -> str:
    """Return a name that somebody else chose, kept from turning the text around it."""
    return f"<bdi>{escape(text)}</bdi>"


def note(text: str) -> str:
    """Return a remark."""
    return f'<p class="rp-note">{prose(text)}</p>'


def minus(number: str) -> str:
    """Return a number with a real minus sign; a lone ``-`` stands for no number and stays."""
    return number.replace("-", "−") if len(number) > 1 else number
