"""The outcome store: the answers of models, in one SQLite file that outlives runs and interruptions.

An answer is stored under a key that hashes everything it depends on
(:mod:`reasoning_probe.engine.cache.cached_engine` computes the keys), without a judgement, whose rules may change. Each
batch of outcomes is one transaction; the write-ahead log keeps the file intact and lets several sessions use it.

The file is untrusted input: its tables and every value are checked, and a file that is damaged or not an outcome store
is moved aside. A response is stored behind a digest of its row; a row that does not match it, because a bit flipped or
somebody edited it, is computed again. A folder or file that another user may write is not used. No error with it ends a
run: the store adds a line to :attr:`OutcomeCache.notes`, is no longer used, and the run continues.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasoning_probe.engine.cache.folder import (
    JOURNAL,
    check_files,
    check_locks,
    check_private,
    make_folder,
    names_another_journal,
)
from reasoning_probe.utils.text import OneLineError, one_line

FOLDER = ".reasoning_probe_cache"
FILE = "outcomes-1.sqlite"
"""The name includes the version of the tables: files of other versions are left alone."""

LOCKED_S = 30.0
"""Seconds to wait for other sessions' transactions before the store is given up, all attempts together."""

DAY_S = 86_400.0

_TABLES = {
    "models": "CREATE TABLE models (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, facts TEXT NOT NULL,"
    " used REAL NOT NULL)",
    "outcomes": "CREATE TABLE outcomes (key BLOB NOT NULL UNIQUE, model INTEGER NOT NULL, response TEXT NOT NULL,"
    " truncated INTEGER NOT NULL, logprob REAL)",
}
LONGEST_RESPONSE = 10_000_000
"""Characters; the engine never stores a longer one, and reading it would cost memory."""

_DIGEST = 32
"""Hexadecimal digits before a response."""

_FAILURES = (sqlite3.Error, OSError, UnicodeError)
_KEYS_PER_QUERY = 500  # every build of SQLite accepts 999 parameters


class CacheError(OneLineError):
    """Raised for a store that cannot be read or pruned; the message is one line."""


@dataclass(frozen=True)
class CachedAnswer:
    """A model's ``response``, cut at the first stop string, and the expected answer's ``logprob`` in nats."""

    response: str
    truncated: bool
    logprob: float | None


@dataclass(frozen=True)
class CachedModel:
    """A model in the store: its ``facts``, how many outcomes there are, and when it was last used (seconds, epoch)."""

    facts: dict[str, Any]
    outcomes: int
    used: float


