"""Files that SQLite reads beside the outcome store: a journal that was prepared, and links, do no harm elsewhere."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.engine.cache.store import FILE, CacheError, entries, prune
from tests.helpers.outcome_stores import attached


@pytest.fixture
def journalled(tmp_path: Path) -> Path:
    """A store of rollback journals, beside it one that names another file as its super-journal, which it is not.

    The format is that of https://www.sqlite.org/fileformat.html#the_rollback_journal; the last record holds the name.
    """
    folder = tmp_path / "store"
    attached(folder).close()
    with sqlite3.connect(folder / FILE) as db:
        assert db.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    db.close()
    victim = str(tmp_path / "thesis").encode()
    (tmp_path / "thesis").write_text("no journal")
    content = (folder / FILE).read_bytes()
    (page,) = struct.unpack(">H", content[16:18])
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 0, 0, len(content) // page, 512, page)
    name = struct.pack(">I", 2**30 // page + 1) + victim + struct.pack(">2I", len(victim), sum(victim)) + magic
    (folder / f"{FILE}-journal").write_bytes(header.ljust(512, b"\0") + name)
    return folder


def test_sqlite_itself_deletes_the_file_that_a_journal_names(journalled: Path, tmp_path: Path) -> None:
    """The attack works where nobody looks at the journal first."""
    db = sqlite3.connect(journalled / FILE)
    db.execute("SELECT * FROM models").fetchall()
    db.close()
    assert not (tmp_path / "thesis").exists()


@pytest.mark.parametrize("use", [attached, entries, prune])
def test_a_journal_that_was_prepared_deletes_nothing(
    journalled: Path, tmp_path: Path, use: Callable[[Path], Any]
) -> None:
    if use is attached:
        (note,) = attached(journalled).notes
        assert "was damaged or no outcome store: moved to outcomes-1.damaged, begun anew" in note
        assert (journalled / "outcomes-1.damaged-journal").exists()
        assert attached(journalled).notes == []
    else:
        with pytest.raises(
            CacheError, match=r"outcomes-1\.sqlite-journal names another file, as no journal of a store"
        ):
            use(journalled)
    assert (tmp_path / "thesis").read_text() == "no journal"


def test_a_journal_of_a_process_that_was_killed_is_played_back(tmp_path: Path) -> None:
    store = attached(tmp_path / "store")
    code = f"""
import os, sqlite3
db = sqlite3.connect({str(store.path)!r}, isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
for key in range(9999):
    db.execute("INSERT INTO outcomes VALUES (?, 1, 'x', 0, NULL)", (key.to_bytes(8, "big"),))
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert store.path.with_name(f"{FILE}-journal").stat().st_size > 0
    assert attached(tmp_path / "store").notes == []
    assert [model.outcomes for model in entries(tmp_path / "store")] == [0]


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm", ""])
@pytest.mark.parametrize("use", [entries, prune])
def test_the_command_cache_follows_no_link(tmp_path: Path, ending: str, use: Callable[[Path], object]) -> None:
    attached(tmp_path / "store").close()
    file = tmp_path / "store" / f"{FILE}{ending}"
    if ending == "":
        os.replace(file, tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").write_text("untouched")
    before = (tmp_path / "elsewhere").read_bytes()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="it is a link, which is not followed"):
        use(tmp_path / "store")
    assert (tmp_path / "elsewhere").read_bytes() == before
