"""What every source of items shares: the opened source, and how a library's errors and bars are quieted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.records import DatasetError, Format


@contextmanager
def as_dataset_error(source: str) -> Iterator[None]:
    """Turn whatever loading raises into one line: a hub's files are input, not code."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        low = f"{type(error).__name__} {said}".lower()
        if any(word in low for word in ("offline", "connection", "couldn't reach", "resolve", "timed out", "retries")):
            said = (
                "it is not on this machine and the hub cannot be reached: fetch it once where there is a network, or"
                " name a folder"
            )
        elif "doesn't exist" in low or "not found" in low or "notfound" in low:
            said = "there is no such dataset on the hub, or it is private: check the name"
        raise DatasetError(f"cannot load {source}: {said[:300]}") from error


@contextmanager
def silence_datasets() -> Iterator[None]:
    """Silence the libraries' bars and advice."""
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bar()


@dataclass(frozen=True)
class OpenedSource:
    """A source that is being read: its name, its ``unit``, its numbered items, and how it wants them answered."""

    shown: str
    unit: str
    items: Iterator[tuple[int, tuple[Item, Format]]]
    generation: Generation | None = None
