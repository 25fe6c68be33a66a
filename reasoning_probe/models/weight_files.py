"""Files of weights that a model reads while it runs: whether they are still what they were when it was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from reasoning_probe.models.errors import ModelError
from reasoning_probe.utils.text import one_line

_ENDINGS = (".safetensors", ".bin", ".gguf", ".index.json")


class _Stamp(NamedTuple):
    size: int
    modified_ns: int
    inode: int


class WeightFiles:
    """The size, time and inode of each file of weights in *folders*, as they are now."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._stamps = self._look()

    def _look(self) -> dict[Path, _Stamp]:
        stamps = {}
        for path in (path for folder in self.folders if folder.is_dir() for path in sorted(folder.iterdir())):
            if path.name.endswith(_ENDINGS):
                try:
                    status = path.stat()
                except OSError:  # it is going away just now
                    continue
                stamps[path] = _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
        return stamps

    def _changed(self) -> str:
        """Return a file that is another than when this object was made; empty where there is none."""
        now = self._look()
        return next((one_line(path, 200) for path in self._stamps if self._stamps[path] != now.get(path)), "")

    def check_loaded(self) -> None:
        """Raise :class:`ModelError`, one line, if a file changed while the model was loaded, a part of it before."""
        if file := self._changed():
            raise ModelError(
                f"{file} changed while it was loaded: run the same command again once nothing writes there"
            )

    def check(self) -> None:
        """Raise :class:`ModelError`, one line, if a file changed while the model ran and read from it."""
        if file := self._changed():
            raise ModelError(
                f"{file} changed while its weights were in use: the answers since"
                " then are dropped, those before are kept; run the same command again once nothing writes there"
            )
