"""Reading and writing of a run's files: ``run.json``, the summary, and ``outcomes.jsonl``, a line per outcome."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reasoning_probe.results.export import TABLES, Table, frame, rows
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import RunRecord
from reasoning_probe.results.schema import OUTCOME, RUN, Mismatch, Validator, checker
from reasoning_probe.utils.files import atomic_write_text, to_json
from reasoning_probe.utils.regular_files import open_regular
from reasoning_probe.utils.text import one_line

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
OUTCOMES_FILE = "outcomes.jsonl"


class RunError(ValueError):
    """A run's files cannot be read; the message is one line that names the file."""


@dataclass(frozen=True)
class Run:
    """A finished run: ``summary`` is the content of ``run.json``, ``outcomes`` that of ``outcomes.jsonl``."""

    summary: RunRecord
    outcomes: list[Outcome]

    def to_dataframe(self, table: Table = "outcomes") -> pd.DataFrame:
        """Return a table with one row per outcome, or per target for ``"targets"``. ``ImportError`` without pandas."""
        return frame(table, self.rows(table))

    def rows(self, table: Table = "outcomes") -> list[dict[str, Any]]:
        """Return the rows of that table in plain values."""
        if table not in TABLES:
            raise ValueError(f"unknown table {table!r}: use {' or '.join(TABLES)}")
        return rows(table, self.outcomes, self.summary["targets"])


# -- writing ------------------------------------------------------------------------------------------------------


def write_run(folder: str | Path, run: Run) -> None:
    """Write ``run.json`` and ``outcomes.jsonl`` into *folder*, each replaced at once; makes the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / OUTCOMES_FILE, (outcome.as_dict() for outcome in run.outcomes))
    write_summary(folder, run)


def write_summary(folder: Path, run: Run) -> None:
    """Write ``run.json`` alone, for results that were added after the outcomes were written."""
    atomic_write_text(folder / RUN_FILE, to_json(run.summary, indent=1) + "\n")


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line to *path*, replaced at once."""
    atomic_write_text(path, "".join(to_json(line) + "\n" for line in lines))


def check_folder(folder: Path) -> None:
    """Raise :class:`RunError` where no file can be written into *folder*, before anything is computed for it."""
    if "\0" in str(folder):
        raise RunError("its name holds a NUL: name another one")
    for existing in (folder, *folder.parents):
        if os.path.lexists(existing):
            if not os.path.isdir(existing):
                raise RunError(f"{existing} is not a folder: name another one")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise RunError(f"{existing} cannot be written: name another folder")
            _check_length(folder, existing)
            return


_LONGEST_FILE = len("figures/") + 120
"""Bytes that the names of the files in a run's folder may take, those of drafts among them."""


def _check_length(folder: Path, existing: Path) -> None:
    """Raise :class:`RunError` where the names of *folder*, or of files in it, are too long for the file system."""
    if not hasattr(os, "pathconf"):  # on Windows
        return
    longest_path, longest_name = (os.pathconf(existing, name) for name in ("PC_PATH_MAX", "PC_NAME_MAX"))
    names = [os.fsencode(part) for part in folder.parts]
    if len(os.fsencode(folder)) + _LONGEST_FILE >= longest_path:
        raise RunError(f"the path has {len(os.fsencode(folder)):,} bytes, which is too long: name another folder")
    if any(len(name) > longest_name for name in names):
        longest = one_line(max(folder.parts, key=len), 40)
        raise RunError(f"the name {longest} is longer than {longest_name} bytes: name another folder")


# -- reading ------------------------------------------------------------------------------------------------------

MOST_DEPTH = 40
"""How deep ``run.json`` may be nested; a run needs a quarter of it."""


def read_run(folder: str | Path) -> Run:
    """Return the run whose files are in *folder*. Raises :class:`RunError`, one line, where they are not a run's."""
    folder = Path(folder)
    summary = read_summary(folder)
    names = [field.name for field in fields(Outcome)]
    lines = read_lines(folder / OUTCOMES_FILE, checker(OUTCOME))
    run = Run(summary, [Outcome(**{name: values.get(name) for name in names}) for _, values in lines])
    _check_complete(folder, run)
    return run


def read_summary(folder: Path) -> RunRecord:
    """Return the content of ``run.json`` in *folder*. Raises :class:`RunError`, one line, where it is not a run's."""
    summary = _parse(_read(folder / RUN_FILE), folder / RUN_FILE)
    version = summary.get("schema_version") if isinstance(summary, dict) else None
    if type(version) is int and version != SCHEMA_VERSION:
        raise RunError(f"{folder / RUN_FILE} has schema version {version}, this package reads {SCHEMA_VERSION}")
    if _depth(summary) > MOST_DEPTH:
        raise RunError(f"{folder / RUN_FILE} is nested more than {MOST_DEPTH} deep: no run's is")
    try:
        checker(RUN)(summary, str(folder / RUN_FILE))
    except Mismatch as error:
        raise RunError(str(error)) from None
    return cast(RunRecord, summary)


def _check_complete(folder: Path, run: Run) -> None:
    """Raise :class:`RunError` where outcomes are gone that ``run.json`` counts."""
    there = Counter((outcome.dataset, outcome.target, outcome.ablation) for outcome in run.outcomes)
    counted: list[tuple[tuple[str, str, str | None], int]] = [
        ((name, BASELINE, None), entry["items"]) for name, entry in run.summary["datasets"].items()
    ]
    counted += [((row["dataset"], row["target"], row["ablation"]), row["items"]) for row in run.summary["targets"]]
    for key, items in counted:
        if there[key] < items:
            what = f"{one_line(key[0], 40)} under {one_line(key[1], 40)}"
            raise RunError(
                f"{folder / OUTCOMES_FILE} lacks outcomes: {there[key]:,} of {what}, and {RUN_FILE} counts {items:,}:"
                " the two are not of one run, or lines were removed"
            )


def read_lines(path: Path, check: Validator) -> Iterator[tuple[str, Any]]:
    """Yield the JSON object of each line of *path*, which *check* must pass, and where it stands."""
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            values = _parse(line, where)
            try:
                check(values, where)
            except Mismatch as error:
                raise RunError(str(error)) from None
            yield where, values


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise RunError(f"{path} is not UTF-8 text") from None
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot read {path}: {reason}; a run's folder holds {RUN_FILE}") from None


def _parse(text: str, where: str | Path) -> Any:
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not JSON: {str(error)[:80]}") from None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


_JSON = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, parse_int=_whole)


def _depth(value: Any) -> int:
    """Return the nesting depth of *value*, counted up to one more than :data:`MOST_DEPTH`."""
    depth, level = 0, [value]
    while level and depth <= MOST_DEPTH:
        holders = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [part for holder in holders if isinstance(holder, list | ValuesView) for part in holder]
        depth += 1
    return depth
