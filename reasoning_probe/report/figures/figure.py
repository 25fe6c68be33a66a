"""A matplotlib figure with its title and description, as SVG for pages and files, or as PNG.

Text in an SVG keeps the reader's font and colour (``currentColor``), so that one picture serves light and dark pages.
The output is the same for the same run.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.utils.text import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""The colour of lines and text: black to the eye, but no other colour, so that SVGs can replace it."""

_DOTS = 150
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reasoning-probe",
    "font.size": 10,
    "font.family": "sans-serif",
    "text.parse_math": False,
    "hatch.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class SvgFigure:
    """A figure, its title and its description; *name* begins its ids, *attributes* are added to its ``<svg>``."""

    figure: Figure
    name: str
    title: str
    description: str
    attributes: str = ""

    def svg(self) -> str:
        """Return one ``<svg>`` element with a title and a description, its ids all beginning with the name."""
        buffer, name = io.StringIO(), self.name
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with style():
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace("xlink:href=", "href=")
        used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        fresh = {old: f"{name}-{index}" for index, old in enumerate(used)}
        svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{fresh[match[1]]}"' if match[1] in fresh else "", svg)
        svg = re.sub(r'(href="#|url\(#)([^")]+)', lambda match: match[1] + fresh[match[2]], svg)
        svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
        svg = re.sub(r' style="([^"]*)"', lambda match: _attributes(match[1]), svg)
        svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
        width, height = (72 * float(side) for side in self.figure.get_size_inches())
        head = (
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" stroke-linejoin="round"'
            f' width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.2f} {height:.2f}"'
            f' aria-labelledby="{name}-title {name}-desc"{self.attributes}>'
            f'<title id="{name}-title">{escape(self.title)}</title>'
            f'<desc id="{name}-desc">{escape(self.description)}</desc>'
        )
        body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
        return re.sub(r"\s*\n\s*", "\n", head + body + "</svg>")

    def png(self) -> bytes:
        """Return the picture as a PNG file on white."""
        buffer = io.BytesIO()
        with style():
            self.figure.savefig(buffer, format="png", dpi=_DOTS, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()


def _attributes(style: str) -> str:
    """Return a ``style`` attribute's declarations as attributes of their own, for pages that allow no inline style.

    The font's family is left to the reader's. Older versions of matplotlib write ``font``, of which the size stays.
    """
    values: dict[str, str] = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"[0-9.]+px", value)):
            values["font-size"] = size[0]
        elif re.fullmatch("[a-z-]+", name) and name not in ("font", "font-family"):
            values[name] = value  # the last of several counts, as in a style
    return "".join(f' {name}="{value}"' for name, value in values.items())


@contextmanager
def new_figure(size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure of *size* inches outside pyplot's global state, to be drawn in the package's style."""
    from reasoning_probe.report.figures.notebook_figure import NotebookFigure

    with style():
        yield NotebookFigure(figsize=size)


@contextmanager
def style() -> Iterator[None]:
    """Let matplotlib draw in the package's style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield
