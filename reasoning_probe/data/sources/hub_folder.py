"""Checks of a folder of data before the library ``datasets`` opens it: it names files of its own folder alone.

A folder's ``README.md`` may say which files its splits are, ``dataset_dict.json`` and ``state.json`` say it for what
``save_to_disk`` wrote. Any of them may have come with the folder from somebody else, and could name a private file of
this machine, or an address.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.utils.regular_files import check_regular, is_inside, read_bytes
from reasoning_probe.utils.text import quoted

MOST_ENTRIES = 100_000
"""Files in a folder of data."""

LARGEST_CARD = 10_000_000
"""Bytes of a file that describes a folder."""

MOST_VALUES = 100_000
"""Values in a file of YAML, those that its anchors repeat counted as often as they are."""

MODULES = ("json", "csv", "parquet", "text", "arrow")
"""The readers of ``datasets`` that read data alone; another one reads Python's pickles."""

_CARDS = ("README.md", ".huggingface.yaml")


def check_folder(folder: Path, source: str) -> None:
    """Raise :class:`DatasetError`, one line, if *folder* holds pipes or devices, or names files that lie elsewhere."""
    for path in _entries(folder, source):
        if path.is_dir():
            continue
        try:
            check_regular(path.stat().st_mode, path)
        except OSError as error:
            raise DatasetError(f"{source}: cannot read {quoted(path.name)} ({error.strerror})") from None
        if not is_inside(path, folder):
            raise DatasetError(
                f"{source}: {quoted(path.name)} is a link out of the folder: put the file itself into the folder"
            )
    for card in _CARDS:
        for name in _texts(_front_matter(folder / card, source)):
            _check_name(name, card, source)
    for state in ("dataset_dict.json", "state.json"):
        for path in folder.rglob(state):
            content = _json(path, source)
            splits, files = content.get("splits"), content.get("_data_files")
            names = list(splits) if isinstance(splits, list) else []
            names += (
                [file.get("filename") for file in files if isinstance(file, Mapping)] if isinstance(files, list) else []
            )
            for name in names:
                _check_name(name, state, source)


def check_files(files: Iterable[str], folder: Path, source: str) -> None:
    """Raise :class:`DatasetError` if *files*, which ``datasets`` has chosen, lie outside of *folder*."""
    for file in files:
        if "://" in file or not is_inside(Path(file), folder):
            raise _elsewhere(source, "it", file)


def _entries(folder: Path, source: str) -> Iterator[Path]:
    count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > MOST_ENTRIES:
                raise DatasetError(f"{source}: the folder holds more than {MOST_ENTRIES:,} files: name a smaller one")
            yield Path(parent, name)


def _front_matter(path: Path, source: str) -> Any:
    """Return the part of a card that says what the folder's data are; ``None`` if it says nothing."""
    if not path.exists():
        return None
    try:
        text = read_bytes(path, LARGEST_CARD)[:LARGEST_CARD].decode("utf-8", "replace")
    except OSError as error:
        raise DatasetError(f"{source}: cannot read {path.name} ({error.strerror})") from None
    if path.suffix == ".md":
        # huggingface_hub's rule: any kind of line end, and an end that is a line of its own.
        match = re.match(r"\ufeff?\s*---\n(.*?)\n---[ \t]*(?:\n|\Z)", re.sub(r"\r\n?", "\n", text), re.DOTALL)
        text = match[1] if match else ""
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]

        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DatasetError(
            f"{source}: the head of {path.name} is not YAML ({reason}): correct it, or leave it out"
        ) from None
    if size_of(content) > MOST_VALUES:
        raise DatasetError(
            f"{source}: the head of {path.name} holds more than {MOST_VALUES:,} values, more than any card"
        )
    return content.get("configs") if isinstance(content, Mapping) else None


def size_of(value: Any) -> int:
    """Return how many values *value*, read from YAML, holds, itself included; one that holds itself has no end."""
    return _size(value, {}, set())


def _size(value: Any, known: dict[int, int], above: set[int]) -> int:
    if not isinstance(value, Mapping | list | tuple | set):
        return 1
    if id(value) in above or len(above) > 50:
        return MOST_VALUES + 1
    if id(value) not in known:
        inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) else list(value)
        known[id(value)] = 1 + sum(_size(entry, known, above | {id(value)}) for entry in inner)
    return known[id(value)]


def _json(path: Path, source: str) -> Mapping[str, Any]:
    try:
        content = json.loads(read_bytes(path, LARGEST_CARD)[:LARGEST_CARD])
    except (OSError, ValueError, RecursionError):
        raise DatasetError(f"{source}: {path.name} is not JSON: write the folder again with save_to_disk") from None
    return content if isinstance(content, Mapping) else {}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside *value*; a text that is shared by anchors of YAML is yielded once."""
    waiting, seen = [value], set()
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, Mapping | list) and id(entry) not in seen:
            seen.add(id(entry))
            waiting += entry.values() if isinstance(entry, Mapping) else entry


def _check_name(name: Any, where: str, source: str) -> None:
    """Raise :class:`DatasetError` if *name*, which *where* names, may lead out of the folder, or is an address."""
    if not isinstance(name, str):
        raise DatasetError(f"{source}: {where} names {quoted(name)}, which is no file")
    leads_out = os.path.isabs(name) or ".." in re.split(r"[\\/]", name) or re.match(r"[A-Za-z]:[\\/]", name)
    if leads_out or "://" in name or "::" in name or name.startswith("~"):
        raise _elsewhere(source, where, name)


def _elsewhere(source: str, where: str, name: str) -> DatasetError:
    return DatasetError(
        f"{source}: {where} names {quoted(name)}: a folder's data lie in the folder itself, not elsewhere and not at an"
        " address"
    )
