"""The versions of everything that can change an answer."""

from __future__ import annotations

import platform


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries that compute answers, by name."""
    from importlib.metadata import version

    names = ("reasoning-probe", "torch", "transformers", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
