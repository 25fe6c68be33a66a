"""Where items come from: files, the Hugging Face hub, tasks of lm-evaluation-harness. A source is a short text.

======================  =============================================================================================
``questions.jsonl``     a JSON object a line (``records.py`` says which fields); ``.json`` holds
                        a list of them, ``.csv``, ``.tsv`` and ``.parquet`` a row an item
``hf:NAME[:CONFIG]:SPLIT``  a dataset of the hub, or a folder in place of NAME
``lm-eval:TASK``        a task of lm-evaluation-harness, or its ``.yaml`` file
======================  =============================================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from reasoning_probe.data.sources.base import OpenedSource
from reasoning_probe.data.sources.records import DatasetError, Format

__all__ = ["DatasetError", "Format", "OpenedSource", "located", "open_source", "scheme_of"]


def scheme_of(source: str | os.PathLike[str]) -> str | None:
    """Return what stands before the first colon of *source*, if it could be a scheme; a drive's letter is none.

    >>> scheme_of("hf:openai/gsm8k:test"), scheme_of("questions.jsonl"), scheme_of("data/a:b.jsonl")
    ('hf', None, None)
    """
    match = re.match(r"([a-z][\w-]+):", source) if isinstance(source, str) else None
    return match[1] if match else None


def located(source: str | os.PathLike[str], folder: Path) -> str | Path:
    """Return *source* with its path, if it is one, taken from *folder*."""
    scheme = scheme_of(source)
    if scheme is None:
        return folder / source
    rest = str(source)[len(scheme) + 1 :]
    path, colon, more = rest.partition(":")
    if scheme in ("hf", "lm-eval") and (folder / path).exists():
        return f"{scheme}:{folder / path}{colon}{more}"
    return str(source)


def open_source(source: str | os.PathLike[str]) -> OpenedSource:
    """Return what *source* holds, unread as far as that can be. Raises :class:`DatasetError`, then or while reading."""
    scheme = scheme_of(source)
    if scheme == "hf":
        from reasoning_probe.data.sources.hub import open_hub

        return open_hub(str(source))
    if scheme == "lm-eval":
        from reasoning_probe.data.sources.lm_eval_tasks import open_task

        return open_task(str(source))
    from reasoning_probe.data.sources.files import open_file

    return open_file(Path(os.path.expanduser(source)))  # unlike the method of Path, it never raises
