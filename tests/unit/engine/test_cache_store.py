"""The file of the outcome store is untrusted input: if it is damaged, foreign, locked or full, no answer is lost."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_probe.engine.cache import store as cache_store
from reasoning_probe.engine.cache.store import FILE, CachedAnswer, OutcomeCache
from reasoning_probe.utils.ownership import writable_by_others
from tests.helpers.outcome_stores import attached
from tests.helpers.queries import Scenario, by_case, spoil


@pytest.fixture
def scenario() -> Scenario:
    return Scenario()


@pytest.mark.parametrize(
    "value",
    ["response = x'ff'", "response = CAST(x'ff' AS TEXT)", "truncated = 2", "truncated = 'yes'", "logprob = 'high'"],
)
def test_a_value_of_another_type_is_computed_again(scenario: Scenario, tmp_path: Path, value: str) -> None:
    first, _, _ = scenario.run(tmp_path)
    spoil(tmp_path, f"UPDATE outcomes SET {value} WHERE rowid = 2")
    outcomes, computed, notes = scenario.run(tmp_path)
    assert notes == []
    assert by_case(outcomes) == by_case(first)
    assert computed > 0


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at" * 50)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE outcomes (key TEXT)")
    db.execute("CREATE TRIGGER t AFTER INSERT ON outcomes BEGIN DELETE FROM outcomes; END")
    db.close()


@pytest.mark.parametrize("damage", [overwritten, cut, scribbled, foreign], ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_moved_aside_and_nothing_is_lost(
    scenario: Scenario, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first, _, _ = scenario.run(tmp_path)
    damage(tmp_path / FILE)
    outcomes, _, notes = scenario.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert len(notes) == 1
    assert "moved to outcomes-1.damaged" in notes[0]
    assert scenario.run(tmp_path)[1:] == (0, [])


def test_a_damaged_file_that_cannot_be_moved_is_left_alone(scenario: Scenario, tmp_path: Path) -> None:
    first, _, _ = scenario.run(tmp_path)
    cut(tmp_path / FILE)
    (tmp_path / "outcomes-1.damaged").mkdir()
    outcomes, computed, notes = scenario.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert computed == 6
    assert len(notes) == 1
    assert "is damaged, the run goes on without" in notes[0]


@pytest.mark.parametrize(("times", "waits"), [(1, 1), (3, 3), (1000, 300)])
def test_a_store_that_is_locked_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, waits: int
) -> None:
    """SQLite does not make sessions wait for each other that create a store at the same moment."""
    waited: list[float] = []
    monkeypatch.setattr(cache_store.time, "monotonic", lambda: sum(waited))
    connect = sqlite3.connect

    def locked(*args: Any, **options: Any) -> Any:
        db = connect(*args, **options)
        if len(waited) < times:
            other = connect(args[0], isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            monkeypatch.setattr(cache_store.time, "sleep", lambda seconds: (waited.append(seconds), other.close()))
            db.execute("PRAGMA busy_timeout = 0")
        return db

    monkeypatch.setattr(cache_store.sqlite3, "connect", locked)
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    assert abs(len(waited) - waits) <= 1  # a tenth of a second each, until LOCKED_S are over
    if times < 20:
        store.put({b"a" * 16: CachedAnswer("kept", False, None)})
        assert store.get([b"a" * 16]) == {b"a" * 16: CachedAnswer("kept", False, None)}
        assert store.notes == []
    else:
        assert ["cannot be used, the run goes on without: database is locked" in note for note in store.notes] == [True]


def test_a_store_that_stays_locked_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds the file and never lets go of it; the one wait is for all attempts together."""
    OutcomeCache(tmp_path).attach(b"m" * 16, {})
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(cache_store, "LOCKED_S", 0.5)
    started = time.monotonic()
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    for index in range(20):
        store.put({bytes([index]) * 16: CachedAnswer("kept", False, None)})
        assert store.get([bytes([index]) * 16]) == {}
    assert time.monotonic() - started < 1.5
    assert ["cannot be used, the run goes on without: database is locked" in note for note in store.notes] == [True]
    other.close()


def test_a_new_store_that_stays_locked_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(cache_store, "LOCKED_S", 0.5)
    started = time.monotonic()
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    store.put({b"a" * 16: CachedAnswer("kept", False, None)})
    assert time.monotonic() - started < 1.5
    assert len(store.notes) == 1
    other.close()


