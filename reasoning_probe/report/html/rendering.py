"""The Jinja2 environment of the templates: escaping, filters, and the layout of a template's source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.plots import COLOURS
from reasoning_probe.report.format import nats, p_value, percent, points
from reasoning_probe.utils.text import escape_control_characters, pluralise, shorten

SHARES = 100
"""The steps of a bar: one in a hundred of its length is less than two pixels."""

SCRIPTS = ("page.js", "navigation.js")
"""The page's scripts, in their order."""

_OPTION = re.compile(r"((?<![\w-])--[a-z][a-z-]+(?: \d+)?)")
_UNIT = re.compile(r"(?<=\d) %")
_LAYOUT = re.compile(r"(?:^|(?<=>)) *\n[ \n]*| *\n[ \n]*(?=<|\Z)")
_LINE_BREAK = re.compile(r" *\n[ \n]*")


def render(template: str, **values: object) -> Markup:
    """Return the HTML that ``templates/<template>.html.jinja`` makes of *values*."""
    return Markup(environment().get_template(f"{template}.html.jinja").render(values))


def package_file(name: str) -> Markup:
    """Return the text of a style sheet or script of this package."""
    return Markup(files("reasoning_probe.report.html").joinpath("assets", name).read_text(encoding="utf-8"))


@cache
def page_styles() -> Markup:
    """Return the style sheet of the findings: ``page.css``, a class for each length of a bar and each colour.

    A policy that allows styles by their hash allows no ``style`` attribute, so a value that changes is a class.
    """
    shares = (f".{share_class(step / SHARES)}{{--share:{step / SHARES:g}}}" for step in range(SHARES + 1))
    colours = (f".rp .{colour_class(colour)}{{background:{colour}}}" for colour in COLOURS)
    return package_file("page.css") + Markup("\n").join(map(Markup, ("".join(shares), "".join(colours), "")))


def share_class(share: float) -> str:
    """Return the class of a bar as long as *share*, rounded to one of :data:`SHARES` steps."""
    return f"rp-share-{round(SHARES * min(1.0, max(0.0, share)))}"


def colour_class(colour: str) -> str:
    """Return the class of what is filled with *colour*, one of the categories' such as ``#56B4E9``."""
    return f"rp-colour-{colour.removeprefix('#')}"


@cache
def environment() -> Environment:
    """Return the environment, made once."""
    environment = Environment(
        loader=PackageLoader("reasoning_probe.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        finalize=_finalize,
        extensions=[_SourceLayout],
    )
    formats = (minus, nats, nonbreaking, p_value, percent, pluralise, points, shorten, split_options)
    classes = (colour_class, share_class)
    environment.filters |= {function.__name__: function for function in (*formats, *classes, thousands)}
    environment.globals |= {
        "anchor": anchor,
        "package_file": package_file,
        "page_styles": page_styles,
        "scripts": SCRIPTS,
    }
    return environment


class _SourceLayout(Extension):
    """Remove the line breaks and the indentation of a template's source, a tenth of the page where they stayed.

    A line break next to a tag, of HTML or of Jinja2, becomes nothing, and within text or within a tag one blank.
    Values are left as they are, and so are the line numbers of tracebacks.
    """

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """Yield the tokens of a template; Jinja2 calls this before it parses."""
        for token in stream:
            if token.type == "data":
                token = Token(token.lineno, "data", _LINE_BREAK.sub(" ", _LAYOUT.sub("", token.value)))
            yield token


def _finalize(value: object) -> object:
    """Return what a template prints for *value*: text of others with its control characters made visible."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape_control_characters(value)


def anchor(*names: str) -> str:
    """Return the address of a target or an item within the page, which holds no blank: ``arithmetic/L3H1``."""
    return "/".join(quote(name, safe="", errors="backslashreplace") for name in names)


def inline_svg(figure: SvgFigure) -> Markup:
    """Return a figure without its namespace, which HTML does not need, so that the page names no address at all."""
    return Markup(figure.svg().replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))


def split_options(text: str) -> list[str]:
    r"""Return *text* cut at the options it names: every second part is an option with its number.

    Blanks within an option and before a per cent sign do not break.

    >>> split_options("try --probe-items 200 for 5 %")
    ['try ', '--probe-items\xa0200', ' for 5\xa0%']
    """
    parts = _OPTION.split(_UNIT.sub("\xa0%", text))
    return [nonbreaking(part) if index % 2 else part for index, part in enumerate(parts)]


def nonbreaking(text: str) -> str:
    """Return a few words between which no line ends."""
    return text.replace(" ", "\xa0")


def minus(number: str) -> str:
    """Return a number with a real minus sign; a lone ``-`` stands for no number and stays."""
    return number.replace("-", "−") if len(number) > 1 else number


def thousands(number: int) -> str:
    """Return a count with commas between its thousands."""
    return f"{number:,}"
