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
    """The size, time and inode of each file of weights in *folder*, as they are now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamps = self._look()

    def _look(self) -> dict[str, _Stamp]:
        stamps = {}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name.endswith(_ENDINGS):
                try:
                    status = path.stat()
                except OSError:  # it is going away just now
                    continue
                stamps[path.name] = _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
        return stamps

    def check(self) -> None:
        """Raise :class:`ModelError`, one line, if a file is another than when this object was made."""
        now = self._look()
        changed = sorted(name for name in self._stamps if self._stamps[name] != now.get(name))
        if changed:
            raise ModelError(
                f"{one_line(self.folder / changed[0], 200)} changed while its weights were in use: the answers since"
                " then are dropped, those before are kept; run the same command again once nothing writes there"
            )
