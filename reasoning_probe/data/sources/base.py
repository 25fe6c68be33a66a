"""What every source of items shares: the opened source, and the error for data that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.utils.text import OneLineError, one_line

Format = Literal["plain", "gsm8k"]
"""How a source writes its answers: alone, or as GSM8K does at the end of a solution, ``#### N``."""

NumberedItems = Iterator[tuple[int, tuple[Item, Format]]]
"""The items of a source, each with its number, by which messages name it, and its format."""


NumberedRows = Iterator[tuple[int, object]]
"""The rows of a source, each with its number."""


class DatasetError(OneLineError):
    """A dataset that cannot be read; the message is one line with the file, the line number and the fix."""


@dataclass(frozen=True)
class OpenedSource:
    """A source that is being read.

    ``name`` and ``unit``, such as ``line`` or ``row``, say in messages where an item is; ``items`` are read one by one
    as they are needed; ``generation`` is how the source wants them answered, if it says so.
    """

    name: str
    unit: str
    items: NumberedItems
    generation: Generation | None = None


@contextmanager
def as_dataset_error(source: str) -> Iterator[None]:
    """Turn any exception raised while *source* is loaded into :class:`DatasetError`: its files are input, not code."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        text = one_line(error) or type(error).__name__
        low = f"{type(error).__name__} {text}".lower()
        if any(word in low for word in ("offline", "connection", "couldn't reach", "resolve", "timed out", "retries")):
            text = (
                "it is not on this machine and the hub cannot be reached: fetch it once where there is a network, or"
                " name a folder"
            )
        elif "doesn't exist" in low or "not found" in low or "notfound" in low:
            text = "there is no such dataset on the hub, or it is private: check the name"
        raise DatasetError(f"cannot load {source}: {text[:300]}") from error
