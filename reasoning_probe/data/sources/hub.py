"""Datasets of the Hugging Face hub: ``hf:openai/gsm8k:test``, ``hf:NAME:CONFIG:SPLIT``, ``hf:FOLDER:SPLIT``.

The library ``datasets`` must be installed (extra ``datasets``). A folder is one that its ``save_to_disk`` wrote, or one
that holds data files. No code of a dataset is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasoning_probe.data.sources.base import DatasetError, OpenedSource, as_dataset_error
from reasoning_probe.data.sources.fields import Fields
from reasoning_probe.data.sources.records import plain
from reasoning_probe.data.sources.shapes import numbered_items
from reasoning_probe.utils.logging import silence_datasets

_SYNTAX = "write hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, for example hf:openai/gsm8k:test"


def open_hub(source: str, fields: Fields | None = None) -> OpenedSource:
    """Return the rows that *source* names; *fields* are its fields by their role, if the user names them.

    Raises :class:`DatasetError`, one line.
    """
    name, *more = [part.strip() for part in source.removeprefix("hf:").split(":")]
    if not name or len(more) > 2 or not all(more):
        raise DatasetError(f"cannot read {source[:80]!r}: {_SYNTAX}")
    split = more[-1] if more else None
    config = more[0] if len(more) == 2 else None
    try:
        import datasets
    except ImportError:
        raise DatasetError(f"{source}: needs the library datasets: pip install 'reasoning-probe[datasets]'") from None
    with as_dataset_error(source), silence_datasets():
        table = _on_disk(datasets, name) if Path(name).is_dir() else None
        if table is None:
            table = datasets.load_dataset(name, config or _config(datasets, name))
        if isinstance(table, dict):  # of splits
            table = table[_split(source, split, list(table))]
    rows = ((number, plain(dict(row))) for number, row in enumerate(table, 1))
    return OpenedSource(source, "row", numbered_items(rows, source, "row", fields))


def _on_disk(datasets: Any, folder: str) -> Any:
    """Return the dataset that ``save_to_disk`` wrote into *folder*; ``None`` if it holds other files."""
    saved = ("dataset_dict.json", "state.json")
    return datasets.load_from_disk(folder) if any(Path(folder, name).is_file() for name in saved) else None


def _config(datasets: Any, name: str) -> str | None:
    """Return the config for a source that names none: ``default``, ``main``, or the only one."""
    names = list(datasets.get_dataset_config_names(name))
    default = next((known for known in ("default", "main") if known in names), None)
    if default is None and len(names) > 1:
        some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise DatasetError(f"hf:{name} has several configs: name one, hf:{name}:CONFIG:SPLIT ({some})")
    return default or (names[0] if names else None)


def _split(source: str, wanted: str | None, known: list[str]) -> str:
    if wanted in known:
        return str(wanted)
    if wanted is None and len(known) == 1:
        return known[0]
    reason = f"has no split {wanted!r}" if wanted else "names no split"
    raise DatasetError(f"{source} {reason}: use one of {', '.join(known[:10])}")
