"""Outcome stores that a session has used and closed."""

from __future__ import annotations

from pathlib import Path

from reasoning_probe.engine.cache.store import OutcomeCache


def attached(folder: Path) -> OutcomeCache:
    """Return the closed store in *folder*, which is made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    store = OutcomeCache(folder)
    store.attach(b"m" * 16, {})
    store.close()
    return store
