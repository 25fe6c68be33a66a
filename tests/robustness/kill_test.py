"""The kill test: interrupt a sweep at random moments, and hold the rerun against an uninterrupted run.

    python -m tests.robustness.kill_test --moments 200

Each moment is a real session on the bundled model, forked from a process that has imported everything, so that it takes
a second and not five. After each: the store is whole, every outcome that was reported done is in it once, and the same
command again writes the files of the uninterrupted run.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import pytest
import scipy.stats  # noqa: F401
import torch
import transformers  # noqa: F401

from reasoning_probe.engine import engine as _engine  # noqa: F401
from reasoning_probe.engine.cache import store as cache
from reasoning_probe.report.terminal import summary as _summary  # noqa: F401
from reasoning_probe.results import run as store

PROBE = "import reasoning_probe as rp\n\n@rp.probe({name!r})\ndef test_{name}(answer):\n    assert answer.correct\n"
NAMES = ("arithmetic", "logic", "multi_step")
OPTIONS = (
    "--ablate-heads",
    "-q",
    "--tb=no",
    *(f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "html", "randomly")),
)


class Moment:
    """When something happens to a session: so long after its start, or so long after so many outcomes are stored."""

    def __init__(self, act: Callable[[], object], seconds: float, outcomes: int = 0) -> None:
        self.act, self.seconds, self.outcomes = act, seconds, outcomes
        self.begun = False

    def reached(self, stored: int) -> None:
        """Start the clock once so many outcomes are *stored*."""
        if not self.begun and stored >= self.outcomes:
            self.begun = True
            timer = threading.Timer(self.seconds, self.act)
            timer.daemon = True
            timer.start()


class Child:
    """A session in a process of its own; ``reported`` holds the keys of the outcomes that it said are done."""

    def __init__(self, project: Path, reports: str = "reports", moment: Moment | None = None) -> None:
        self.started = time.monotonic()
        self._pipe, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            self._live(project, reports, theirs, moment or Moment(lambda: None, 0))
        os.close(theirs)

    @staticmethod
    def _live(project: Path, reports: str, pipe: int, moment: Moment) -> None:
        code = 70
        try:
            os.setpgid(0, 0)
            os.chdir(project)
            log = os.open(project.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            put, stored = cache.OutcomeCache.put, 0

            def told(self: cache.OutcomeCache, answers: Mapping[bytes, cache.CachedAnswer]) -> None:
                nonlocal stored
                put(self, answers)
                stored += len(answers)
                if self._db is not None:
                    os.write(pipe, b"".join(answers))
                moment.reached(stored)

            cache.OutcomeCache.put = told  # type: ignore[method-assign]
            moment.reached(0)
            code = int(pytest.main([*OPTIONS, f"--probe-dir={reports}", str(project)]))
        finally:
            os._exit(code)

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        data = b""
        while some := os.read(self._pipe, 1 << 16):
            data += some
        os.close(self._pipe)
        _, status = os.waitpid(self._pid, 0)
        self.seconds = time.monotonic() - self.started
        self.reported = [data[at : at + 16] for at in range(0, len(data) - 15, 16)]
        return os.waitstatus_to_exitcode(status)


def no_more_memory() -> None:
    """From now on the process gets no memory beyond what it has and 4 MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 4_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def the_model_raises() -> None:
    """From now on every layer norm raises."""

    def raising(self: Any, x: Any) -> Any:
        raise RuntimeError("the model raised")

    torch.nn.LayerNorm.forward = raising  # type: ignore[method-assign]


