"""A run's tables as data frames, CSV and Parquet files; pandas and pyarrow are optional dependencies."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.schema import OUTCOME, RUN, schema
from reasoning_probe.utils.text import well_formed

if TYPE_CHECKING:
    import pandas as pd

Table = Literal["outcomes", "targets"]
"""``outcomes``: a row for each line of ``outcomes.jsonl``; ``targets``: one for each of ``targets`` of ``run.json``."""

TABLES: tuple[Table, ...] = get_args(Table)

_TYPES = {"string": "string", "boolean": "bool", "integer": "Int64", "number": "Float64"}


class ExtraError(ImportError):
    """A package is missing; the message is one line that names the extra."""


@cache
def columns(table: Table) -> Mapping[str, str]:
    """Return the columns of *table*, each with its pandas type, as the schemas say.

    An interval is two of them (``delta_ci95_low``, ``delta_ci95_high``), what else holds several values is JSON text.
    """
    whole = schema(RUN)
    properties = schema(OUTCOME)["properties"] if table == "outcomes" else whole["properties"]["targets"]["items"]
    pandas_types: dict[str, str] = {}
    for name, shape in properties.get("properties", properties).items():
        known = whole["$defs"][shape["$ref"].removeprefix("#/$defs/")] if "$ref" in shape else shape
        types = {known["type"]} if isinstance(known["type"], str) else {*known["type"]}
        nullable, types = "null" in types, types - {"null"}
        if name.endswith("_ci95"):
            pandas_types |= {f"{name}_low": "Float64", f"{name}_high": "Float64"}
        else:
            dtype = _TYPES.get("".join(types), "string")
            pandas_types[name] = "boolean" if dtype == "bool" and nullable else dtype
    return pandas_types


def rows(table: Table, outcomes: Iterable[Outcome], targets: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of *table*, of the one or the other, each with a plain value or ``None`` for every column."""
    records = (line.as_dict() for outcome in outcomes for line in outcome.lines) if table == "outcomes" else targets
    names = columns(table)
    return [{name: flat.get(name) for name in names} for flat in map(_flat, records)]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_ci95") and value:
            flat |= dict(zip((f"{name}_low", f"{name}_high"), value, strict=False))
        elif isinstance(value, str):
            flat[name] = well_formed(value)
        else:
            flat[name] = json.dumps(value) if isinstance(value, dict | list | tuple) else value
    return flat


def frame(table: Table, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return *rows* of *table* as a data frame. Raises :class:`ExtraError` without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise ExtraError(_missing("a data frame", "pandas")) from None
    return pd.DataFrame(
        {name: pd.array([row[name] for row in rows], dtype=dtype) for name, dtype in columns(table).items()}
    )


def csv_file(table: Table, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return *rows* of *table* as a CSV file in UTF-8; an unknown value is empty.

    A spreadsheet runs a cell that begins with ``=`` as a formula, and what a model or a dataset wrote may do so: such a
    text gets an apostrophe before it. One that begins with an apostrophe gets another, so taking one away from every
    text that begins with it gives all texts back. A spreadsheet that splits lines at semicolons, as a German one does,
    knows nothing of quotes within them: there a cell begins after every semicolon, tab and line break of a text, and
    what would run gets an apostrophe there, too.
    """
    text = io.StringIO(newline="")
    # Before Python 3.11 the writer takes a NUL for the escape character, unless it has another: one that UTF-8 has not.
    writer = csv.DictWriter(text, list(columns(table)), escapechar="\udfff")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8")


_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20"
"""What makes a formula; some spreadsheets read a full-width sign like the usual one."""
_ACTIVE = re.compile(rf"['{_SIGNS}\t\r]|[\s\"]+[{_SIGNS}]", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?[0-9]+([.,][0-9]+)*", re.ASCII)
_BEHIND = re.compile(
    rf"([;\t\r\n][\s\"]*)(?='*[{_SIGNS}])(?![+-]?[0-9]+(?:[.,][0-9]+)*\s*[;\t\r\n])",
    re.ASCII,
)
"""Where a cell begins elsewhere, before what makes a formula; a number that ends with its cell does no harm."""


def _inert(value: Any) -> Any:
    """Return *value* as a cell that no spreadsheet runs; numbers, also those that are written as text, stay."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        behind = _BEHIND.sub(r"\1'", value)
        return f"'{behind}" if _ACTIVE.match(value) else behind
    return value


def parquet_file(table: Table, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return *rows* of *table* as a Parquet file. Raises :class:`ExtraError` where a package is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ExtraError(_missing("Parquet", "pyarrow")) from None
    buffer = io.BytesIO()
    frame(table, rows).to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def _missing(what: str, package: str) -> str:
    return f"{what} needs {package}: pip install 'reasoning-probe[export]'"
