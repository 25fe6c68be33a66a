"""Reading and writing of a run's files: ``run.json``, the summary, and ``outcomes.jsonl``, a line per outcome."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reasoning_probe.results.consistency import contradiction, impossible_shard
from reasoning_probe.results.export import TABLES, Table, frame, rows
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import RunRecord
from reasoning_probe.results.samples import VerdictError, cases_of, parse_verdict
from reasoning_probe.results.schema import OUTCOME, RUN, Mismatch, Validator, checker
from reasoning_probe.utils.files import atomic_write_bytes, atomic_write_text, encode, locked, to_json
from reasoning_probe.utils.regular_files import memory_for_a_file, open_regular
from reasoning_probe.utils.text import OneLineError, one_line, quoted

if TYPE_CHECKING:
    import pandas as pd

    from reasoning_probe.results.cards.card import HeadCard

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
OUTCOMES_FILE = "outcomes.jsonl"
DIGEST = "outcomes_sha256"
"""The key of ``engine`` in ``run.json`` that holds the digest of ``outcomes.jsonl``.

It differs between equal runs as log-probabilities do in their last digits, and so it stands beside what may differ.
"""


class RunError(OneLineError):
    """A run's files cannot be read; the message is one line that names the file."""


@dataclass(frozen=True)
class Run:
    """A finished run: ``summary`` is the content of ``run.json``, ``outcomes`` that of ``outcomes.jsonl``.

    ``digest`` is the SHA-256 of the file that the outcomes were read from; ``None`` where they come from no file.
    """

    summary: RunRecord
    outcomes: list[Outcome]
    digest: str | None = field(default=None, compare=False, repr=False)

    def __eq__(self, other: object) -> bool:
        """Compare summary and outcomes; a run that was read from files has their digest in its summary."""
        if not isinstance(other, Run):
            return NotImplemented
        mine, others = (_with_digest(run.summary, None) for run in (self, other))
        return mine == others and self.outcomes == other.outcomes

    def head(self, target: str, dataset: str | None = None, ablation: str | None = None) -> HeadCard:
        """Return the card of *target*; where it has several, that on which its effect is the largest.

        Any target that was switched off has one. Raises ``ValueError`` with one line for others.
        """
        from reasoning_probe.results.cards.describe import card_for

        return card_for(self, target, dataset, ablation)

    def to_dataframe(self, table: Table = "outcomes") -> pd.DataFrame:
        """Return a table with one row per outcome, or per target for ``"targets"``. ``ImportError`` without pandas."""
        return frame(table, self.rows(table))

    def rows(self, table: Table = "outcomes") -> list[dict[str, Any]]:
        """Return the rows of that table in plain values."""
        if table not in TABLES:
            raise OneLineError(f"unknown table {quoted(table)}: use {' or '.join(TABLES)}")
        return rows(table, self.outcomes, self.summary["targets"])


# -- writing ------------------------------------------------------------------------------------------------------


def write_run(folder: str | Path, run: Run) -> None:
    """Write ``run.json`` and ``outcomes.jsonl`` into *folder*, each replaced at once; makes the folder.

    ``run.json`` holds the digest of the outcomes, by which a reader knows that the two are of one run.
    """
    folder = _folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = encode("".join(to_json(line.as_dict()) + "\n" for outcome in run.outcomes for line in outcome.lines))
    with locked(folder):
        atomic_write_bytes(folder / OUTCOMES_FILE, outcomes)
        _write_summary(folder, run.summary, sha256(outcomes))


def write_summary(folder: Path, run: Run) -> None:
    """Write ``run.json`` alone, for results that were added to a *run* that was read from *folder*.

    Raises :class:`RunError` where another run has taken its place there since.
    """
    with locked(folder):
        if run.digest is not None and sha256(_read(folder / OUTCOMES_FILE)) != run.digest:
            raise RunError(f"{folder / OUTCOMES_FILE} was replaced by another run's: run the same command again")
        _write_summary(folder, run.summary, run.digest)


def _write_summary(folder: Path, summary: RunRecord, digest: str | None) -> None:
    atomic_write_text(folder / RUN_FILE, to_json(_with_digest(summary, digest), indent=1) + "\n")


