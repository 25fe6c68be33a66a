"""Datasets of the Hugging Face hub: ``hf:openai/gsm8k:test``, ``hf:NAME:CONFIG:SPLIT``, ``hf:FOLDER:SPLIT``.

The library ``datasets`` must be installed (extra ``datasets``). A folder is one that its ``save_to_disk`` wrote, or one
that holds data files. No code of a dataset is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasoning_probe.data.sources.base import DatasetError, NumberedRows, OpenedSource, as_dataset_error
from reasoning_probe.data.sources.fields import Fields
from reasoning_probe.data.sources.files import check_parquet
from reasoning_probe.data.sources.hub_folder import MODULES, check_files, check_folder
from reasoning_probe.data.sources.packed_files import check_packed
from reasoning_probe.data.sources.records import plain
from reasoning_probe.data.sources.shapes import numbered_items
from reasoning_probe.utils.logging import silence_datasets

_SYNTAX = "write hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, for example hf:openai/gsm8k:test"


def open_hub(source: str, fields: Fields | None = None, trusted: bool = False) -> OpenedSource:
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
        if Path(name).is_dir():
            check_folder(Path(name), source)
            table = _on_disk(datasets, name) or _data_files(datasets, name, config, source)
        else:
            table = datasets.load_dataset(name, config or _config(datasets, name))
        if isinstance(table, dict):  # of splits
            table = table[_split(source, split, list(table))]
        table = _without_media(table)
    return OpenedSource(source, "row", numbered_items(_rows(table, source), source, "row", fields))


def _rows(table: Any, source: str) -> NumberedRows:
    rows = enumerate(table, 1)
    while True:
        with as_dataset_error(source):
            numbered = next(rows, None)
            if numbered is None:
                return
            number, row = numbered[0], plain(dict(numbered[1]))
        yield number, row


def _data_files(datasets: Any, folder: str, config: str | None, source: str) -> Any:
    """Return the dataset that the data files in *folder* make up, which must lie in it."""
    builder = datasets.load_dataset_builder(folder, config or _config(datasets, folder))
    module = type(builder).__module__.rpartition(".")[2]
    if module not in MODULES:
        raise DatasetError(f"{source}: its files are of the kind {module}: save them as JSON lines, CSV or Parquet")
    files = [file for split in (builder.config.data_files or {}).values() for file in split]
    check_files(files, Path(folder), source)
    for file in files:
        check_packed(Path(file), source)
        if module == "parquet":
            check_parquet(Path(file))
    builder.download_and_prepare()
    return builder.as_dataset()


def _without_media(table: Any) -> Any:
    """Return *table* without columns of images, sounds and the like, whose cells name files or addresses to open."""
    media = [name for name, feature in (getattr(table, "features", None) or {}).items() if not _is_data(feature)]
    return table.remove_columns(media) if media else table


def _is_data(feature: Any) -> bool:
    """Tell whether *feature*, the type of a column, is plain data at every depth."""
    if isinstance(feature, dict):
        return all(map(_is_data, feature.values()))
    if isinstance(feature, list | tuple):
        return all(map(_is_data, feature))
    if hasattr(feature, "feature"):  # a list of some feature
        return _is_data(feature.feature)
    return not hasattr(feature, "decode_example")


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
