"""Files are written where they are named and nowhere else: through no link, over no device, and never half."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reasoning_probe.utils import files
from reasoning_probe.utils.files import (
    append_text,
    atomic_write_bytes,
    atomic_write_text,
    make_folder,
)
from reasoning_probe.utils.regular_files import read_regular_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with path.open() as reader:
        atomic_write_text(path, "new \ud800")
        assert reader.read() == "old"
    assert path.read_text() == "new \\ud800"
    assert names(tmp_path) == ["page.html"]


def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    atomic_write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


# -- links ----------------------------------------------------------------------------------------------------------


def test_links_that_somebody_prepared_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(3000):  # of the names that drafts had once, of all processes
        (folder / f".page.html.{number}").symlink_to(target)
    (folder / f".page.html.{os.getpid()}").unlink(missing_ok=True)
    (folder / f".page.html.{os.getpid()}").symlink_to(target)
    (folder / "page.html").symlink_to(target)
    atomic_write_text(folder / "page.html", "page")
    assert target.read_text() == "untouched"
    assert not (folder / "page.html").is_symlink()
    assert (folder / "page.html").read_text() == "page"


def test_a_draft_is_never_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    target = tmp_path / "target"
    (tmp_path / ".reasoning-probe-known.draft").symlink_to(target)
    with pytest.raises(FileExistsError) as caught:
        atomic_write_text(tmp_path / "page.html", "page")
    assert caught.value.filename == str(tmp_path / "page.html")
    assert not target.exists()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "figures").symlink_to("elsewhere")
    with pytest.raises(OSError, match="it is a link, which is not followed: remove it, or name another folder"):
        make_folder(tmp_path / "figures")
    make_folder(tmp_path / "new" / "figures")
    make_folder(tmp_path / "new" / "figures")
    assert (tmp_path / "new" / "figures").is_dir()


# -- what is no regular file ------------------------------------------------------------------------------------------


def test_a_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        atomic_write_text(tmp_path, "page")
    assert caught.value.filename == str(tmp_path)


def test_a_socket_is_refused_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("page")
        with pytest.raises(OSError, match="it is a socket or a disk: name a file"):
            atomic_write_text(tmp_path / "page", "page")
    assert stat.S_ISSOCK((tmp_path / "page").stat().st_mode)
    assert names(tmp_path) == ["page"]


def test_a_named_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = b"page" * 100_000  # more than a pipe holds
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    atomic_write_bytes(pipe, content)
    reader.join(10)
    assert read == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "READER_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    for write in (atomic_write_text, append_text):
        with pytest.raises(OSError, match="nobody reads this pipe") as caught:
            write(tmp_path / "pipe", "page")
        assert caught.value.filename == str(tmp_path / "pipe")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_written_into_and_stays(device: str) -> None:
    before = os.stat(device)
    atomic_write_text(Path(device), "page")
    append_text(Path(device), "page")
    assert os.stat(device).st_rdev == before.st_rdev
    assert stat.S_ISCHR(os.lstat(device).st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which may make devices")
def test_a_device_anywhere_is_written_into_and_stays(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))  # /dev/full
        os.mknod(tmp_path / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 255))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(OSError, match=r"No space left on device|Operation not permitted"):
        atomic_write_text(tmp_path / "full", "page")
    with pytest.raises(OSError, match="it is a socket or a disk: name a file"):
        atomic_write_text(tmp_path / "disk", "page")
    assert names(tmp_path) == ["disk", "full"]
    assert stat.S_ISCHR((tmp_path / "full").stat().st_mode)


def test_nothing_is_made_among_the_devices() -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write_text(Path("/dev/no-such-page"), "page")
    assert not Path("/dev/no-such-page").exists()


WRITE = """
import sys
from pathlib import Path
from reasoning_probe.utils.files import atomic_write_text
print("before")
atomic_write_text(Path(sys.argv[1]), "page\\n")
print("after")
"""


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("how", ["pipe", "file", "appended file"])
def test_the_output_is_written_into_wherever_it_goes(tmp_path: Path, path: str, how: str) -> None:
    links = {link: os.lstat(link).st_mode for link in ("/dev/stdout", "/dev/fd")}
    command = [sys.executable, "-c", WRITE, path]
    if how == "pipe":
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    else:
        file = tmp_path / "output"
        file.write_text("earlier\n")
        with file.open("a" if how == "appended file" else "w") as output:
            subprocess.run(command, stdout=output, check=True)
        text = file.read_text()
        assert names(tmp_path) == ["output"]
    assert text == ("earlier\n" if how == "appended file" else "") + "before\npage\nafter\n"
    assert {link: os.lstat(link).st_mode for link in links} == links


# -- reading --------------------------------------------------------------------------------------------------------


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"run")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular_file(tmp_path / "file") == read_regular_file(tmp_path / "link") == b"run"
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match=r"it is a (pipe|device|socket), not a file"):
            read_regular_file(path)
    with pytest.raises(IsADirectoryError):
        read_regular_file(tmp_path)
