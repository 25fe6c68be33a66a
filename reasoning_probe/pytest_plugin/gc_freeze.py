"""A pause of the garbage collector's work on objects that stay: those of torch and transformers.

Python's garbage collector runs each time a number of objects was made, and then visits all objects. Most of them belong
to torch and transformers and are never freed. Visiting them again and again took a fifth of a short session's time,
half of it while these libraries were imported.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_FROZEN_BY_PYTHON = 1_000
"""Upper bound of the objects that Python itself freezes (3.12 freezes some hundreds); torch has 100 times more."""


class GcFreeze:
    """Freezes the objects that exist, so that the garbage collector skips torch's for the rest of a session."""

    def __init__(self) -> None:
        self._frozen = False

    @staticmethod
    @contextmanager
    def paused() -> Iterator[None]:
        """While open, which is while libraries are imported, the garbage collector does not run."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()

    def freeze(self) -> None:
        """Freeze the objects that exist, unless other code has frozen objects already."""
        if self._frozen or gc.get_freeze_count() < _FROZEN_BY_PYTHON:
            gc.freeze()
            self._frozen = True

    def unfreeze(self) -> None:
        """Unfreeze all objects, if :meth:`freeze` froze them."""
        if self._frozen:
            gc.unfreeze()
            self._frozen = False