def _with_digest(summary: RunRecord, digest: str | None) -> dict[str, Any]:
    return {**summary, "engine": {**summary["engine"], DIGEST: digest}}


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line to *path*, replaced at once."""
    atomic_write_text(path, "".join(to_json(line) + "\n" for line in lines))


def sha256(content: bytes) -> str:
    """Return the SHA-256 of *content* in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def check_folder(folder: str | Path) -> None:
    """Raise :class:`RunError` where no file can be written into *folder*, before anything is computed for it."""
    folder = _folder(folder)
    try:
        os.fsencode(folder)
    except ValueError:
        raise RunError("its name holds half of a surrogate pair: name another one") from None
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

RETRIES_S = (0.05, 0.2, 0.5, 1.0)
"""Seconds after which files that are not of one run are read again: without locks a writer may be between them."""

MOST_SUMMARY_BYTES = 1_000_000_000
"""How long ``run.json`` may be; a hundred thousand targets take a tenth of it."""

MOST_LINE_BYTES = 100_000_000
"""How long a line of ``outcomes.jsonl`` may be."""

MOST_HEADS = 100_000
"""How many heads a model may have, each a cell of a map; the largest in use have 17,000."""

MOST_DEPTH = 40
"""How deep ``run.json`` may be nested; a run needs a quarter of it."""


def read_run(folder: str | Path) -> Run:
    """Return the run whose files are in *folder*.

    Raises :class:`RunError`, one line, where they are not a run's, not of one run, or contradict each other.
    """
    files = _read_files(_folder(folder))
    summary = _checked_summary(files.summary, files.run_file)
    names = [field.name for field in fields(Outcome) if field.name != "samples"]
    lines = parse_lines(files.outcomes_file, files.outcomes, checker(OUTCOME))
    outcomes = _cases([Outcome(**{name: values.get(name) for name in names}) for _, values in lines], summary, files)
    if (error_text := impossible_shard(summary)) is not None:
        raise RunError(f"{files.run_file}: shard: {error_text}")
    if (error_text := contradiction(summary, outcomes)) is not None:
        cause = "lines were removed" if error_text.startswith("lacks") else "one of them was changed"
        raise RunError(f"{files.outcomes_file} {error_text}: the two are not of one run, or {cause}")
    files.check_digest()
    return Run(summary, outcomes, files.digest)


def _cases(outcomes: list[Outcome], summary: RunRecord, files: _Files) -> list[Outcome]:
    """Return the outcomes of cases from those of their samples. Raises :class:`RunError` where samples are missing."""
    sampling = summary.get("sampling")
    if not sampling:
        if any(outcome.sample is not None for outcome in outcomes):
            raise RunError(f"{files.outcomes_file} holds samples, and {RUN_FILE} does not say how they were drawn")
        return outcomes
    try:
        cases = cases_of(outcomes, parse_verdict(sampling["verdict"]))
    except VerdictError as error:
        raise RunError(f"{files.run_file}: sampling.verdict: {error}") from None
    for case in cases:
        numbers = [line.sample for line in case.lines]
        if len(numbers) != sampling["samples"] or numbers != list(range(len(numbers))):
            what = f"{one_line(case.dataset, 40)} {one_line(case.item, 40)} under {one_line(case.target, 40)}"
            raise RunError(f"{files.outcomes_file} does not hold the {sampling['samples']} samples of {what} in order")
    return cases


def _folder(folder: object) -> Path:
    if not isinstance(folder, str | Path):
        raise RunError(f"{quoted(folder)} is not a folder: give its path")
    return Path(folder)


def read_summary(folder: Path) -> RunRecord:
    """Return the content of ``run.json`` in *folder*. Raises :class:`RunError`, one line, where it is not a run's."""
    return _checked_summary(_read_summary(folder / RUN_FILE), folder / RUN_FILE)


def _checked_summary(summary: Any, file: Path) -> RunRecord:
    """Return *summary*, the content of *file*. Raises :class:`RunError` where it is not a run's."""
    version = summary.get("schema_version") if isinstance(summary, dict) else None
    if type(version) is int and version != SCHEMA_VERSION:
        raise RunError(f"{file} has schema version {version}, this package reads {SCHEMA_VERSION}")
    if _depth(summary) > MOST_DEPTH:
        raise RunError(f"{file} is nested more than {MOST_DEPTH} deep: no run's is")
    try:
        checker(RUN)(summary, str(file))
    except Mismatch as error:
        raise RunError(str(error)) from None
    layers, heads = summary["model"]["layers"], summary["model"]["heads"]
    if max(layers, 1) * max(heads, 1) > MOST_HEADS:
        raise RunError(
            f"{file}: model: {layers:,} layers of {heads:,} heads: no model has more than {MOST_HEADS:,} heads"
        )
    return cast(RunRecord, summary)


