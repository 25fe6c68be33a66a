"""The capture of log records in cases that run no model.

pytest adds two handlers to every logger that does not propagate, before each of a test's three phases, and removes them
after it. torch has some fifty such loggers, so that a case that only looks up an answer spends most of its time there.
While such a case runs, torch's and transformers' loggers propagate, and pytest's handlers on the root logger get their
records.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

_PACKAGES = ("torch", "transformers")


@contextmanager
def propagating_loggers() -> Iterator[None]:
    """While open, the loggers of torch and transformers propagate to the root logger."""
    loggers = [logger for logger in _silent_loggers(len(logging.root.manager.loggerDict)) if not logger.propagate]
    for logger in loggers:
        logger.propagate = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.propagate = False


@lru_cache(maxsize=1)
def _silent_loggers(count: int) -> tuple[logging.Logger, ...]:
    """Return the loggers of torch and transformers that do not propagate.

    They are looked for again once the *count* of all loggers has changed, of which there are hundreds.
    """
    return tuple(
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.startswith(_PACKAGES) and isinstance(logger, logging.Logger) and not logger.propagate
    )
