"""Quiet: other libraries' advice and loading bars, which are about their own options, silenced for a while."""

from __future__ import annotations

import logging as stdlib_logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers and the hub."""
    from transformers.utils import logging

    hub = stdlib_logging.getLogger("huggingface_hub")
    level, hub_level, bars = logging.get_verbosity(), hub.level, logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.setLevel(stdlib_logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            logging.enable_progress_bar()