class OutcomeCache:
    """The store in *folder*, for the model set by :meth:`attach`. None of its methods raises."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self.path = folder / FILE
        self.fresh = fresh
        self._notes: list[str] = []
        self._altered = 0  # rows that do not match their digest
        self._db: sqlite3.Connection | None = None
        self._digest, self._model = b"", 0
        self._facts: dict[str, str] = {}

    def attach(self, digest: bytes, facts: Mapping[str, str]) -> None:
        """Open the store, or create it, for the model that *digest* identifies and *facts* describe."""
        self._digest, self._facts = digest, dict(facts)
        self._attempt(self._open)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, CachedAnswer]:
        """Return the stored answers of *keys*; none if the store was opened ``fresh``."""
        answers: dict[bytes, CachedAnswer] = {}

        def read(db: sqlite3.Connection) -> None:
            for first in range(0, len(keys), _KEYS_PER_QUERY):
                batch = keys[first : first + _KEYS_PER_QUERY]
                placeholders = ",".join("?" * len(batch))
                query = (
                    f"SELECT key, response, truncated, logprob FROM outcomes WHERE key IN ({placeholders})"
                    f" AND length(response) <= {LONGEST_RESPONSE}"
                )
                for key, *values in db.execute(query, batch):
                    answer = _answer(*values)
                    if answer is None:
                        continue
                    response = unsealed(key, answer)
                    if response is None:
                        self._altered += 1
                    else:
                        answers[key] = replace(answer, response=response)

        if not self.fresh:
            self._attempt(read)
        return answers

    @property
    def notes(self) -> list[str]:
        """What went wrong with the store, one line each."""
        if not self._altered:
            return self._notes
        rows = "row was" if self._altered == 1 else "rows were"
        return [*self._notes, f"{self._altered:,} {rows} altered in the outcome store {self.path}: computed anew"]

    def put(self, answers: Mapping[bytes, CachedAnswer]) -> None:
        """Store *answers* in one transaction; once it returns they survive the end of the process, however it ends."""
        rows = [(key, sealed(key, answer), answer.truncated, answer.logprob) for key, answer in answers.items()]

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.execute("BEGIN IMMEDIATE")
                insert = f"INSERT OR REPLACE INTO outcomes VALUES (?, {self._model}, ?, ?, ?)"
                db.executemany(insert, rows)

        self._attempt(write)

    def close(self) -> None:
        """Close the file; from then on no answer is read or stored."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):  # it is no longer used either way
                db.close()

    def _open(self, db: None = None) -> None:
        make_folder(self.path.parent)
        check_private(self.path)
        check_locks(self.path.parent)
        end = time.monotonic() + LOCKED_S
        self._db = connect(self.path)
        with self._db:
            wait(self._db, end - time.monotonic())
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO models (digest, facts, used) VALUES (?, ?, ?)"
                " ON CONFLICT (digest) DO UPDATE SET used = excluded.used",
                (self._digest, json.dumps(self._facts), time.time()),
            )
            (self._model,) = self._db.execute("SELECT id FROM models WHERE digest = ?", (self._digest,)).fetchone()
        wait(self._db, LOCKED_S)

    def _attempt(self, action: Callable[[Any], None]) -> None:
        """Call *action* with the open file, again with a new one if it is damaged; close the store on other errors."""
        if self._db is None and action != self._open:
            return
        try:
            action(self._db)
        except _FAILURES as error:
            self.close()
            if not is_damage(error):
                self._notes.append(
                    f"the outcome store {self.path} cannot be used, the run goes on without: {one_line(error)}"
                )
                return
            aside = self.path.with_suffix(".damaged")
            try:
                move_aside(self.path, aside)
                self._open()
                if action != self._open:
                    action(self._db)
            except _FAILURES as second_error:
                self.close()
                self._notes.append(
                    f"the outcome store {self.path} is damaged, the run goes on without: {one_line(second_error)}"
                )
                return
            self._notes.append(f"{self.path} was damaged or no outcome store: moved to {aside.name}, begun anew")


def sealed(key: bytes, answer: CachedAnswer) -> str:
    """Return the response of *answer* behind a digest of its row."""
    return f"{_row_digest(key, answer.response, answer)}{answer.response}"


def unsealed(key: bytes, answer: CachedAnswer) -> str | None:
    """Return the response of the stored *answer* without its digest, or ``None`` if the row does not match it."""
    digest, response = answer.response[:_DIGEST], answer.response[_DIGEST:]
    return response if digest == _row_digest(key, response, answer) else None


def _row_digest(key: bytes, response: str, answer: CachedAnswer) -> str:
    # SQLite keeps neither NaN nor the sign of zero.
    logprob = None if answer.logprob is None or math.isnan(answer.logprob) else (answer.logprob + 0.0).hex()
    parts = [key.hex(), response, answer.truncated, logprob]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=_DIGEST // 2).hexdigest()


def connect(path: Path) -> sqlite3.Connection:
    """Open the store *path*, or create it. Raises ``sqlite3.Error``; ``DatabaseError`` itself means damage.

    A store that is locked is waited for :data:`LOCKED_S` seconds in all. Raises ``OSError`` for links and pipes.
    """
    check_files(path)
    if names_another_journal(path):
        raise sqlite3.DatabaseError(f"{path.name}{JOURNAL} names another file, as no journal of a store does")
    end = time.monotonic() + LOCKED_S
    while True:
        # isolation_level=None: transactions are begun explicitly
        db = sqlite3.connect(path, timeout=max(0.0, end - time.monotonic()), isolation_level=None)
        try:
            db.text_factory = _text
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            stored = _tables(db)  # before anything is changed: the file may be another program's
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # intact after any end of the process, and after a power cut
            if not stored:
                with db:
                    db.execute("BEGIN IMMEDIATE")
                    if not _tables(db):
                        for statement in _TABLES.values():
                            db.execute(statement)
            return db
        except sqlite3.OperationalError as error:
            db.close()
            # Two sessions that both switch on the log do not wait for each other as they do for transactions.
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(0.1)
        except BaseException:
            db.close()
            raise


