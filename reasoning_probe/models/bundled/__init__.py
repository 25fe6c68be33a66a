"""The bundled model, ``tiny-reasoner``, which ``training/`` in the repository makes."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Return the folder of the bundled model's weights, config and tokenizer."""
    return Path(__file__).parent / "tiny-reasoner"
