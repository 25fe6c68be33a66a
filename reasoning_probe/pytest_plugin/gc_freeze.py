"""A pause of the garbage collector's work on old objects, while very many cases are made.

Python's garbage collector runs each time a number of objects was made, and then visits all objects. Most of them belong
to torch and transformers and are never freed. Visiting them doubled the time to collect some thousand cases.
"""

from __future__ import annotations

import gc

_FROZEN_BY_PYTHON = 1_000
"""Upper bound of the objects that Python itself freezes (3.12 freezes some hundreds); torch has 100 times more."""


class GcFreeze:
    """Freezes the objects that exist, so that the garbage collector skips torch's while tests are collected."""

    def __init__(self) -> None:
        self._frozen = False

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