def signalled(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def joint_rows(run: store.Run) -> int:
    """Return how many outcomes the cumulative curves took: none for the baseline and for single heads."""
    rows = 0
    for entry in run.summary["curves"]:
        for point in entry["points"]:
            off = point["heads"] if entry["kind"] == "off" else len(entry["order"]) - point["heads"]
            # With every head off both lines meet: one of them counts.
            rows += point["items"] * (off > 1 and (entry["kind"] == "off" or point["heads"] > 0))
    return rows


class Interrupted:
    """Interruptions of the sweep of one project, each checked against the uninterrupted run."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        child, self.whole = self._uninterrupted()
        self.seconds = child.seconds
        self.rows = len(self.whole.outcomes) + joint_rows(self.whole)
        assert self.rows == len(set(child.reported)) == len(child.reported) > len(self.whole.outcomes)

    def _project(self) -> Path:
        project = Path(tempfile.mkdtemp(dir=self.folder)) / "project"
        project.mkdir()
        (project / "pytest.ini").write_text("[pytest]\n")
        for name in NAMES:
            (project / f"test_{name}.py").write_text(PROBE.format(name=name))
        return project

    def _uninterrupted(self) -> tuple[Child, store.Run]:
        project = self._project()
        child = Child(project)
        assert child.wait() in (0, 1), (project.parent / "log.txt").read_text()[-2000:]
        return child, store.read_run(project / "reports")

    def moment(self, way: str) -> int:
        """Interrupt a run in one *way*, check everything; return how many outcomes were reported before."""
        project = self._project()
        child = getattr(self, f"_{way}")(project)
        reported = set(child.reported)
        try:
            self._check_store(project, reported)
            rerun = Child(project)
            assert rerun.wait() in (0, 1), (project.parent / "log.txt").read_text()[-3000:]
            assert not reported & set(rerun.reported), "an outcome that was done has been computed again"
            self._check_files(store.read_run(project / "reports"))
            self._check_store(project, reported | set(rerun.reported))
        finally:
            subprocess.run(["umount", "-q", project / "reports", project], capture_output=True, check=False)
        shutil.rmtree(project.parent)
        return len(reported)

    def _struck(self, project: Path, act: Callable[[], object]) -> Child:
        """Run a session to which *act* happens: at any time, or while it sweeps or measures the curves."""
        sweeping = self.rng.random() < 0.75
        outcomes = self.rng.randrange(self.rows) if sweeping else 0
        seconds = self.rng.uniform(0, 0.01 if sweeping else self.seconds)
        child = Child(project, moment=Moment(act, seconds, outcomes))
        child.wait()
        return child

    def _kill(self, project: Path) -> Child:
        return self._struck(project, signalled(signal.SIGKILL))

    def _ctrl_c(self, project: Path) -> Child:
        return self._struck(project, signalled(signal.SIGINT))

    def _memory(self, project: Path) -> Child:
        return self._struck(project, no_more_memory)

    def _raising(self, project: Path) -> Child:
        return self._struck(project, the_model_raises)

    def _full_disk(self, project: Path) -> Child:
        """A small file system, or where that may not be mounted a limit on the size of files."""
        size = self.rng.randrange(100_000, 1_500_000)
        keep = {path.name: path.read_text() for path in project.iterdir()}
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", project]
        if self.rng.random() < 0.5 or subprocess.run(mount, capture_output=True, check=False).returncode:
            limit = (self.rng.randrange(4096, size), resource.RLIM_INFINITY)
            return self._struck(project, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        for name, text in keep.items():
            (project / name).write_text(text)
        child = Child(project)
        child.wait()
        subprocess.run(["mount", "-o", "remount,size=64m", project], check=True)
        return child

    def _read_only(self, project: Path) -> Child:
        reports = project / "reports"
        reports.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", reports], capture_output=True, check=False).returncode:
            child = self._struck(project, lambda: reports.chmod(0o500))
            reports.chmod(0o700)
            return child
        child = self._struck(project, lambda: subprocess.run(["mount", "-o", "remount,ro", reports], check=False))
        subprocess.run(["mount", "-o", "remount,rw", reports], check=True)
        return child

    def together(self) -> None:
        """Two sessions at once on one store; each writes the files of the uninterrupted run."""
        project = self._project()
        pair = [Child(project, "first"), Child(project, "second")]
        for child in pair:
            assert child.wait() in (0, 1), (project.parent / "log.txt").read_text()[-3000:]
        for reports in ("first", "second"):
            self._check_files(store.read_run(project / reports))
        self._check_store(project, {key for child in pair for key in child.reported})
        third = Child(project)
        third.wait()
        assert not third.reported

    @staticmethod
    def _check_store(project: Path, reported: set[bytes]) -> None:
        path = project / cache.FOLDER / cache.FILE
        assert not path.with_suffix(".damaged").exists()
        if not path.exists():
            assert not reported
            return
        db = sqlite3.connect(path)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            kept = Counter(key for (key,) in db.execute("SELECT key FROM outcomes")) if reported else Counter()
        finally:
            db.close()
        assert reported <= kept.keys(), "an outcome that was reported done is lost"
        assert set(kept.values()) <= {1}, "an outcome is double"

    def _check_files(self, run: store.Run) -> None:
        assert len(run.outcomes) == len(self.whole.outcomes)
        for again, once in zip(run.outcomes, self.whole.outcomes, strict=True):
            left, right = again.as_dict(), once.as_dict()
            assert left.pop("answer_logprob") == pytest.approx(right.pop("answer_logprob"), abs=1e-4)
            assert left == right
        settled, whole = (dict(_settled(summary)) for summary in (run.summary, self.whole.summary))
        assert settled.keys() == whole.keys()
        for path, value in settled.items():
            # Rounding both would not do: a number on the edge of two roundings differs by any last digit.
            assert value == (pytest.approx(whole[path], abs=1e-3) if isinstance(value, float) else whole[path]), path


def _settled(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what of ``run.json`` must be the same, leaf by leaf: all but what was timed and how it was computed."""
    if isinstance(value, dict | list) and value:
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            if path or key not in ("timing", "engine"):
                yield from _settled(entry, f"{path}/{key}")
    else:
        yield path, value


WAYS = ("kill", "ctrl_c", "memory", "full_disk", "read_only", "raising")


def main() -> int:
    """Run the moments that the command line asks for, and say what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="begin with this moment, to go on after a slice")
    parser.add_argument("--seconds", type=float, help="stop after so long, to go on later with --first")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    began = time.monotonic()
    counts: Counter[str] = Counter()
    before = total = 0
    number = given.first
    try:
        runs = Interrupted(folder, random.Random(given.first))
        print(f"uninterrupted: {len(runs.whole.outcomes)} outcomes in {runs.seconds:.1f} s")
        runs.together()
        for number in range(given.first, given.moments):
            if given.seconds and time.monotonic() - began > given.seconds:
                print(f"stopped before moment {number}")
                break
            way = WAYS[number % len(WAYS)]
            runs.rng.seed(number)
            done = runs.moment(way)
            counts[way] += 1
            before += done
            total += runs.rows
            print(f"{number} {way}: {done} outcomes before, none lost, none double, files the same", flush=True)
    except AssertionError:
        print(f"moment {number}:")
        traceback.print_exc(file=sys.stdout)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = ", ".join(f"{way} {count}" for way, count in counts.items())
    print(
        f"{sum(counts.values())} moments ({said}) and two sessions at once: nothing lost, nothing double;"
        f" {before} of {total} outcomes came before, {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
