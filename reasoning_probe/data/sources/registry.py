"""Sources of items: from a short text to the items that it names.

==========================  ===========================================================  ======================
source                      items                                                        module
==========================  ===========================================================  ======================
``questions.jsonl``         a JSON object in each line                                   ``files.py``
``questions.json``          a list of JSON objects                                       ``files.py``
``questions.csv``           a row for each item; also ``.tsv`` and ``.parquet``          ``files.py``
``hf:NAME[:CONFIG]:SPLIT``  a dataset of the Hugging Face hub, or a folder as ``NAME``   ``hub.py``
``lm-eval:TASK``            a task of lm-evaluation-harness, or its ``.yaml`` file       ``lm_eval_tasks.py``
==========================  ===========================================================  ======================

To add a source here:

1. Choose a scheme, the word before the first colon of the text, as in ``hf:...``.
2. Write a module with a function that takes the text, the fields that the user names, and whether the user trusts its
   code, and returns an :class:`~reasoning_probe.data.sources.base.OpenedSource`. Turn its rows into items with
   :func:`~reasoning_probe.data.sources.shapes.numbered_items`, which knows the fields, and yield the rows one by one,
   so that a limit reads no further. Data that cannot be read raises
   :class:`~reasoning_probe.data.sources.base.DatasetError` with one line that says what to do;
   :func:`~reasoning_probe.data.sources.base.as_dataset_error` turns a library's exceptions into it.
3. Add the function to :data:`OPENERS`, and the scheme to :data:`PATH_SCHEMES` if a path may follow it.

A repository adds a source of its own without changing this package, by the hook ``pytest_reasoning_probe_source``:
``examples/conftest.py`` has one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from reasoning_probe.data.sources.base import OpenedSource
from reasoning_probe.data.sources.fields import Fields, split_fields
from reasoning_probe.data.sources.files import open_file
from reasoning_probe.data.sources.hub import open_hub
from reasoning_probe.data.sources.lm_eval_tasks import open_task

OPENERS: dict[str, Callable[[str, Fields | None, bool], OpenedSource]] = {"hf": open_hub, "lm-eval": open_task}
"""The function that opens a source, by scheme; a text of any other scheme, or of none, is the path of a file."""

PATH_SCHEMES = ("hf", "lm-eval")
"""The schemes that a path may follow."""


def open_source(source: str | os.PathLike[str], trusted: bool = False) -> OpenedSource:
    """Return the source named *source*, of which as little as possible is read yet; a *trusted* one may run code.

    The names of its fields may follow it, ``questions.csv:question=q,context=story,answer=a`` (see ``fields.py``).

    Raises :class:`~reasoning_probe.data.sources.base.DatasetError`, now or while its items are read.
    """
    text, fields = split_fields(os.fspath(source))
    opener = OPENERS.get(scheme_of(text) or "") if isinstance(source, str) else None
    if opener is not None:
        return opener(text, fields, trusted)
    return open_file(Path(os.path.expanduser(text)), fields)  # unlike Path.expanduser, this never raises


def scheme_of(source: str | os.PathLike[str]) -> str | None:
    """Return the scheme of *source*, the word before its first colon; a drive's letter is none.

    >>> scheme_of("hf:openai/gsm8k:test"), scheme_of("questions.jsonl"), scheme_of("data/a:b.jsonl")
    ('hf', None, None)
    """
    match = re.match(r"([a-z][\w-]+):", source) if isinstance(source, str) else None
    return match[1] if match else None


def located(source: str | os.PathLike[str], folder: Path) -> str | Path:
    """Return *source* with its path, if it has one, taken as relative to *folder*."""
    scheme = scheme_of(source)
    if scheme is None:
        return folder / source
    rest = str(source)[len(scheme) + 1 :]
    path, colon, more = rest.partition(":")
    if scheme in PATH_SCHEMES and (folder / path).exists():
        return f"{scheme}:{folder / path}{colon}{more}"
    return str(source)
