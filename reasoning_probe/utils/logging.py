"""Silencing other libraries: their advice and progress bars, which are about options that our users do not have."""

from __future__ import annotations

import logging as stdlib_logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers and the Hugging Face hub's library inside the context."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with _errors_only("huggingface_hub"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"transformers\.")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def silence_datasets() -> Iterator[None]:
    """Silence the library datasets and those by which it downloads inside the context."""
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        with _errors_only("datasets", "huggingface_hub", "fsspec"):
            yield
    finally:
        if bars:
            datasets.enable_progress_bar()


@contextmanager
def _errors_only(*names: str) -> Iterator[None]:
    """Let the loggers *names* report nothing but errors inside the context."""
    loggers = [stdlib_logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(stdlib_logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
