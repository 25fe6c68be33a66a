"""The kill test: interrupts a sweep at random moments and compares the rerun with an uninterrupted run.

    python -m tests.robustness.kill_test --moments 200

Each moment is a real session on the bundled model, forked from a process that has imported everything, so that it takes
one second instead of five. After each interruption the outcome cache is intact, it holds every outcome that was
reported as done exactly once, the page is whole if there is one, and a rerun of the same command writes the files and
the page of the uninterrupted run.
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
import torch

from reasoning_probe.engine.cache import store as cache
from reasoning_probe.results import run as store
from tests.helpers.fork_server import import_everything

PROBE = "import reasoning_probe as rp\n\n@rp.probe({name!r})\ndef test_{name}(answer):\n    assert answer.correct\n"
NAMES = ("arithmetic", "logic", "multi_step")
OPTIONS = (
    "--ablate-heads",
    "-q",
    "--tb=no",
    *(f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "randomly")),
)


class Moment:
    """When *act* is called in a session: *seconds* after *outcomes* outcomes are stored."""

    def __init__(self, act: Callable[[], object], seconds: float, outcomes: int = 0) -> None:
        self.act, self.seconds, self.outcomes = act, seconds, outcomes
        self.started = False

    def reached(self, stored: int) -> None:
        """Start the timer once enough outcomes are *stored*."""
        if not self.started and stored >= self.outcomes:
            self.started = True
            timer = threading.Timer(self.seconds, self.act)
            timer.daemon = True
            timer.start()


class Child:
    """A session in a forked process; ``reported`` holds the keys of the outcomes that it reported as done."""

    def __init__(self, project: Path, reports: str = "reports", moment: Moment | None = None) -> None:
        self.started = time.monotonic()
        self._pipe, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            self._run(project, reports, writer, moment or Moment(lambda: None, 0))
        os.close(writer)

    @staticmethod
    def _run(project: Path, reports: str, pipe: int, moment: Moment) -> None:
        code = 70
        try:
            os.setpgid(0, 0)
            os.chdir(project)
            log = os.open(project.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            put, stored = cache.OutcomeCache.put, 0

            def put_and_report(self: cache.OutcomeCache, answers: Mapping[bytes, cache.CachedAnswer]) -> None:
                nonlocal stored
                put(self, answers)
                stored += len(answers)
                if self._db is not None:
                    os.write(pipe, b"".join(answers))
                moment.reached(stored)

            cache.OutcomeCache.put = put_and_report  # type: ignore[method-assign]
            moment.reached(0)
            code = int(pytest.main([*OPTIONS, f"--probe-dir={reports}", str(project)]))
        finally:
            os._exit(code)

    def wait(self) -> int:
        """Wait for the end of the process; return its exit status."""
        data = b""
        while part := os.read(self._pipe, 1 << 16):
            data += part
        os.close(self._pipe)
        _, status = os.waitpid(self._pid, 0)
        self.seconds = time.monotonic() - self.started
        self.reported = [data[start : start + 16] for start in range(0, len(data) - 15, 16)]
        return os.waitstatus_to_exitcode(status)


def no_more_memory() -> None:
    """Limit this process to its current memory and 4 MB more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 4_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def the_model_raises() -> None:
    """Make every layer norm raise."""

    def raising(self: Any, x: Any) -> Any:
        raise RuntimeError("the model raised")

    torch.nn.LayerNorm.forward = raising  # type: ignore[method-assign]


