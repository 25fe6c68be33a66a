"""What a session and the commands write lands where it is named: in no device's place and behind no prepared link."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reasoning_probe import cli
from reasoning_probe.results.run import write_run
from tests.helpers.fake_runs import full_run
from tests.helpers.planted_model import CARRIER, COLOUR_PROBE
from tests.helpers.project import Project
from tests.helpers.usage_errors import GOOD

COMMANDS = {
    "report": ["report", "run"],
    "csv": ["export", "run", "--format", "csv"],
    "targets": ["export", "run", "--format", "csv", "--table", "targets"],
    "parquet": ["export", "run", "--format", "parquet"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path / "run", full_run(items=20))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str) -> bytes:
    """Return what the command writes into a file."""
    assert cli.main([*COMMANDS[name], "-o", "file"]) == 0
    return Path("file").read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_into_the_output(folder: Path, name: str) -> None:
    code = "import sys; from reasoning_probe.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *COMMANDS[name], "-o", "/dev/stdout"]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == written(name)
    assert stat.S_ISLNK(os.lstat("/dev/stdout").st_mode)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_into_a_device_and_a_pipe(folder: Path, name: str) -> None:
    assert cli.main([*COMMANDS[name], "-o", "/dev/null"]) == 0
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    assert cli.main([*COMMANDS[name], "-o", "pipe"]) == 0
    reader.join(10)
    assert read == [written(name)]
    assert stat.S_ISFIFO(os.lstat("pipe").st_mode)


def test_a_command_follows_no_prepared_link(folder: Path) -> None:
    target = folder / "target"
    target.write_text("untouched")
    for name in ("report.html", "outcomes.csv", "targets.csv"):
        (folder / "run" / name).symlink_to(target)
    for command in (COMMANDS["report"], COMMANDS["csv"], COMMANDS["targets"]):
        assert cli.main(command) == 0
    assert target.read_text() == "untouched"
    assert not any(path.is_symlink() for path in (folder / "run").iterdir())


def test_figures_go_into_no_folder_that_is_a_link(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "run" / "figures").symlink_to(folder / "elsewhere")
    assert cli.main(["report", "run", "--figures"]) == 2
    assert "it is a link, which is not followed" in capsys.readouterr().err
    assert list((folder / "elsewhere").iterdir()) == []


# -- sessions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def colours(project: Project) -> Project:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", GOOD)
    return project


def test_a_session_follows_no_prepared_link(colours: Project) -> None:
    target = colours.write("target", "untouched")
    reports = colours.path / "reports"
    reports.mkdir()
    names = ("run.json", "outcomes.jsonl", "report.html")
    for name in names:
        (reports / name).symlink_to(target)
    colours.run("--probe-heads", CARRIER, page=True)
    assert target.read_text() == "untouched"
    assert not any((reports / name).is_symlink() for name in names)
    assert json.loads((reports / "run.json").read_text("utf-8"))["datasets"]
    assert "Content-Security-Policy" in (reports / "report.html").read_text("utf-8")


def test_figures_of_a_session_go_into_no_folder_that_is_a_link(colours: Project) -> None:
    (colours.path / "elsewhere").mkdir()
    (colours.path / "reports").mkdir()
    (colours.path / "reports" / "figures").symlink_to(colours.path / "elsewhere")
    result = colours.run("--probe-heads", CARRIER, "--probe-figures")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "figures: it is a link, which is not followed" in " ".join(result.outlines)
    assert list((colours.path / "elsewhere").iterdir()) == []
    assert colours.outcomes()


@pytest.mark.parametrize("place", ["/dev/null", "pipe"])
def test_a_page_in_a_device_or_a_pipe(colours: Project, place: str) -> None:
    read: list[bytes] = []
    reader = None
    if place == "pipe":
        os.mkfifo(colours.path / "pipe")
        reader = threading.Thread(target=lambda: read.append((colours.path / "pipe").read_bytes()))
        reader.start()
    colours.run("--probe-heads", CARRIER, f"--html={place}", "--self-contained-html", page=True)
    if reader is not None:
        reader.join(20)
        assert read[0].startswith(b"<!DOCTYPE html>")
        assert b"Content-Security-Policy" in read[0]
    mode = os.lstat(colours.path / place).st_mode
    assert stat.S_ISFIFO(mode) if place == "pipe" else stat.S_ISCHR(mode)


def test_the_page_and_the_junit_file_in_the_output(colours: Project) -> None:
    options = ["--html=/dev/stdout", "--self-contained-html", "--junitxml=/dev/stderr", "--probe-min-accuracy=0"]
    result = colours.run_apart("--probe-heads", CARRIER, *options, page=True)
    output = result.stdout.str()
    assert "<!DOCTYPE html>" in output
    assert "the gate's checks are not in /dev/stderr, which is not a file" in " ".join(output.split())
    assert "<testsuites" in result.stderr.str()
    assert all(stat.S_ISLNK(os.lstat(link).st_mode) for link in ("/dev/stdout", "/dev/stderr"))


def test_a_junit_file_behind_the_users_own_link_is_completed_there(colours: Project) -> None:
    (colours.path / "junit.xml").symlink_to("real.xml")
    colours.run("--junitxml=junit.xml", "--probe-min-accuracy=0")
    assert (colours.path / "junit.xml").is_symlink()
    assert "reasoning_probe.gate" in (colours.path / "real.xml").read_text("utf-8")


def test_a_usage_error_leaves_the_last_page(colours: Project) -> None:
    colours.run("--probe-heads", CARRIER, page=True)
    page = colours.path / "reports" / "report.html"
    before = page.read_bytes()
    shutil.rmtree(colours.path / "__pycache__", ignore_errors=True)
    colours.write("conftest.py", "def pytest_reasoning_probe_judge(item, response, truncated):\n    return 5\n")
    result = colours.run("--probe-heads", CARRIER, "--probe-fresh", page=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert page.read_bytes() == before
