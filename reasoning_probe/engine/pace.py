"""How far the sweep is, and how fast, before its answers are handed over: what estimates of the time left rest on.

The engine takes many questions at a time and hands their answers over together, so that its counts and seconds stand
still for minutes on a large model. These numbers follow every pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Pausable:
    """Counts that passes beside the sweep have no part in."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While open, count nothing, for passes that are no part of the sweep."""
        before = vars(self).copy()
        try:
            yield
        finally:
            vars(self).update(before)


@dataclass
class Pace(Pausable):
    """What was answered, verified and decoded so far; ``depth`` adds up the share of the layers that each row runs."""

    rows: int = 0  # verified
    depth: float = 0.0
    row_tokens: float = 0.0  # of the rows, each by its share of the layers
    verify_s: float = 0.0
    diverged: int = 0
    decoded: int = 0  # diverged rows whose decoding is over
    tokens: int = 0  # that decoding wrote
    decoded_tokens: int = 0  # of the rows whose decoding is over
    baseline_tokens: int = 0
    decode_started: float | None = None
    past_decode_s: float = 0.0
    listener: Callable[[], None] = lambda: None  # called after each pass

    @property
    def decode_s(self) -> float:
        """The seconds of decoding, up to now."""
        running = 0.0 if self.decode_started is None else time.perf_counter() - self.decode_started
        return self.past_decode_s + running

    def add_verified(self, depths: list[float], tokens: int, diverged: int, started: float) -> None:
        """Count rows of so many *tokens* that were verified since *started*, each with the share of layers it ran."""
        self.rows += len(depths)
        self.depth += sum(depths)
        self.row_tokens += sum(depths) * tokens
        self.diverged += diverged
        self.verify_s += time.perf_counter() - started
        self.listener()

    @contextmanager
    def decoding(self, rows: int) -> Iterator[None]:
        """While open, *rows* are decoded; each pass adds to ``tokens``."""
        self.decode_started = time.perf_counter()
        try:
            yield
        finally:
            self.past_decode_s, self.decode_started = self.decode_s, None
        self.decoded += rows
        self.decoded_tokens = self.tokens

    def add_pass(self, rows: int) -> None:
        """Count a pass that appended a token to each of *rows*, if they are decoded."""
        if self.decode_started is not None:
            self.tokens += rows
            self.listener()

    @contextmanager
    def reported_to(self, listener: Callable[[], None]) -> Iterator[None]:
        """While open, call *listener* after each pass."""
        earlier, self.listener = self.listener, listener
        try:
            yield
        finally:
            self.listener = earlier