def signalled(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def joint_rows(run: store.Run) -> int:
    """Return how many outcomes the cumulative curves needed: none for the baseline and for single heads."""
    rows = 0
    for entry in run.summary["curves"]:
        for point in entry["points"]:
            off = point["heads"] if entry["kind"] == "off" else len(entry["order"]) - point["heads"]
            # Both curves share the point with every head off: count it once.
            rows += point["items"] * (off > 1 and (entry["kind"] == "off" or point["heads"] > 0))
    return rows


class Interrupted:
    """Interrupts the sweep of one project and checks each rerun against the uninterrupted run."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        child, self.uninterrupted = self._uninterrupted()
        self.seconds = child.seconds
        self.rows = len(self.uninterrupted.outcomes) + joint_rows(self.uninterrupted)
        assert self.rows == len(set(child.reported)) == len(child.reported) > len(self.uninterrupted.outcomes)

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

    def moment(self, kind: str) -> int:
        """Interrupt a run by *kind* of interruption, check everything; return the number of outcomes before it."""
        project = self._project()
        child = getattr(self, f"_{kind}")(project)
        reported = set(child.reported)
        try:
            self._check_store(project, reported)
            _check_page(project, needed=False)
            rerun = Child(project)
            assert rerun.wait() in (0, 1), (project.parent / "log.txt").read_text()[-3000:]
            assert not reported & set(rerun.reported), "an outcome that was done has been computed again"
            self._check_files(store.read_run(project / "reports"))
            _check_page(project)
            self._check_store(project, reported | set(rerun.reported))
        finally:
            subprocess.run(["umount", "-q", project / "reports", project], capture_output=True, check=False)
        shutil.rmtree(project.parent)
        return len(reported)

    def _struck(self, project: Path, act: Callable[[], object]) -> Child:
        """Run a session that calls *act* at a random time, mostly while it sweeps or measures the curves."""
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

    def _sigterm(self, project: Path) -> Child:
        return self._struck(project, signalled(signal.SIGTERM))

    def _memory(self, project: Path) -> Child:
        return self._struck(project, no_more_memory)

    def _raising(self, project: Path) -> Child:
        return self._struck(project, the_model_raises)

    def _full_disk(self, project: Path) -> Child:
        """Fill a small file system, or limit the size of files where mounting is not permitted."""
        size = self.rng.randrange(100_000, 1_500_000)
        files = {path.name: path.read_text() for path in project.iterdir()}
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", project]
        if self.rng.random() < 0.5 or subprocess.run(mount, capture_output=True, check=False).returncode:
            limit = (self.rng.randrange(4096, size), resource.RLIM_INFINITY)
            return self._struck(project, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        for name, text in files.items():
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
        """Run two sessions at once on one outcome cache; each writes the files of the uninterrupted run."""
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
            stored = Counter(key for (key,) in db.execute("SELECT key FROM outcomes")) if reported else Counter()
        finally:
            db.close()
        assert reported <= stored.keys(), "an outcome that was reported done is lost"
        assert set(stored.values()) <= {1}, "an outcome is double"

    def _check_files(self, run: store.Run) -> None:
        assert len(run.outcomes) == len(self.uninterrupted.outcomes)
        for outcome, expected in zip(run.outcomes, self.uninterrupted.outcomes, strict=True):
            left, right = outcome.as_dict(), expected.as_dict()
            assert left.pop("answer_logprob") == pytest.approx(right.pop("answer_logprob"), abs=1e-4)
            assert left == right
        again, once = (dict(_leaves(summary)) for summary in (run.summary, self.uninterrupted.summary))
        assert again.keys() == once.keys()
        for path, value in again.items():
            if path.startswith("/invocation/"):  # when it was started, and where
                continue
            # Comparing rounded values would fail where two nearly equal numbers round differently.
            assert value == (pytest.approx(once[path], abs=1e-3) if isinstance(value, float) else once[path]), path


def _check_page(project: Path, needed: bool = True) -> None:
    page = project / "reports" / "report.html"
    if needed or page.exists():
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), "the page is torn"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of ``run.json`` that must be equal: all but the timing and how the engine computed them."""
    if isinstance(value, dict | list) and value:
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            if path or key not in ("timing", "engine"):
                yield from _leaves(entry, f"{path}/{key}")
    else:
        yield path, value


KINDS = ("kill", "ctrl_c", "sigterm", "memory", "full_disk", "read_only", "raising")


def main() -> int:
    """Run the moments that the command line asks for, and print their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first moment, to continue an earlier call")
    parser.add_argument("--seconds", type=float, help="time limit; --first continues later")
    options = parser.parse_args()
    import_everything()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    started = time.monotonic()
    counts: Counter[str] = Counter()
    before = total = 0
    number = options.first
    try:
        runs = Interrupted(folder, random.Random(options.first))
        print(f"uninterrupted: {len(runs.uninterrupted.outcomes)} outcomes in {runs.seconds:.1f} s")
        runs.together()
        for number in range(options.first, options.moments):
            if options.seconds and time.monotonic() - started > options.seconds:
                print(f"stopped before moment {number}")
                break
            kind = KINDS[number % len(KINDS)]
            runs.rng.seed(number)
            done = runs.moment(kind)
            counts[kind] += 1
            before += done
            total += runs.rows
            print(f"{number} {kind}: {done} outcomes before, none lost, none double, files the same", flush=True)
    except AssertionError:
        print(f"moment {number}:")
        traceback.print_exc(file=sys.stdout)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    by_kind = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    print(
        f"{sum(counts.values())} moments ({by_kind}) and two sessions at once: nothing lost, nothing double;"
        f" {before} of {total} outcomes came before, {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
