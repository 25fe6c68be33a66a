"""A full disk at the page, the figures, the JUnit file or the reference: one line, exit code 4, the earlier file whole.

Each session runs in a mount namespace of its own, in which a small tmpfs is the folder that fills up. That needs root.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.planted_model import COLOUR_PROBE, COLOURS
from tests.helpers.project import Project

_UNSHARE = ["unshare", "--mount", "--propagation", "private"]


def mounts_are_allowed() -> bool:
    """Tell whether this process may mount a file system in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs tmpfs /mnt"
    return subprocess.run([*_UNSHARE, "sh", "-c", script], capture_output=True, check=False).returncode == 0


needs_root = pytest.mark.skipif(not mounts_are_allowed(), reason="needs root: it mounts a file system")


@dataclass(frozen=True)
class Ending:
    code: int
    output: str
    saved: Path  # a copy of the small disk


def on_small_disk(project: Project, folder: str, kilobytes: int, *options: str, full: bool = False) -> Ending:
    """Run a session while *folder* is a disk of so many *kilobytes*, which holds the folder's files, or is *full*."""
    disk, saved = project.path / folder, project.path / "saved"
    disk.mkdir(exist_ok=True)
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree(disk, saved)
    script = (
        'mount -t tmpfs -o "size=$1k" tmpfs "$2" && cp -r "$3/." "$2/"\n'
        '[ "$4" = full ] && dd if=/dev/zero "of=$2/filler" bs=1k 2>/dev/null\n'
        'disk="$2"; saved="$3"; shift 4\n'
        '"$@"; code=$?\n'
        'rm -f "$disk/filler"; rm -r "$saved"; cp -r "$disk" "$saved"; exit $code\n'
    )
    pytest_command = [project.forked_python(), "-m", "pytest", "-p", "no:randomly", "-p", "no:hypothesispytest"]
    disk_arguments = [str(kilobytes), str(disk), str(saved), "full" if full else "free"]
    done = subprocess.run(
        [*_UNSHARE, "sh", "-c", script, "sh", *disk_arguments, *pytest_command, f"--model={project.model}", *options],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return Ending(done.returncode, done.stdout + done.stderr, saved)


def told_in_one_line(ending: Ending, file: str) -> None:
    assert ending.code == pytest.ExitCode.USAGE_ERROR, ending.output
    assert "Traceback" not in ending.output
    assert "INTERNALERROR" not in ending.output
    (line,) = [line for line in ending.output.splitlines() if "No space left on device" in line]
    assert line.startswith("reasoning-probe: cannot write "), line
    assert file in line


@pytest.fixture
def colours(project: Project) -> Project:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", COLOURS)
    return project


@needs_root
def test_a_page_that_does_not_fit_leaves_the_earlier_one_whole(colours: Project) -> None:
    colours.run("-k", "sky", page=True)
    earlier = (colours.path / "reports" / "report.html").read_bytes()
    ending = on_small_disk(colours, "reports", len(earlier) // 1024 + 60)
    told_in_one_line(ending, "report")
    assert (ending.saved / "report.html").read_bytes() == earlier
    assert len((ending.saved / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert not [path for path in ending.saved.iterdir() if path.name.startswith(".")]
    assert "page: " not in ending.output
    colours.run(page=True)
    assert colours.summary()["engine"]["recalled"] == 3


@needs_root
def test_files_that_do_not_fit_leave_the_earlier_ones_whole(colours: Project) -> None:
    colours.run("-k", "sky", page=True)
    earlier = {path.name: path.read_bytes() for path in (colours.path / "reports").iterdir()}
    ending = on_small_disk(colours, "reports", sum(map(len, earlier.values())) // 1024 + 12, full=True)
    told_in_one_line(ending, "")
    assert {path.name: path.read_bytes() for path in ending.saved.iterdir()} == earlier


@needs_root
def test_figures_that_do_not_fit(colours: Project) -> None:
    ending = on_small_disk(colours, "reports", 48, "--ablate-heads", "--probe-figures")
    told_in_one_line(ending, "")
    assert len((ending.saved / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()) == 27


@needs_root
def test_a_junit_file_that_does_not_fit(colours: Project) -> None:
    ending = on_small_disk(colours, "junit", 4, "--junitxml=junit/junit.xml", "--probe-min-accuracy=0.5", full=True)
    told_in_one_line(ending, "")
    assert len(colours.outcomes()) == 3


@needs_root
def test_a_reference_that_does_not_fit_stays_as_it_was(colours: Project) -> None:
    colours.run("--probe-reference=kept/reference.jsonl", "--probe-update-reference")
    earlier = (colours.path / "kept" / "reference.jsonl").read_bytes()
    options = ("--probe-reference=kept/reference.jsonl", "--probe-update-reference")
    colours.write("colours.jsonl", COLOURS.replace("snow", "grass is not snow"))
    ending = on_small_disk(colours, "kept", 8, *options, full=True)
    told_in_one_line(ending, "reference")
    assert (ending.saved / "reference.jsonl").read_bytes() == earlier
    assert len(colours.outcomes()) == 3
