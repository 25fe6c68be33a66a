"""Tables for the terminal, by rich: colour and the terminal's width where there is one, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from reasoning_probe.utils.text import break_commands, shorten

if TYPE_CHECKING:
    from rich.console import Console, Group

PIPED = 1000
"""The width of a pipe in columns: nothing is folded, so that ``grep`` finds a row on one line."""

FALLBACK, NARROWEST = 80, 20
"""The width where ``COLUMNS`` is no width, and the least that is taken for one: in less nothing can be read."""

MOST_CELL = 60


def console() -> Console:
    """Return a console for the standard output that reads nothing in a text as markup, emoji or a number to colour.

    It folds texts into columns, so what a CI system would obey is broken up in its finished lines.
    """
    from rich.console import Console

    console = Console(file=cast(IO[str], _BrokenCommands(sys.stdout)), highlight=False, markup=False, emoji=False)
    columns = os.environ.get("COLUMNS", "").strip()
    if not console.is_terminal and not columns.isdecimal():
        console.width = PIPED
    elif console.width < NARROWEST:
        console.width = FALLBACK
    return console


class _BrokenCommands:
    """An output through which no command to a CI system comes."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(break_commands(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Group:
    """Return a table under its title; its first *texts* columns hold words, the others numbers. Cells are escaped."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        words = index < texts
        grid.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for row in rows:
        grid.add_row(*(Text(shorten(cell, MOST_CELL)) for cell in row))
    return Group(Text(title, style="bold"), grid)


def bar(share: float, width: int = 16) -> str:
    """Return a bar for a fraction.

    >>> bar(0.5, 8)
    '####....'
    """
    filled = round(width * min(1.0, max(0.0, share)))
    return f"{'#' * filled:.<{width}}"
