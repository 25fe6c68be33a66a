"""Checks of the files that hold weights: the ones that will be opened, by their first bytes, not by their names.

Which files these are is transformers' rule (``_get_resolved_checkpoint_files``): ``model.safetensors``, else the files
that its index names, else the same two of Python's pickle format where the user trusts it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.model_files import ModelFiles, read_object
from reasoning_probe.utils.regular_files import open_regular
from reasoning_probe.utils.text import one_line

SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER, PICKLED_ADAPTER = "adapter_model.safetensors", "adapter_model.bin"

MOST_SHARDS = 10_000
"""Files that an index names; the largest models have some hundreds."""

LONGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file, as its format limits them."""

_MOST_PER_STORED = 32
_SPARE_ELEMENTS = 500_000_000
"""How many numbers a model may have for each one on disk, and beyond: packed ones hold up to 32, and buffers lie on no
disk."""

Header = Mapping[str, Mapping[str, Any]]


def check_weights(files: ModelFiles, config: Mapping[str, Any], pickled: bool) -> None:
    """Raise :class:`ModelError` if the weights of a model are none, lie elsewhere, or are an untrusted pickle."""
    explicit = config.get("transformers_weights")
    if explicit is not None:
        _check_name(explicit, "config.json", files.name)
        if not explicit.endswith((".safetensors", SAFE_INDEX)):
            raise ModelError(
                f"cannot load the model {files.name}: transformers_weights in config.json is"
                f" {one_line(explicit, 60)!r}: it must be a .safetensors file or its index"
            )
    if files.folder is None:
        for index in (SAFE_INDEX,) if not pickled else (SAFE_INDEX, PICKLED_INDEX):
            content = files.json(index) if files.path(SAFE) is None else {}
            for file in _shards(content, index, files.name):
                _check_name(file, index, files.name)
                _check_suffix(file, index, files.name, pickled)
        return
    for path in _opened(files, explicit, pickled):
        check_first_bytes(path, files.name, pickled)


def _opened(files: ModelFiles, explicit: str | None, pickled: bool) -> list[Path]:
    """Return the files of weights in the folder that will be opened."""
    folder = files.folder
    assert folder is not None
    names = [SAFE, SAFE_INDEX] + ([PICKLED, PICKLED_INDEX] if pickled else [])
    first = explicit or next((file for file in names if (folder / file).is_file()), None)
    if first is None:
        pickle = next((file.name for pattern in ("*.bin", "*.bin.index.json") for file in folder.glob(pattern)), None)
        if pickle is not None and not pickled:
            raise untrusted_pickle(files.name, pickle)
        if next(folder.glob("*.safetensors"), None) is not None:
            raise ModelError(
                f"the folder {files.name} holds no {SAFE} and no {SAFE_INDEX}: call its weights by these names"
            )
        raise ModelError(
            f"the folder {files.name} holds no weights: there is no .safetensors or .bin file beside config.json"
        )
    if not first.endswith(".index.json"):
        return [folder / first]
    shards = []
    for file in _shards(read_object(folder / first, files.name), first, files.name):
        _check_name(file, first, files.name)
        _check_suffix(file, first, files.name, pickled)
        shards.append(folder / file)
    return shards


def _shards(index: Mapping[str, Any], file: str, name: str) -> list[str]:
    """Return the files that the *index* of weights names, each once."""
    weight_map = index.get("weight_map", {} if not index else None)
    if not isinstance(weight_map, Mapping) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise ModelError(
            f"cannot load the model {name}: {file} does not say which file holds which weight: download it again"
        )
    shards = sorted({*weight_map.values()})
    if len(shards) > MOST_SHARDS:
        raise ModelError(f"cannot load the model {name}: {file} names {len(shards):,} files, and no model has so many")
    return shards


def _check_name(file: Any, where: str, name: str) -> None:
    """Raise :class:`ModelError` if *file*, which *where* names, is not the name of a file of the same folder."""
    if not isinstance(file, str) or file in ("", ".", "..") or re.search(r"[\\/:\0]", file):
        raise ModelError(
            f"cannot load the model {name}: {where} names {one_line(repr(file), 60)}: it may only name files in"
            " its own folder"
        )


def _check_suffix(file: str, index: str, name: str, pickled: bool) -> None:
    if not pickled and not file.endswith(".safetensors"):
        raise untrusted_pickle(name, f"{one_line(file, 60)}, which {index} names")


def check_first_bytes(path: Path, name: str, pickled: bool) -> None:
    """Raise :class:`ModelError` if the file *path* is a Python pickle, or torch's archive of one, and not trusted."""
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except FileNotFoundError:
        return  # the library says which shard is missing
    except OSError as error:
        raise ModelError(
            f"cannot load the model {name}: cannot read {path.name} ({error.strerror}): put the file in its place"
        ) from None
    pickle = start.startswith((b"PK\x03\x04", b"\x80")) and start[8:9] != b"{"
    if not pickled and (pickle or not path.name.endswith(".safetensors")):
        raise untrusted_pickle(name, path.name)
    if pickle and path.name.endswith(".safetensors"):
        raise ModelError(f"cannot load the model {name}: {path.name} is a Python pickle: call it .bin")


def untrusted_pickle(name: str, file: str) -> ModelError:
    """Return the error for weights in Python's pickle format, which can run code when they are read."""
    return ModelError(
        f"the weights of {name} are a Python pickle ({file}), which can run code when it is read: convert them to"
        " safetensors, or trust them with --probe-allow-pickle"
    )


def adapter_weights(files: ModelFiles, pickled: bool) -> Path:
    """Return the file of weights of the adapter *files* that peft will open. Raises :class:`ModelError`."""
    folder = files.folder
    assert folder is not None
    for file in (ADAPTER, PICKLED_ADAPTER):
        if (folder / file).exists():
            check_first_bytes(folder / file, files.name, pickled)
            return folder / file
    raise ModelError(f"the adapter {files.name} holds no weights: there is no {ADAPTER} beside adapter_config.json")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in the safetensors file *path* by their names; none if it is no such file."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= LONGEST_HEADER else {}
        return {
            key: tuple(int(size) for size in entry["shape"]) for key, entry in header.items() if key != "__metadata__"
        }
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError):
        return {}  # the library says what is wrong with it


def stored_elements(files: ModelFiles, config: Mapping[str, Any], pickled: bool) -> int | None:
    """Return how many numbers the weights in a folder hold at most; ``None`` for a model of the hub."""
    if files.folder is None:
        return None
    paths = _opened(files, config.get("transformers_weights"), pickled)
    sizes = [(path, path.stat().st_size) for path in paths if path.is_file()]
    # A header can lie: no number takes less than half a byte of its file.
    return sum(
        min(sum(math.prod(shape) for shape in shapes(path).values()), 2 * size)
        if path.suffix == ".safetensors"
        else 2 * size
        for path, size in sizes
    )


def check_elements(elements: int, stored: int | None, name: str) -> None:
    """Raise :class:`ModelError` if a model of so many *elements* is far larger than the *stored* ones."""
    if stored is not None and elements > _MOST_PER_STORED * stored + _SPARE_ELEMENTS:
        raise ModelError(
            f"cannot load the model {name}: config.json describes a model of {elements:,} numbers, and its weights hold"
            f" {stored:,}: the two do not belong together"
        )


def largest_rank(tensor_shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the largest rank that an adapter with tensors of these shapes can have."""
    return max((min(shape[0], shape[1]) for shape in tensor_shapes if len(shape) >= 2), default=0)
