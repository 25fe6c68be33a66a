"""The markers of the plugin, and the decorator that makes a test function a probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from types import FunctionType
from typing import Any, TypeVar

import pytest

from reasoning_probe.data.items import Item

Test = TypeVar("Test", bound=Callable[..., Any])


def register_markers(config: pytest.Config) -> None:
    """Register the markers ``probe`` and ``ablated``."""
    config.addinivalue_line(
        "markers",
        "probe(source, name=None, fields=None, owner=None): ask every item of a reasoning dataset: a built-in's name,"
        " a file, hf:NAME:SPLIT, lm-eval:TASK or Items; written as the decorator reasoning_probe.probe, which"
        " editors check",
    )
    config.addinivalue_line("markers", "ablated: a probe's case with attention heads switched off")


def probe(
    source: str | PathLike[str] | Iterable[Item],
    name: str | None = None,
    fields: Mapping[str, str | Sequence[str]] | None = None,
    owner: str | None = None,
) -> Callable[[Test], Test]:
    """Ask every item of *source* in the decorated test, once as it is and once for every switched-off target.

    *source* is a built-in dataset (``arithmetic``, ``multi_step``, ``logic``, ``gsm8k``), harder questions of one
    (``arithmetic:digits=3,steps=4``), a file (``.jsonl``, ``.json``, ``.csv``, ``.parquet``), whose relative path
    starts at the test module's folder, a dataset of the Hugging Face hub (``hf:openai/gsm8k:test``), a task of
    lm-evaluation-harness (``lm-eval:arc_easy``), or any iterable of :class:`~reasoning_probe.Item`. *name* is what
    reports and ``--probe-dataset`` call it; by default the built-in's name, the file's stem, or the test's name without
    ``test_``. *fields* names the fields of a file or of a hub's dataset whose names are not known:
    ``{"question": "q", "context": ["story", "rules"], "answer": "a"}``. *owner* is whom reports name
    when answers get worse, by default those that the repository's ``CODEOWNERS`` names for the test's file.

    The test asks for the fixture ``answer``, an :class:`~reasoning_probe.Outcome`::

        @probe("my_questions.jsonl")
        def test_my_questions(answer):
            assert answer.correct
    """
    if isinstance(source, FunctionType):  # @probe without parentheses gets the test itself; collection refuses it
        bare: Any = pytest.mark.probe()(source)
        return bare
    return pytest.mark.probe(source, name=name, fields=fields, owner=owner)