@pytest.mark.parametrize("number", ["ENOLCK", "ENOTSUP", "ENOSYS"])
def test_a_file_system_without_locks_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    import fcntl

    def no_locks(*args: Any) -> None:
        raise OSError(getattr(errno, number), "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    started = time.monotonic()
    store = OutcomeCache(tmp_path / "cache")
    store.attach(b"m" * 16, {})
    store.put({b"a" * 16: CachedAnswer("kept", False, None)})
    assert store.get([b"a" * 16]) == {}
    assert time.monotonic() - started < 1
    (note,) = store.notes
    assert "the run goes on without: " in note
    assert "its file system has no locks (No locks available): name a local folder" in note


@pytest.mark.parametrize("there", [True, False], ids=["another program's", "nothing yet"])
def test_a_link_in_place_of_the_store_is_not_followed(tmp_path: Path, there: bool) -> None:
    elsewhere = tmp_path / "elsewhere.sqlite"
    if there:
        with sqlite3.connect(elsewhere) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    before = elsewhere.read_bytes() if there else None
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    (folder / FILE).symlink_to(elsewhere)
    (note,) = attached(folder).notes
    assert "the run goes on without: " in note
    assert "it is a link, which is not followed" in note
    assert (elsewhere.read_bytes() if elsewhere.exists() else None) == before


def test_a_database_of_another_program_is_not_changed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    (note,) = attached(tmp_path).notes
    assert "moved to outcomes-1.damaged" in note
    assert (tmp_path / "outcomes-1.damaged").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "notes"), [(FILE, 1), (f"{FILE}-journal", 1), (f"{FILE}-wal", 1), ("CACHEDIR.TAG", 0)]
)
def test_a_pipe_in_the_stores_folder_is_not_waited_for(tmp_path: Path, file: str, notes: int) -> None:
    tmp_path.chmod(0o700)
    os.mkfifo(tmp_path / file)
    assert len(attached(tmp_path).notes) == notes


def test_an_empty_file_is_a_new_store(scenario: Scenario, tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    scenario.run(tmp_path)
    assert scenario.run(tmp_path)[1:] == (0, [])


def folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)


def file_as_its_folder(path: Path) -> None:
    path.parent.write_text("a file")


@pytest.mark.parametrize(
    "hindrance", [folder_in_its_place, file_as_its_folder], ids=lambda hindrance: hindrance.__name__
)
def test_without_a_store_the_run_goes_on(scenario: Scenario, tmp_path: Path, hindrance: Callable[[Path], None]) -> None:
    folder = tmp_path / "cache"
    hindrance(folder / FILE)
    outcomes, computed, notes = scenario.run(folder)
    assert len(outcomes) == computed == 6
    assert len(notes) == 1
    assert "cannot be used, the run goes on without" in notes[0]
    assert "\n" not in notes[0]


