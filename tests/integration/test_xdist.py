"""pytest-xdist: one process sweeps, the others read, and the files are those of one process."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models.errors import ModelError
from reasoning_probe.pytest_plugin import xdist
from reasoning_probe.pytest_plugin.xdist import SharedFolderError, XdistWorker, collect_parts, device_of, stripe
from reasoning_probe.session.plan import Case
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.project import Project

COUNTS_LOADS = """
import os, pathlib
from reasoning_probe.models import loading

load_model = loading.load_model

def counted(*args, **options):
    with open(pathlib.Path(__file__).parent / "loads", "a") as file:
        file.write(f"{os.getpid()}\\n")
    return load_model(*args, **options)

loading.load_model = counted
"""


def same_but_for_time(project: Project, alone: Path, shared: Path) -> None:
    """Compare the files of two runs: times, engine and command may differ, log-probabilities by 1e-4."""
    pairs = zip(project.outcomes(str(alone)), project.outcomes(str(shared)), strict=True)
    for one, other in pairs:
        assert one.pop("answer_logprob") == pytest.approx(other.pop("answer_logprob"), abs=1e-4)
        assert one == other
    assert settled(project.summary(str(alone))) == settled(project.summary(str(shared)))


def settled(summary: dict[str, Any]) -> dict[str, Any]:
    rounded = json.loads(json.dumps(summary), parse_float=lambda text: round(float(text), 4))
    return {key: value for key, value in rounded.items() if key not in ("timing", "engine", "invocation")}


@pytest.mark.parametrize("workers", [2, 4])
def test_one_process_loads_the_model_and_the_files_are_the_same(project: Project, workers: int) -> None:
    project.probe("logic", "arithmetic", "gsm8k")  # gsm8k's items do not fit the planted model and are skipped
    options = ("--probe-heads", "L1H2,L0", "--probe-describe=L1H2")
    project.run(*options, "--probe-cache=off", "--probe-dir=alone")
    heads = project.summary("alone")["heads"]
    assert {head["dataset"] for head in heads if head["scores"] and head["examples"]} == {"arithmetic", "logic"}
    project.write("conftest.py", COUNTS_LOADS)
    result = project.run_apart(*options, f"-n{workers}", "--probe-dir=shared")
    assert len((project.path / "loads").read_text().split()) == 1
    same_but_for_time(project, Path("alone"), Path("shared"))
    result.stdout.fnmatch_lines(["*= reasoning-probe =*", "logic *"])
    assert sorted(path.name for path in (project.path / "shared").iterdir()) == ["outcomes.jsonl", "run.json"]


DIES_ONCE = """
import os, pathlib, signal
from reasoning_probe.engine.engine import LocalEngine

run = LocalEngine.run

def dying(self, requests):
    marker = pathlib.Path(__file__).parent / "died"
    for number, batch in enumerate(run(self, requests)):
        if number == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

LocalEngine.run = dying
"""


def test_another_worker_takes_over_from_one_that_dies(project: Project) -> None:
    project.probe("logic", "arithmetic")
    options = ("--probe-heads", "L1H2,L0")
    project.run(*options, "--probe-cache=off", "--probe-dir=alone")
    project.write("conftest.py", DIES_ONCE)
    project.run_apart(*options, "-n2", "--probe-dir=shared")
    assert (project.path / "died").exists()
    same_but_for_time(project, Path("alone"), Path("shared"))
    assert project.summary("shared")["engine"]["recalled"] > 0


RAISES_AT_ONE = """
from reasoning_probe.engine.plain_path import PlainPath

baseline = PlainPath.baseline

def raising(self, encoded, stop):
    if encoded.prompt.shape[1] == {length}:
        raise RuntimeError("the model raised")
    return baseline(self, encoded, stop)

PlainPath.baseline = raising
"""


def test_what_the_model_raises_fails_its_item_alone(project: Project) -> None:
    project.probe("logic")
    lengths = {"syllogism-max-animal": 19, "exclusion-mia-cat": 0, "converse-leo-poet": 0, "compare-tom-taller": 0}
    from tests.helpers.planted_model import planted

    _, tokenizer = planted()
    project.run("--probe-cache=off")
    for outcome in project.outcomes():
        lengths[outcome["item"]] = len(tokenizer(outcome["prompt"])["input_ids"])
    assert list(lengths.values()).count(lengths["compare-tom-taller"]) == 1
    project.write("conftest.py", RAISES_AT_ONE.format(length=lengths["compare-tom-taller"]))
    result = project.run_apart("--probe-heads", "L1H2", "-n2")
    result.stdout.fnmatch_lines(["*RuntimeError: the model raised*"])
    assert result.parseoutcomes()["errors"] == 2
    assert project.summary()["partial"] == {"planned": 8, "done": 6}


def test_the_model_in_memory_is_made_by_one_process(project: Project) -> None:
    project.probe("logic")
    text = (
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def probe_model():\n"
        "    import pathlib, transformers\n"
        "    with open(pathlib.Path(__file__).parent / 'loads', 'a') as file: file.write('x')\n"
        "    return (transformers.AutoModelForCausalLM.from_pretrained({0!r}),"
        " transformers.AutoTokenizer.from_pretrained({0!r}))\n"
    )
    project.write("conftest.py", text.format(str(project.model)))
    project.run_apart("-n2").assert_outcomes(passed=3, failed=1)
    assert (project.path / "loads").read_text() == "x"


# -- interruptions, in this process -------------------------------------------------------------------------------


def working(folder: Path, planted_folder: Path) -> tuple[XdistWorker, list[Case]]:
    """Return a worker on the logic items with two heads ablated, and its cases."""
    session = ProbeSession(Settings(model=str(planted_folder), heads="L1H2,L0H0"))
    cases = session.cases(session.dataset("logic"))
    session.select(cases)
    return XdistWorker(session, folder, 0, 2), cases


def test_an_interrupted_sweep_hands_over_what_it_found(
    tmp_path: Path, planted_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LocalEngine.run

    def interrupted(self: LocalEngine, requests: Any) -> Iterator[Any]:
        for number, request in enumerate(requests):
            if number == 2:
                raise KeyboardInterrupt
            yield from run(self, [request])

    monkeypatch.setattr(LocalEngine, "run", interrupted)
    worker, cases = working(tmp_path, planted_folder)
    with pytest.raises(KeyboardInterrupt):
        worker.outcome(cases[0], lambda: None)
    worker.publish_rest()
    run_so_far = collect_parts(tmp_path, interrupted=True)
    assert run_so_far is not None
    assert run_so_far.summary["partial"] == {"planned": 12, "done": 6}
    assert [outcome.item for outcome in run_so_far.outcomes] == [case.key[1] for case in cases[:6]]


def test_who_does_not_let_go_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xdist, "INTERRUPTED_S", 0.1)
    with FileLock(tmp_path / "part-0.lock"):
        assert collect_parts(tmp_path, interrupted=True) is None


NO_LOCKS = """
import errno, fcntl

