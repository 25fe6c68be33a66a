"""The decorator that makes a test function a probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from types import FunctionType
from typing import Any, TypeVar

import pytest

from reasoning_probe.data.items import Item

Test = TypeVar("Test", bound=Callable[..., Any])


def probe(source: str | PathLike[str] | Iterable[Item], name: str | None = None) -> Callable[[Test], Test]:
    """Ask every item of *source* in the decorated test, once as it is and once for every switched-off target.

    *source* is a built-in dataset (``arithmetic``, ``multi_step``, ``logic``, ``gsm8k``), harder questions of one
    (``arithmetic:digits=3,steps=4``), a file (``.jsonl``, ``.json``, ``.csv``, ``.parquet``), whose relative path
    starts at the test module's folder, a dataset of the Hugging Face hub (``hf:openai/gsm8k:test``), a task of
    lm-evaluation-harness (``lm-eval:arc_easy``), or any iterable of :class:`~reasoning_probe.Item`. *name* is what
    reports and ``--probe-dataset`` call it; by default the built-in's name, the file's stem, or the test's name without
    ``test_``.

    The test asks for the fixture ``answer``, an :class:`~reasoning_probe.Outcome`::

        @probe("my_questions.jsonl")
        def test_my_questions(answer):
            assert answer.correct
    """
    if isinstance(source, FunctionType):  # @probe without parentheses: the test itself, of which collecting will tell
        bare: Any = pytest.mark.probe()(source)
        return bare
    return pytest.mark.probe(source, name=name)
