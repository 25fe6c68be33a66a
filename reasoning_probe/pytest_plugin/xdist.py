"""Several processes on one run (pytest-xdist): one sweeps and hands its outcomes to the others in a folder.

A part of the plan has a lock and a file. Who needs a part first takes its lock, sweeps it and leaves the file; the
others wait for the lock and read the file. A lock falls when its process ends, however it ends: the next takes over,
and the outcome store gives it what is known already. There is one part, unless there are several GPUs: then there are
as many, each swept on a device of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from reasoning_probe.results.merge import PartialRun, merge_parts
from reasoning_probe.results.outcome import Key, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.session.plan import Case
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.utils.files import atomic_write_text

T = TypeVar("T")

INTERRUPTED_S = 10.0
"""Seconds to wait, after an interruption, for what the sweeping process still writes."""


def device_of(number: int, count: int) -> str:
    """Return the device of worker *number* (from 0 on) where there are *count* GPUs."""
    return f"cuda:{number % count}"


def stripe(items: Sequence[T], part: int, parts: int) -> list[T]:
    """Return every *parts*-th of *items*, beginning with number *part*: long and short items mix."""
    return list(items[part::parts])


class XdistWorker:
    """One of *workers* processes on the plan of *session*; *folder* is theirs alone."""

    def __init__(self, session: ProbeSession, folder: Path, number: int, workers: int) -> None:
        self.session, self.folder, self.name = session, folder, f"worker-{number}"
        gpus = _gpus(session)
        self.parts = max(1, min(gpus, workers))
        self.own = number % self.parts
        if self.parts > 1:
            session.model_runner.settings = replace(session.settings, device=device_of(number, self.parts))
        self._place = {item: at for at, item in enumerate(session.items)}
        self._settled: set[int] = set()
        self._handed: set[Key] = set()  # what lies in the folder already

    def outcome(self, case: Case, prepare: Callable[[], None]) -> Outcome | None:
        """Return the outcome of *case*; *prepare* is called before this process uses the model."""
        session = self.session
        part = self._place[case.key[:2]] % self.parts
        for number in dict.fromkeys((self.own, part)):
            if number not in self._settled:
                self._compute_or_load(number, prepare)
        if case.key not in session.outcomes and case.key[:2] not in session.skipped and not session.screened_out(case):
            prepare()  # the sweep failed at an item: the others are asked one by one
            session.outcome(case, whole_plan=False)
        return session.outcomes.get(case.key)

    def _compute_or_load(self, part: int, prepare: Callable[[], None]) -> None:
        path = self.folder / f"part-{part}.json"
        with FileLock(path.with_suffix(".lock")):
            if path.exists():
                self.session.import_part(PartialRun.from_dict(json.loads(path.read_text(encoding="utf-8"))))
                self._handed |= self.session.outcomes.keys()
            else:
                prepare()
                try:
                    self.session.sweep(stripe(self.session.items, part, self.parts))
                except Exception:
                    if self.session.engine is None:
                        raise
                    self._write(path)  # what the model raised is raised again when its item is asked for
                except BaseException:
                    self._write(path.with_suffix(".partial.json"))
                    raise
                else:
                    self._write(path)
        self._settled.add(part)

    def _write(self, path: Path) -> None:
        known = set(self.session.outcomes)
        atomic_write_text(path, json.dumps(self.session.export(self.name, without=self._handed).as_dict()))
        self._handed |= known

    def publish_rest(self) -> None:
        """Hand over what this process found by itself since."""
        new = not self.session.outcomes.keys() <= self._handed
        if self.session.engine is not None and (new or self.session.post_sweep.attempted):
            self._write(self.folder / f"rest-{self.name}.json")  # read after the parts: its facts are the last


def _gpus(session: ProbeSession) -> int:
    alone = session.model_runner.provided is not None or session.settings.cluster is not None
    if alone or session.settings.device not in ("auto", "cuda"):
        return 1
    import torch

    return torch.cuda.device_count()


def collect_parts(folder: Path, *, interrupted: bool = False) -> Run | None:
    """Return the run that workers left in *folder*, as far as it got; ``None`` where they left nothing."""
    for lock in sorted(folder.glob("*.lock")) if interrupted else ():
        try:
            with FileLock(lock, timeout=INTERRUPTED_S):
                pass  # whoever swept has written what it found
        except Timeout:
            continue
    parts = [PartialRun.from_dict(json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    return merge_parts(parts) if any(part.outcomes for part in parts) else None