def read_reference_lines(file: Path, check: Validator) -> Iterator[tuple[str, Any]]:
    """Yield what :func:`parse_lines` does of *file*, held to ``run.json``'s digest where it is a run's outcomes."""
    if file.name == OUTCOMES_FILE and os.path.lexists(file.with_name(RUN_FILE)):
        files = _read_files(file.parent)
        files.check_digest()
        return parse_lines(file, files.outcomes, check)
    return parse_lines(file, _read(file), check)


@dataclass(frozen=True)
class _Files:
    """The files of a run as they were read together: ``run.json`` parsed, the bytes of ``outcomes.jsonl``."""

    folder: Path
    summary: Any
    outcomes: bytes

    @property
    def run_file(self) -> Path:
        return self.folder / RUN_FILE

    @property
    def outcomes_file(self) -> Path:
        return self.folder / OUTCOMES_FILE

    @cached_property
    def digest(self) -> str:
        """The digest of the outcomes."""
        return sha256(self.outcomes)

    @property
    def match(self) -> bool:
        """Whether ``run.json`` has that digest, or none: earlier versions wrote none."""
        engine = self.summary.get("engine") if isinstance(self.summary, dict) else None
        noted = engine.get(DIGEST) if isinstance(engine, dict) else None
        return noted is None or noted == self.digest

    def check_digest(self) -> None:
        """Raise :class:`RunError` where the outcomes are not those that ``run.json`` was written with."""
        if not self.match:
            raise RunError(
                f"{self.outcomes_file} is not the file that {RUN_FILE} was written with: the two are not of one run,"
                " or lines were changed: run the same command again, or restore both from one run"
            )


def _read_files(folder: Path) -> _Files:
    """Read a run's two files; while another process replaces them, again until they are of one run."""
    for pause in (*RETRIES_S, None):
        with locked(folder, shared=True):
            summary = _read_summary(folder / RUN_FILE)
            files = _Files(folder, summary, _read(folder / OUTCOMES_FILE))
        if files.match or pause is None:
            break
        time.sleep(pause)
    return files


def parse_lines(path: Path, content: bytes, check: Validator) -> Iterator[tuple[str, Any]]:
    """Yield the JSON object of each line of *content*, which *check* must pass, and where it stands in *path*."""
    for number, line in enumerate(_lines(content), start=1):
        where = f"{path}, line {number}"
        if len(line) > MOST_LINE_BYTES:
            raise RunError(f"{where}: longer than {MOST_LINE_BYTES:,} bytes: no outcome is")
        text = _decoded(line, path)
        if text.strip():
            values = _parse(text, where)
            try:
                check(values, where)
            except Mismatch as error:
                raise RunError(str(error)) from None
            yield where, values


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield the lines of *content* one by one, each cut after one byte more than a line may have."""
    file = io.BytesIO(content)  # shares the memory of the content
    while line := file.readline(MOST_LINE_BYTES + 1):
        yield line


def _read_summary(file: Path) -> Any:
    return _parse(_decoded(_read(file, MOST_SUMMARY_BYTES), file), file)


def _read(path: Path, most: int | None = None) -> bytes:
    """Return the content of *path*, of at most *most* bytes, or of what this machine's memory can take."""
    most = memory_for_a_file() if most is None else most
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise RunError(f"{path} has {size:,} bytes, and {most:,} are the most that can be read here")
            content = file.read(size + 1)  # not most + 1, which would be allocated
            if len(content) > size:
                raise RunError(f"{path} grew while it was read: read it again when nothing writes there")
            return content
    except RunError:
        raise
    except MemoryError:
        raise RunError(f"{path} does not fit into the memory") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot read {path}: {reason}; a run's folder holds {RUN_FILE}") from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise RunError(f"{path} is not UTF-8 text") from None


def _parse(text: str, where: str | Path) -> Any:
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not JSON: {str(error)[:80]}") from None


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


_JSON = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_float, parse_int=_whole)


def _depth(value: Any) -> int:
    """Return the nesting depth of *value*, counted up to one more than :data:`MOST_DEPTH`."""
    depth, level = 0, [value]
    while level and depth <= MOST_DEPTH:
        holders = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [part for holder in holders if isinstance(holder, list | ValuesView) for part in holder]
        depth += 1
    return depth
