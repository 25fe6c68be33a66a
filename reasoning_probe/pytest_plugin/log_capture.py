"""The capture of log records in cases that run no model.

Before each of a test's three phases pytest looks twice through all loggers, of which torch and transformers make
hundreds, and adds a handler to every one that does not propagate, of which torch has some fifty. A case that only looks
up an answer spends most of its time there. While such a case runs, torch's and transformers' loggers propagate, so that
pytest's handlers on the root logger get their records, and pytest sees only those of others that do not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import _pytest.logging

_PACKAGES = ("torch", "transformers")


@contextmanager
def propagating_loggers() -> Iterator[None]:
    """While open, torch's and transformers' loggers propagate to the root logger, and pytest looks at no other ones."""
    of_packages, of_others = _loggers(len(logging.root.manager.loggerDict))
    silent = [logger for logger in of_packages if not logger.propagate]
    for logger in silent:
        logger.propagate = True
    try:
        with _seen_by_pytest({logger.name: logger for logger in of_others if not logger.propagate}):
            yield
    finally:
        for logger in silent:
            logger.propagate = False


@lru_cache(maxsize=1)
def _loggers(count: int) -> tuple[list[logging.Logger], list[logging.Logger]]:
    """Return the loggers of torch and transformers that do not propagate, and all loggers of others.

    They are looked for again once the *count* of all loggers has changed, of which there are hundreds.
    """
    every = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    of_packages = [logger for logger in every if logger.name.startswith(_PACKAGES)]
    of_others = [logger for logger in every if not logger.name.startswith(_PACKAGES)]
    return [logger for logger in of_packages if not logger.propagate], of_others


class _FewLoggers:
    """The *manager* of all loggers, but its list has only *loggers*."""

    def __init__(self, manager: logging.Manager, loggers: dict[str, logging.Logger]) -> None:
        self._manager, self.loggerDict = manager, loggers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


@contextmanager
def _seen_by_pytest(loggers: dict[str, logging.Logger]) -> Iterator[None]:
    """While open, pytest sees *loggers* alone when it adds its handlers; whatever else asks for loggers sees all."""
    capture = getattr(_pytest.logging, "catching_logs", None)
    if capture is None:  # in another version of pytest, which goes on looking through all
        yield
        return
    add_handlers, root = capture.__enter__, logging.root
    few: Any = _FewLoggers(root.manager, loggers)

    def add_few_handlers(self: Any) -> Any:
        root.manager = few  # the root logger's own; all others have it from their class
        try:
            return add_handlers(self)
        finally:
            del root.manager

    capture.__enter__ = add_few_handlers
    try:
        yield
    finally:
        capture.__enter__ = add_handlers
