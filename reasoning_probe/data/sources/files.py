"""Files of items: JSON lines, JSON, CSV, TSV, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from reasoning_probe.data.sources.base import DatasetError, NumberedRows, OpenedSource
from reasoning_probe.data.sources.fields import Fields
from reasoning_probe.data.sources.records import OBJECT_FIELDS, Number, plain
from reasoning_probe.data.sources.shapes import has_question, numbered_items
from reasoning_probe.utils.regular_files import open_regular, read_bytes

LONGEST_LINE = 1_000_000  # bytes; a longer line means a file without line ends
LARGEST_JSON = 200_000_000  # bytes of a .json file, which is read as a whole
LARGEST_GROUP = 2_000_000_000  # bytes of a Parquet file's row group without compression
MOST_IN_LISTS = 20_000_000  # entries of all lists of a column in a row group
MEMORY = 256_000_000  # bytes of a Parquet file's rows that are in memory together

_LISTS = ("choices", "options", "operands")
"""Columns whose cells hold a list: as JSON, or with ``|`` between the entries."""


def open_file(path: Path, fields: Fields | None = None) -> OpenedSource:
    """Return the items of the file *path*, which is read as its ending says, and as JSON lines by default.

    *fields* are the names of its fields by their role, if the user names them.
    """
    read, unit = {
        ".json": (_json, "item"),
        ".csv": (_csv, "row"),
        ".tsv": (_csv, "row"),
        ".parquet": (_parquet, "row"),
    }.get(path.suffix.lower(), (_json_lines, "line"))
    return OpenedSource(str(path), unit, numbered_items(read(path, fields), str(path), unit, fields))


def _json_lines(path: Path, fields: Fields | None) -> NumberedRows:
    for number, text in _lines(path):
        yield number, _parse_json(text, f"{path}, line {number}", "write one JSON object a line")


def _json(path: Path, fields: Fields | None) -> NumberedRows:
    with _readable(path):
        data = read_bytes(path, LARGEST_JSON)
    if len(data) > LARGEST_JSON:
        raise DatasetError(f"{path}: longer than {LARGEST_JSON:,} bytes: write one JSON object a line, as .jsonl")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8: save the file as UTF-8") from error
    rows = _parse_json(text, str(path), "write a list of objects")
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: not a list: write a list of objects, or one object a line in a .jsonl file")
    yield from enumerate(rows, 1)


def _parse_json(text: str, where: str, fix: str) -> Any:
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "cannot be read"
        raise DatasetError(f"{where}: not JSON ({reason}): {fix}") from error


def _csv(path: Path, fields: Fields | None) -> NumberedRows:
    choices = (fields or {}).get("choices", ())
    lists = {*_LISTS, *(choices if len(choices) == 1 else ())}
    try:
        with _readable(path), TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as file:
            lines = _RowLines(file, path)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            table = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=delimiter == ",")
            names = [name.strip() for name in table.fieldnames or ()]
            lines.begin_row(2)
            table.fieldnames = names  # blanks around a name are the spreadsheet's, not part of it
            if not has_question(names, fields):
                raise DatasetError(f"{path}: no column question: name the columns question and answer in the first row")
            for number, row in enumerate(table, 2):  # as spreadsheets count: the first row names the columns
                where = f"{path}, row {number}"
                lines.begin_row(number + 1)
                if None in row:
                    raise DatasetError(f"{where}: more cells than columns: put texts with commas in double quotes")
                yield number, {name: _cell(name, row[name], where, lists) for name in names}
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8: save the file as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: not CSV ({error}): save it as CSV with double quotes") from error


class _RowLines:
    """The lines of a table in *file*, of which a row may have several, as long as they are not too long together."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path, self.number, self.length = file, path, 1, 0

    def begin_row(self, number: int) -> None:
        """Count the length of the row *number* from here on."""
        self.number, self.length = number, 0

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(LONGEST_LINE + 1):
            self.length += len(line)
            if self.length > LONGEST_LINE:
                raise DatasetError(
                    f"{self.path}, row {self.number}: longer than {LONGEST_LINE:,} characters: end each row with a line"
                    " end, and each cell in double quotes with a quote"
                )
            yield line


def _cell(name: str, text: str | None, where: str, lists: set[str]) -> Any:
    """Return the value of a cell: ``None`` if it is empty, a list in a column of *lists*, else its text."""
    if text is None or not text.strip():
        return None
    if name not in lists and not (name in OBJECT_FIELDS and text.lstrip().startswith("{")):
        return text
    if text.lstrip().startswith(("[", "{")):
        return _parse_json(text, f"{where}: {name}", "write a list, or | between the entries")
    return [part.strip() for part in text.split("|")]


def _parquet(path: Path, fields: Fields | None) -> NumberedRows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DatasetError(
            f"{path}: Parquet files need pyarrow: pip install 'reasoning-probe[parquet]', or save the file as .jsonl"
        ) from None
    number = 0
    try:
        with _readable(path), open_regular(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            for batch in file.iter_batches(batch_size=_rows_at_once(file.metadata, path)):
                for row in batch.to_pylist():
                    number += 1
                    yield number, plain(row)
    except RecursionError:
        raise DatasetError(f"{path}, row {number + 1}: nested too deep: write texts and lists of texts") from None
    except pyarrow.ArrowException as error:
        reason = " ".join(str(error).split())[:100]
        raise DatasetError(f"{path}: not a Parquet file ({reason}): write it again") from error


def check_parquet(path: Path) -> None:
    """Raise :class:`DatasetError` if the Parquet file *path* is far larger in memory than a file of data is."""
    import pyarrow
    import pyarrow.parquet

    try:
        with _readable(path), open_regular(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            _rows_at_once(file.metadata, path)
    except pyarrow.ArrowException:
        return  # whoever reads it reports it


def _rows_at_once(metadata: Any, path: Path) -> int:
    """Return how many rows of a Parquet file can be in memory together. Raises :class:`DatasetError` if too many.

    A value is no longer than its column in the file, without compression, is altogether; a text that is stored once may
    be the value of every row. A list has as many entries as its column has values.
    """
    most = 1000
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = [group.column(number) for number in range(group.num_columns)]
        lists = [column for number, column in enumerate(columns) if metadata.schema.column(number).max_repetition_level]
        size = sum(column.total_uncompressed_size for column in columns)
        if size > LARGEST_GROUP or any(column.num_values > MOST_IN_LISTS for column in lists):
            entries = max((column.num_values for column in lists), default=0)
            raise DatasetError(
                f"{path}: its row group {index + 1} takes {size:,} bytes and holds lists of {entries:,} entries: write"
                " it with smaller row groups"
            )
        most = min(most, max(1, MEMORY // max(size, 1)))
    return most


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line of *path* that is not blank."""
    with _readable(path), open_regular(path) as file:
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise DatasetError(
                    f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes: write one JSON object a line"
                )
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise DatasetError(f"{path}, line {number}: not UTF-8: save the file as UTF-8") from error
            if text:
                yield number, text


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the exceptions of opening *path* into :class:`DatasetError`, one line that says why it cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"there is no file {path}: give the path of a JSONL file") from error
    except IsADirectoryError as error:
        raise DatasetError(f"{path} is a folder: give the path of a JSONL file in it") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:100] or type(error).__name__
        raise DatasetError(f"cannot read {path} ({reason}): give a JSONL file that can be read") from error