def wait(db: sqlite3.Connection, seconds: float) -> None:
    """Let the statements of *db* wait for *seconds* for a lock from now on."""
    db.execute(f"PRAGMA busy_timeout = {max(0, round(seconds * 1000))}")


def _text(data: bytes) -> str | None:
    """Return the text of a column; ``None``, which is rejected, for bytes that are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _tables(db: sqlite3.Connection) -> bool:
    """Tell whether the tables exist; raises ``sqlite3.DatabaseError`` if there are other tables, views or triggers."""
    statements = dict(
        db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    )  # NULL for the indices of UNIQUE columns
    if statements and statements != _TABLES:
        raise sqlite3.DatabaseError("file is not an outcome store")
    return bool(statements)


def is_damage(error: Exception) -> bool:
    """Tell whether *error* is due to the file's content; SQLite's others (full, locked, read-only) are subclasses."""
    return type(error) is sqlite3.DatabaseError


def move_aside(path: Path, aside: Path) -> None:
    """Rename the store *path* to *aside*, and delete its log, which is of no use to another file.

    A rollback journal goes with it: it may be what another program's database needs.
    """
    journal = path.with_name(path.name + JOURNAL)
    if os.path.lexists(journal):
        os.replace(journal, aside.with_name(aside.name + JOURNAL))
    os.replace(path, aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _answer(response: Any, truncated: Any, logprob: Any) -> CachedAnswer | None:
    """Return the row as an answer, or ``None`` if a value has the wrong type."""
    if not isinstance(response, str) or truncated not in (0, 1) or not isinstance(logprob, float | None):
        return None
    return CachedAnswer(response, bool(truncated), None if logprob is None or math.isnan(logprob) else logprob)


# -- for ``reasoning-probe cache`` --------------------------------------------------------------------------------


def find_folder(start: Path) -> Path:
    """Return the cache folder in *start* or the nearest folder above it. Raises :class:`CacheError`."""
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    raise CacheError(f"there is no {FOLDER} in {start} or above: name the folder that --probe-cache named")


def folder_in(folder: Path) -> Path:
    """Return *folder*, or the cache folder in it if *folder* is a project."""
    return folder / FOLDER if not (folder / FILE).exists() and (folder / FOLDER).is_dir() else folder


def entries(folder: Path) -> list[CachedModel]:
    """Return the models in the store in *folder*, last used first. Raises :class:`CacheError`."""
    with _existing(folder) as db:
        rows = db.execute(
            "SELECT facts, used, (SELECT count(*) FROM outcomes WHERE model = models.id) FROM models ORDER BY used DESC"
        ).fetchall()
    return [CachedModel(_facts(facts), int(count), _seconds(used)) for facts, used, count in rows]


def prune(folder: Path, *, unused_days: float = 0.0) -> int:
    """Delete the outcomes of models that no run has used for *unused_days*; return how many there were.

    Raises :class:`CacheError`.
    """
    with _existing(folder) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM models WHERE used <= ?", (time.time() - unused_days * DAY_S,))
        removed = db.execute("DELETE FROM outcomes WHERE model NOT IN (SELECT id FROM models)").rowcount
        db.execute("COMMIT")
        db.execute("VACUUM")
    return removed


@contextmanager
def _existing(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE
    if not path.is_file():
        raise CacheError(f"there is no outcome store in {folder}: a run makes one")
    try:
        db = connect(path)
        try:
            yield db
        finally:
            db.close()
    except (sqlite3.Error, OSError, UnicodeError, TypeError, ValueError) as error:
        raise CacheError(f"cannot use the outcome store {path}: {one_line(error)}") from None


def _facts(text: Any) -> dict[str, Any]:
    try:
        facts = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        facts = None
    return facts if isinstance(facts, dict) else {}


def _seconds(used: Any) -> float:
    return used if isinstance(used, float) and 0 <= used < 1e11 else 0.0


def size(folder: Path) -> int:
    """Return the size of the store's files in *folder*, in bytes."""
    return sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))
