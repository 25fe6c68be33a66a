"""Calm: while very many cases are made, Python's garbage collector looks at them alone.

It runs each time that so many objects were made, and then looks at all there are: most are those of torch and
transformers, which are there to stay. That doubled the time of a collection of some thousand cases.
"""

from __future__ import annotations

import gc

_BUILT_IN = 1_000
"""Objects that Python itself may have set aside (3.12 does with some hundreds): with torch there are 100 times more."""


class GcFreeze:
    """From :meth:`begin` to :meth:`end`, what is there already is left alone by the collector."""

    def __init__(self) -> None:
        self._ours = False

    def freeze(self) -> None:
        """Set aside what is there, unless somebody else did something of the kind."""
        if self._ours or gc.get_freeze_count() < _BUILT_IN:
            gc.freeze()
            self._ours = True

    def unfreeze(self) -> None:
        """Take it back."""
        if self._ours:
            gc.unfreeze()
            self._ours = False
