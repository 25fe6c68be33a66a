"""The view models that several templates share: a table of plain text, a figure with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_probe.report.figures.figure import SvgFigure


@dataclass(frozen=True)
class Table:
    """A table of text; the first *names* cells of a row hold text of others, kept from turning what is around it."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    names: int = 0


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; *map_index* tells the script which map's data belong to it."""

    figure: SvgFigure
    caption: str
    map_index: int | None = None


@dataclass(frozen=True)
class FoldedTable:
    """A table that opens at a click on its summary."""

    summary: str
    table: Table
