"""The files of a model by name, in its folder or in the hub's cache, and its JSON files as objects.

Every file is regular and of a bounded size before anything reads it, and JSON that is nested too deep is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.utils.regular_files import check_regular, read_bytes
from reasoning_probe.utils.text import one_line

LARGEST_JSON = 200_000_000
"""Bytes of a JSON file; the largest tokenizers in use have 40 million."""

DEEPEST = 60
"""Levels of lists and objects in a JSON file; tokenizers have ten."""


_READ = (".json", ".jinja", ".safetensors", ".bin", ".model", ".txt", ".tiktoken")
"""The endings of the files of a model that libraries read."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of the model *name*: those of a folder, or of a revision of a hub's model.

    ``location`` is the folder or the hub id. A *shared* folder, such as that of a ``.gguf`` file, may hold anything
    else beside the model.
    """

    name: str
    location: str
    revision: str | None = None
    shared: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder, if the model is one."""
        folder = Path(self.location)
        return folder if folder.is_dir() else None

    def path(self, file: str) -> Path | None:
        """Return where *file* is, ``None`` if the model has none; a hub's file is fetched if it is not here yet."""
        if self.folder is not None:
            path = self.folder / file
            return path if path.exists() else None
        from transformers.utils.hub import cached_file

        try:
            cached = cached_file(
                self.location,
                file,
                revision=self.revision,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_connection_errors=False,
            )
        except (OSError, ValueError):  # no such model, or no network: transformers explains it when it loads the config
            return None
        return None if cached is None else Path(cached)

    def json(self, file: str) -> dict[str, Any]:
        """Return the JSON object in *file*, empty if the model has none. Raises :class:`ModelError`."""
        path = self.path(file)
        return {} if path is None else read_object(path, self.name)

    def check_regular(self, endings: tuple[str, ...] = ("",)) -> None:
        """Raise :class:`ModelError` for a pipe, a device or a socket among the folder's files with these *endings*."""
        if self.folder is None:
            return
        for path in _entries(self.folder):
            if self.shared and path.suffix not in _READ:
                continue
            try:
                mode = path.stat().st_mode
                if not path.is_dir():
                    check_regular(mode, path)
            except FileNotFoundError:
                continue  # a link that leads nowhere, which whoever needs it reports
            except OSError as error:
                raise ModelError(
                    f"cannot load the model {self.name}: {path.name} cannot be read ({error.strerror}): put the file"
                    " in its place"
                ) from None


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of *folder*, and of the folder of its chat templates."""
    yield from folder.iterdir()
    templates = folder / "additional_chat_templates"
    if templates.is_dir():
        yield from templates.iterdir()


def read_object(path: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in the file *path* of the model *name*. Raises :class:`ModelError`, one line."""
    try:
        data = read_bytes(path, LARGEST_JSON)
    except OSError as error:
        raise ModelError(f"cannot load the model {name}: cannot read {path.name} ({error.strerror})") from None
    if len(data) > LARGEST_JSON:
        raise ModelError(f"cannot load the model {name}: {path.name} is longer than {LARGEST_JSON:,} bytes")
    try:
        content = json.loads(data)
    except RecursionError:
        raise _nested(path, name) from None
    except ValueError as error:
        raise ModelError(
            f"cannot load the model {name}: {path.name} is not JSON ({one_line(error, 80)}): download it again"
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"cannot load the model {name}: {path.name} is not a JSON object: download it again")
    if _deeper_than(content, DEEPEST):
        raise _nested(path, name)
    return content


def _nested(path: Path, name: str) -> ModelError:
    return ModelError(
        f"cannot load the model {name}: {path.name} is nested more than {DEEPEST} levels deep, which no valid file is"
    )


def _deeper_than(content: Any, most: int) -> bool:
    """Tell whether lists and objects lie more than *most* deep in each other."""
    level = [content]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
