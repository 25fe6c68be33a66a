"""Tables for the terminal, by rich: colour and the terminal's width where there is one, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from reasoning_probe.utils.text import break_commands, shorten

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.table import Table as RichTable

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


def table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1, spare: Sequence[int] = ()
) -> Group:
    """Return a table under its title; its first *texts* columns hold words, the others numbers. Cells are escaped.

    Where the terminal is too narrow, columns go before digits do: those of the indices *spare*, in that order.
    """
    from rich.console import Group
    from rich.text import Text

    cells = [[shorten(cell, MOST_CELL) for cell in row] for row in rows]
    return Group(Text(title, style="bold"), _FittedTable(head, cells, texts, spare))


class _FittedTable:
    """A table that leaves out spare columns until it fits the width in which it is printed."""

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str]], texts: int, spare: Sequence[int]) -> None:
        self._head, self._rows, self._texts, self._spare = head, rows, texts, spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.measure import Measurement

        columns = list(range(len(self._head)))
        for index in (*self._spare, None):
            grid = self._grid(columns)
            width = Measurement.get(console, options.update(max_width=PIPED * 10), grid).maximum
            if width <= options.max_width or index is None:
                break
            columns.remove(index)
        yield grid

    def _grid(self, columns: Sequence[int]) -> RichTable:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index in columns:
            words = index < self._texts
            grid.add_column(self._head[index], justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in self._rows:
            grid.add_row(*(Text(row[index]) for index in columns))
        return grid


def bar(share: float, width: int = 16) -> str:
    """Return a bar for a fraction.

    >>> bar(0.5, 8)
    '####....'
    """
    filled = round(width * min(1.0, max(0.0, share)))
    return f"{'#' * filled:.<{width}}"
