"""The versions of everything that can change an answer."""

from __future__ import annotations


def versions() -> dict[str, str]:
    """Return the versions of everything that can change an answer."""
    import platform
    from importlib.metadata import version

    names = ("reasoning-probe", "torch", "transformers", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