def test_a_file_that_becomes_full_stops_the_store_and_not_the_run(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    store.put({b"a" * 16: CachedAnswer("kept", False, None)})
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's error is that of a full disk
    store.put({bytes([index]) * 16: CachedAnswer("x" * 4000, False, None) for index in range(100)})
    store.put({b"b" * 16: CachedAnswer("late", False, None)})
    assert [("full" in note) for note in store.notes] == [True]
    again = OutcomeCache(tmp_path)
    again.attach(b"m" * 16, {})
    assert again.get([b"a" * 16, b"b" * 16, b"\0" * 16]) == {b"a" * 16: CachedAnswer("kept", False, None)}


def test_any_text_and_number_comes_back_as_it_was(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    answers = [("", True, None), ("nul \0 end", False, -0.0), ("\u2028\U0001f600", False, float("-inf"))]
    stored = {bytes([index]) * 16: CachedAnswer(*answer) for index, answer in enumerate(answers)}
    store.put(stored)
    assert store.get(list(stored)) == stored


def test_more_keys_than_a_query_takes(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    stored = {index.to_bytes(16, "big"): CachedAnswer(str(index), False, 0.0) for index in range(1234)}
    store.put(stored)
    assert store.get(list(stored)) == stored


def test_the_store_of_a_model_that_nobody_uses_can_be_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for model, day in ((b"old", 1), (b"new", 100)):
        monkeypatch.setattr("time.time", lambda day=day: day * cache_store.DAY_S)
        store = OutcomeCache(tmp_path)
        store.attach(model, {"architecture": model.decode()})
        store.put({model * 4: CachedAnswer("", False, None)})
        store.close()
    monkeypatch.setattr("time.time", lambda: 101 * cache_store.DAY_S)
    assert [(entry.facts["architecture"], entry.outcomes) for entry in cache_store.entries(tmp_path)] == [
        ("new", 1),
        ("old", 1),
    ]
    assert cache_store.prune(tmp_path, unused_days=30) == 1
    assert [entry.facts["architecture"] for entry in cache_store.entries(tmp_path)] == ["new"]
    assert cache_store.prune(tmp_path) == 1
    assert cache_store.entries(tmp_path) == []


# -- rows and files of others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "response = substr(response, 1, length(response) - 1) || '~'",
        "response = response || ' '",
        "response = 'blue'",
        "response = ''",
        "response = (SELECT response FROM outcomes WHERE rowid = 1)",
        "truncated = 1 - truncated",
        "logprob = logprob + 0.001",
        "logprob = NULL",
        "key = (SELECT key FROM outcomes WHERE rowid = 2) || x'00'",
    ],
)
def test_an_altered_row_is_computed_again_and_said(scenario: Scenario, tmp_path: Path, change: str) -> None:
    first, _, _ = scenario.run(tmp_path)
    spoil(tmp_path, f"UPDATE outcomes SET {change} WHERE rowid = 2")
    outcomes, computed, notes = scenario.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert computed > 0
    if not change.startswith("key"):  # under another key nobody asks for it
        assert notes == [f"1 row was altered in the outcome store {tmp_path / FILE}: computed anew"]
    assert scenario.run(tmp_path)[1:] == (0, [])


def test_two_rows_that_changed_places_are_computed_again(scenario: Scenario, tmp_path: Path) -> None:
    first, _, _ = scenario.run(tmp_path)
    db = sqlite3.connect(tmp_path / FILE)
    with db:
        (one,), (two,) = db.execute("SELECT key FROM outcomes WHERE rowid IN (1, 2) ORDER BY rowid")
        for key, row in ((b"aside", 1), (one, 2), (two, 1)):
            db.execute("UPDATE outcomes SET key = ? WHERE rowid = ?", (key, row))
    db.close()
    outcomes, _, notes = scenario.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert [note.startswith("2 rows were altered") for note in notes] == [True]


@pytest.mark.parametrize("answer", [CachedAnswer("", True, None), CachedAnswer("\u4e2d\n", False, -1e-300)])
def test_every_kind_of_answer_matches_its_digest(tmp_path: Path, answer: CachedAnswer) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    store.put({b"a" * 16: answer, b"b" * 16: CachedAnswer("x", False, float("nan"))})
    assert store.get([b"a" * 16, b"b" * 16]) == {b"a" * 16: answer, b"b" * 16: CachedAnswer("x", False, None)}
    assert store.notes == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no modes here")
@pytest.mark.parametrize("which", ["folder", "file", "log"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o666])
def test_a_store_that_another_user_may_write_is_not_used(
    scenario: Scenario, tmp_path: Path, which: str, mode: int
) -> None:
    folder = tmp_path / "store"
    first, _, _ = scenario.run(folder)
    log = folder / f"{FILE}-wal"
    path = {"folder": folder, "file": folder / FILE, "log": log}[which]
    if which == "log":
        log.touch()
    before = path.stat().st_mode
    path.chmod(mode | (0o700 if which == "folder" else 0))
    outcomes, computed, notes = scenario.run(folder)
    assert (by_case(outcomes), computed) == (by_case(first), 6)
    assert len(notes) == 1
    assert f"another user may write {path}: chmod go-w it" in notes[0]
    path.chmod(before)
    assert scenario.run(folder)[1:] == (0, [])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives a file away")
def test_a_store_of_another_user_is_not_used(scenario: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    scenario.run(folder)
    os.chown(folder / FILE, 65534, 65534)
    outcomes, computed, notes = scenario.run(folder)
    assert (len(outcomes), computed, len(notes)) == (6, 6, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no modes here")
def test_a_store_is_its_user_s_own_whatever_the_umask(scenario: Scenario, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        scenario.run(tmp_path / "store")
    finally:
        os.umask(before)
    assert scenario.run(tmp_path / "store")[1:] == (0, [])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no modes here")
@pytest.mark.parametrize(("members", "name", "others"), [([], None, False), (["eve"], None, True), ([], "staff", True)])
def test_a_group_of_nobody_else_is_no_other_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[str], name: str | None, others: bool
) -> None:
    import grp
    import pwd

    owner = pwd.getpwuid(os.geteuid())
    group = SimpleNamespace(gr_name=name or owner.pw_name, gr_mem=members)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", -1, owner.pw_gid)
    (tmp_path / "shared").chmod(0o775)
    assert writable_by_others(tmp_path / "shared") is others
