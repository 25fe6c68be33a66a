"""SIGTERM, by which CI systems and containers end a job: it ends a session of probes as Ctrl-C does.

The signal reaches xdist's controller alone, so the controller passes it on: each worker leaves its process id in the
folder that they share.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

_PID = ".pid"


class Termination:
    """What SIGTERM does in this session: it raises ``KeyboardInterrupt`` once, unless files are being written.

    ``received`` says that it came; the session then ends with pytest's exit code for an interruption.
    """

    def __init__(self) -> None:
        self.received = False
        self.workers: Path | None = None  # the folder in which xdist's workers leave their process ids
        self._held = False
        self._previous: Any = None

    def install(self) -> None:
        """Handle the signal from now on, where nobody else does."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._previous is None and in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._previous = signal.signal(signal.SIGTERM, self._handle)

    def hold(self, held: bool = True) -> None:
        """Let the signal wait for the end of the session, while files are written, or raise again."""
        self._held = held

    def restore(self) -> None:
        """Give the signal back what it did before."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:  # a supervisor may send it to the whole group and again to each process
            return
        self.received = True
        for file in self.workers.glob(f"*{_PID}") if self.workers is not None else ():
            with suppress(OSError, ValueError):  # that worker has ended
                os.kill(int(file.read_text(encoding="utf-8")), signal.SIGTERM)
        if not self._held:
            raise KeyboardInterrupt


def leave_process_id(folder: Path, worker: str) -> None:
    """Tell xdist's controller, in the *folder* that it shares with its workers, which process is *worker*."""
    with suppress(OSError):  # on another machine there is no such folder
        (folder / f"{worker}{_PID}").write_text(str(os.getpid()), encoding="utf-8")