def no_locks(*args):
    raise OSError(errno.ENOLCK, "No locks available")

fcntl.flock = fcntl.lockf = no_locks
"""


def test_without_locks_every_process_computes_by_itself(project: Project) -> None:
    project.probe("logic")
    arguments = ["--probe-heads=L1H2", "--probe-items=4"]
    alone = project.run(*arguments, "--probe-dir=alone", "--probe-cache=off")
    project.write("conftest.py", NO_LOCKS)
    result = project.run_apart("-n", "2", *arguments, "--probe-dir=shared")
    assert result.ret == alone.ret
    same_but_for_time(project, project.path / "alone", project.path / "shared")
    problem = project.summary("shared")["engine"]["store"]
    assert "has no locks (No locks available): each process computes by itself" in problem
    assert "the run goes on without: " in problem
    result.stdout.no_fnmatch_line("*Traceback*")


def full(path: Path, text: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_temporary_folder_that_is_full_at_the_sweep_is_one_line(
    tmp_path: Path, planted_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, cases = working(tmp_path, planted_folder)
    monkeypatch.setattr(xdist, "atomic_write_text", full)
    with pytest.raises(SharedFolderError, match=r"cannot be used \(No space left on device\).* with TMPDIR"):
        worker.outcome(cases[0], lambda: None)


FULL_AT_THE_END = """
from reasoning_probe.pytest_plugin import xdist
from tests.integration.test_xdist import full

write = xdist.atomic_write_text
xdist.atomic_write_text = lambda path, text: (full if path.name.startswith("rest") else write)(path, text)
"""


def test_a_temporary_folder_that_is_full_at_the_end_is_one_line(project: Project) -> None:
    project.probe("logic")
    project.write("conftest.py", FULL_AT_THE_END)
    result = project.run_apart("-n1", "--ablate-heads", "--probe-items=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in [*result.outlines, *result.errlines] if "No space left on device" in line]
    assert lines
    assert all("cannot be used" in line and "name another folder with TMPDIR" in line for line in lines)
    result.stdout.no_fnmatch_line("*Traceback*")
    (project.path / "conftest.py").unlink()
    project.run("--ablate-heads", "--probe-items=2")
    assert project.summary()["engine"]["recalled"] == len(project.outcomes())


def test_what_is_wrong_before_the_sweep_ends_it(tmp_path: Path, planted_folder: Path) -> None:
    worker, cases = working(tmp_path, planted_folder)

    def prepare() -> None:
        raise ModelError("no such model")

    with pytest.raises(ModelError):
        worker.outcome(cases[0], prepare)
    worker.publish_rest()
    assert list(tmp_path.glob("*.json")) == []


# -- several GPUs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "gpus"), [(1, 1), (4, 2), (3, 8), (8, 8)])
def test_every_worker_takes_a_gpu_and_every_item_has_one_part(workers: int, gpus: int) -> None:
    parts = min(workers, gpus)
    assert {device_of(number, parts) for number in range(workers)} == {f"cuda:{number}" for number in range(parts)}
    items = [f"item-{number}" for number in range(23)]
    dealt = [stripe(items, part, parts) for part in range(parts)]
    assert sorted(item for part in dealt for item in part) == sorted(items)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_with_several_parts_the_order_is_the_plans(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts, as with two GPUs, on a single device."""
    project.probe("logic", "arithmetic")
    project.run("--probe-heads", "L1H2", "--probe-cache=off", "--probe-dir=alone")
    project.write(
        "conftest.py",
        "from reasoning_probe.pytest_plugin import xdist\nxdist.gpu_count = lambda session: 2\n"
        "xdist.device_of = lambda number, count: 'cpu'\n",
    )
    project.run_apart("--probe-heads", "L1H2", "-n2", "--probe-dir=shared")
    same_but_for_time(project, Path("alone"), Path("shared"))
