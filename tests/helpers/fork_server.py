"""A Python whose libraries are imported already: each program that it starts is a fork of one server.

A session in a process of its own takes seconds of processor time to import torch and transformers, one with two
workers of pytest-xdist three times as much. ``forked_python`` gives an executable that behaves as ``python -c`` and
``python -m`` do: in the caller's folder, environment and mounts, with its standard streams and its signals. What
libraries read from the environment on import, they have read in the server: a test of that takes ``sys.executable``.
"""

from __future__ import annotations

import array
import ctypes
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType

ROOT = Path(__file__).parents[2]

CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    program = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
    server.sendmsg([len(program).to_bytes(4, "big")], [streams])
    server.sendall(program)
    process = int.from_bytes(server.recv(4), "big")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: os.kill(process, number))
    for stream in (0, 1, 2):
        os.close(stream)  # a reader of the program's output sees its end when the program ends
    status = server.recv(4)
os._exit(int.from_bytes(status, "big") if status else 1)
"""


@contextmanager
def forked_python(folder: Path) -> Iterator[Path]:
    """Start a server and yield the executable that has it fork; the executable is written into *folder*."""
    with tempfile.TemporaryDirectory() as short:  # a socket's address has at most 107 bytes
        address = f"{short}/socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            executable = folder / "python"
            executable.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
            executable.chmod(0o755)
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.fork_server", str(listener.fileno())],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # a process that has threads must not fork
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # its end is the server's end, even where this process is killed
                stdout=subprocess.DEVNULL,
            )
            yield executable
            server.communicate()


def import_package() -> None:
    """Import every module of the package."""
    import reasoning_probe

    for module in pkgutil.walk_packages(reasoning_probe.__path__, "reasoning_probe."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def import_everything() -> None:
    """Import what a session imports, so that no fork of this process has to."""
    import pytest

    with tempfile.TemporaryDirectory() as empty:  # imports the plugins as pytest does, by its hook
        options = ["-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
        pytest.main(["--rootdir", empty, "--quiet", *options, empty])
    import matplotlib.backends.backend_svg
    import matplotlib.style  # noqa: F401
    import scipy.stats  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast  # noqa: F401

    import_package()
    gc.freeze()  # a fork copies the pages that its garbage collector writes to


def _reap(signum: int, frame: FrameType | None) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _received(client: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    streams = array.array("i")
    head, ancillary, _, _ = client.recvmsg(4, socket.CMSG_LEN(3 * streams.itemsize))
    for _, _, data in ancillary:
        streams.frombytes(data)
    with client.makefile("rb") as file:
        argv, folder, environment = json.loads(file.read(int.from_bytes(head, "big")))
    return argv, folder, environment, list(streams)


def _enter_mounts(client: socket.socket) -> None:
    """Make the mounts that the client's process sees those of this process, which ``unshare`` may have set apart."""
    caller, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    mounts = f"/proc/{caller}/ns/mnt"
    if os.stat(mounts).st_ino != os.stat("/proc/self/ns/mnt").st_ino:
        with open(mounts) as file:
            failed = ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0)  # os.setns is of Python 3.12
        assert not failed, os.strerror(ctypes.get_errno())


def _serve(listener: socket.socket) -> bool:
    """Fork for each program until standard input ends; return whether this is a fork, which must run its program."""
    while listener in select.select([listener, 0], [], [])[0]:
        client, _ = listener.accept()
        if os.fork():
            client.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        argv, folder, environment, streams = _received(client)
        program = os.fork()
        if program:  # waits for the program, to tell its caller how it ended
            for stream in streams:
                os.close(stream)
            client.sendall(program.to_bytes(4, "big"))
            code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
            client.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))
            os._exit(0)
        _enter_mounts(client)
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.executable, *sys.argv = argv
        return True
    return False


def _run_program() -> None:
    """Run what follows ``-c`` or ``-m`` on the command line."""
    while sys.argv[0] == "-u":
        del sys.argv[0]
    option, value = sys.argv[0][:2], sys.argv[0][2:] or sys.argv.pop(1)
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = ["" if option == "-c" else os.getcwd(), *filter(None, folders)]
    sys.argv[0] = option
    if option == "-m":
        runpy.run_module(value, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(value, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        import_everything()
        signal.signal(signal.SIGCHLD, _reap)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        is_program = _serve(listener)
    if is_program:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _run_program()
