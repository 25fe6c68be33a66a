"""SIGTERM and SIGHUP, which end a session of probes as Ctrl-C does.

CI systems and containers end a job by SIGTERM, a closed terminal or a lost connection by SIGHUP. The signal may reach
xdist's controller alone, so the controller passes it on: each worker leaves its process id in the folder that they
share.
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

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""


class Termination:
    """What these signals do in this session: one raises ``KeyboardInterrupt`` once, unless files are being written.

    ``received`` says that one came; the session then ends with pytest's exit code for an interruption.
    """

    def __init__(self) -> None:
        self.received = False
        self.workers: Path | None = None  # the folder in which xdist's workers leave their process ids
        self._held = False
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Handle the signals from now on, where nobody else does: ``nohup`` has SIGHUP ignored."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if number not in self._previous and signal.getsignal(number) is signal.SIG_DFL:
                    self._previous[number] = signal.signal(number, self._handle)

    def hold(self, held: bool = True) -> None:
        """Let a signal wait for the end of the session, while files are written, or raise again."""
        self._held = held

    def restore(self) -> None:
        """Give the signals back what they did before."""
        while self._previous:
            signal.signal(*self._previous.popitem())

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
