"""One run in several processes (pytest-xdist): one process sweeps and hands its outcomes to the others in a folder.

The plan is divided into parts, each with a lock and a file. The first process that needs a part takes its lock, sweeps
it and writes the file; the others wait for the lock and read the file. The operating system releases a lock when its
process ends, however it ends: the next process then takes over, and the outcome store gives it what is known already.
There is one part, unless there are several GPUs: then there are as many, each swept on a device of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from reasoning_probe.engine.cache.folder import NO_LOCKS
from reasoning_probe.results.merge import PartialRun, merge_parts
from reasoning_probe.results.outcome import Key, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.results.skips import SkippedCase
from reasoning_probe.session.plan import Case
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.utils.files import atomic_write_text

T = TypeVar("T")

INTERRUPTED_S = 10.0
"""Seconds to wait, after an interruption, for what the sweeping process still writes."""


def device_of(number: int, count: int) -> str:
    """Return the device of worker *number* (from 0 on) if there are *count* GPUs."""
    return f"cuda:{number % count}"


def stripe(items: Sequence[T], part: int, parts: int) -> list[T]:
    """Return every *parts*-th of *items*, beginning with number *part*, so that long and short items mix."""
    return list(items[part::parts])


class SharedFolderError(ValueError):
    """The folder through which outcomes are exchanged cannot be written; the message is one line."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"the temporary folder {folder} cannot be used ({error.strerror}); outcomes are kept in the outcome store:"
            " name another folder with TMPDIR, and run the same command again"
        )


class XdistWorker:
    """Worker *number* of *workers* processes on the plan of *session*; only these processes use *folder*."""

    def __init__(self, session: ProbeSession, folder: Path, number: int, workers: int) -> None:
        self.session, self.folder, self.name = session, folder, f"worker-{number}"
        # A race looks at all items together, so one process sweeps them.
        self.parts = 1 if session.settings.race else max(1, min(gpu_count(session), workers))
        self.first_part = number % self.parts  # the part that this worker begins with
        if self.parts > 1:
            session.model_runner.settings = replace(session.settings, device=device_of(number, self.parts))
        self._index = {item: index for index, item in enumerate(session.items)}
        self._finished: set[int] = set()  # the parts whose outcomes the session has
        self._published: set[Key] = set()  # the outcomes that lie in the folder
        session.measures_heads = False  # until it has swept the first part

    def outcome(self, case: Case, prepare: Callable[[], None]) -> Outcome | None:
        """Return the outcome of *case*; *prepare* is called before this process uses the model."""
        session = self.session
        part = self._index[case.key[:2]] % self.parts
        for number in dict.fromkeys((self.first_part, part)):
            if number not in self._finished:
                self._compute_or_load(number, prepare)
        if case.key not in session.outcomes and case.key[:2] not in session.skipped and not session.unmeasured(case):
            prepare()  # the sweep failed at an item, so each of the others is computed when its test needs it
            session.outcome(case, whole_plan=False)
        return session.outcomes.get(case.key)

    def _compute_or_load(self, part: int, prepare: Callable[[], None]) -> None:
        """Sweep *part* and write its file, or read the file if another process has swept it."""
        path = self._path(part)
        with self._lock(path):
            if path.exists():
                self._import(path)
            else:
                prepare()
                self.session.measures_heads |= part == 0
                try:
                    self.session.sweep(stripe(self.session.items, part, self.parts))
                except Exception:
                    if self.session.engine is None:
                        raise
                    self._write(path)  # an error of the model is raised again when the outcome of its item is needed
                except BaseException:
                    self._write(path.with_suffix(".partial.json"))
                    raise
                else:
                    self._write(path)
        self._finished.add(part)

    def import_rest(self) -> None:
        """Import the parts that other processes have swept or are sweeping, where this one measures the heads."""
        for part in range(self.parts) if self.session.measures_heads else ():
            path = self._path(part)
            if part not in self._finished:
                with self._lock(path):
                    if path.exists():
                        self._import(path)

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part}.json"

    def _import(self, path: Path) -> None:
        part = PartialRun.from_dict(json.loads(path.read_text(encoding="utf-8")))
        self.session.import_part(part)
        self._published |= {outcome.key for outcome in part.outcomes}

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        """Hold the lock of the part *path*; where the file system has no locks, every process sweeps by itself."""
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise SharedFolderError(self.folder, error) from error
            reason = getattr(error, "strerror", None) or "no locks"
            note = f"the temporary folder {path.parent} has no locks ({reason}): each process computes by itself"
            self.session.model_runner.notes.append(note)
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _write(self, path: Path) -> None:
        """Write what was not published yet to *path*. Raises :class:`SharedFolderError`."""
        outcomes = set(self.session.outcomes)
        part = json.dumps(self.session.export(self.name, without=self._published).as_dict())
        try:
            atomic_write_text(path, part)
        except OSError as error:
            raise SharedFolderError(self.folder, error) from error
        self._published |= outcomes

    def publish_rest(self) -> None:
        """Write what this process computed outside of the parts and after them."""
        unpublished = not self.session.outcomes.keys() <= self._published
        if self.session.engine is not None and (unpublished or self.session.post_sweep.attempted):
            self._write(self.folder / f"rest-{self.name}.json")  # sorts after the parts, so its facts win


def gpu_count(session: ProbeSession) -> int:
    """Return the number of GPUs among which the plan can be divided, at least 1."""
    one_device = session.model_runner.provided is not None or session.settings.cluster is not None
    if one_device or session.settings.device not in ("auto", "cuda"):
        return 1
    import torch

    return torch.cuda.device_count()


def collect_parts(folder: Path, skipped: Collection[SkippedCase] = (), *, interrupted: bool = False) -> Run | None:
    """Return the run that workers left in *folder*, as far as it got; ``None`` if they left nothing.

    Cases that their tests *skipped* are left out.
    """
    for lock in sorted(folder.glob("*.lock")) if interrupted else ():
        try:
            with FileLock(lock, timeout=INTERRUPTED_S):
                pass  # the process that swept this part has written its outcomes
        except (Timeout, OSError, NotImplementedError):  # it is still held, or there are no locks
            continue
    parts = [PartialRun.from_dict(json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    return merge_parts(parts, skipped) if any(part.outcomes or part.facts["skipped"] for part in parts) else None
