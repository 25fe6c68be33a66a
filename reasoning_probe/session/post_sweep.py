"""What is measured after the sweep, from what it found: the control task and the cumulative curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reasoning_probe.results.record import ControlRecord, CurveRecord


@dataclass
class PostSweep:
    """The results, as far as they got: what was computed before is worth more, so nothing that happens here ends a run.

    ``error`` says in a line why something is missing.
    """

    control: ControlRecord | None = None
    curves: list[CurveRecord] | None = None
    error: str = ""

    @property
    def attempted(self) -> bool:
        """Whether there is anything to tell."""
        return self.control is not None or self.curves is not None or bool(self.error)

    def measure(
        self, control: Callable[[], ControlRecord | None], curves: Callable[[], Iterable[list[CurveRecord]]]
    ) -> None:
        """Run the *control* task, then the *curves*, which come a dataset at a time."""
        try:
            self.control = control()
            for entries in curves():
                self.curves = [*(self.curves or ()), *entries]
        except KeyboardInterrupt:
            self.error = "interrupted while control task and curves were measured: the same command goes on"
        except Exception as error:  # whatever a model raises with many heads off
            said = " ".join(str(error).split())[:200]
            self.error = f"control task and curves are not complete: {type(error).__name__}: {said}"
