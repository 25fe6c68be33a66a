"""Tasks of lm-evaluation-harness: ``lm-eval:gsm8k``, or ``lm-eval:FILE.yaml`` for a task in a file.

``lm-eval`` must be installed (extra ``lm-eval``). A task supplies questions, prompts, choices, right answers, and what
ends a generated answer. Answers are scored by this package, which makes no difference for multiple choice. Few-shot
examples come from ``--probe-shots``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.base import DatasetError, NumberedItems, OpenedSource, as_dataset_error
from reasoning_probe.data.sources.fields import Fields
from reasoning_probe.data.sources.lm_eval_files import check_task_file, sandboxed_templates
from reasoning_probe.data.sources.records import Number, item_of
from reasoning_probe.utils.logging import silence_datasets

MOST_TOKENS = 256
"""The new tokens that lm-evaluation-harness allows if a task sets no limit."""

_PLAIN = re.compile(r"Question: (.*)\nAnswer:", re.DOTALL)


def open_task(source: str, fields: Fields | None = None, trusted: bool = False) -> OpenedSource:
    """Return the questions of the task that *source* names. Raises :class:`DatasetError`, one line.

    A task file that is not *trusted* runs no code: see ``lm_eval_files.py``.
    """
    if fields:
        raise DatasetError(f"{source}: a task names its fields itself: leave out those that you name")
    sandbox = nullcontext if trusted or not _is_file(source) else sandboxed_templates
    with sandbox():
        task = _load_task(source, trusted)
    with as_dataset_error(source), silence_datasets(), sandbox():
        kind = task.config.output_type
        if kind not in ("generate_until", "multiple_choice"):
            raise DatasetError(f"{source} is of the type {kind}: only generate_until and multiple_choice have answers")
        docs = task.eval_docs
        generation = _generation(task) if kind == "generate_until" else None
    return OpenedSource(source, "item", _items(task, docs, source, sandbox), generation)


def _is_file(source: str) -> bool:
    return source.strip().endswith((".yaml", ".yml"))


def _load_task(source: str, trusted: bool) -> Any:
    """Return the one task of lm-evaluation-harness that *source* names."""
    name = source.removeprefix("lm-eval:").strip()
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise DatasetError(f"{source}: needs lm-eval: pip install 'reasoning-probe[lm-eval]'") from None
    with as_dataset_error(source), silence_datasets():
        if _is_file(source):
            if not Path(name).exists():
                raise DatasetError(f"{source}: there is no file {name}: give the path of a task's .yaml file")
            if not trusted:
                check_task_file(Path(name), source)
            manager, wanted = TaskManager(include_defaults=False), str(Path(name).absolute())
        else:
            manager, wanted = TaskManager(), name
            if name not in manager.all_tasks:
                raise DatasetError(
                    f"{source}: lm-eval has no task {name[:60]!r}: its command lm-eval ls tasks lists them"
                )
        tasks = manager.load(wanted)["tasks"]
        if len(tasks) != 1:
            some = ", ".join(list(tasks)[:6])
            raise DatasetError(f"{source} is a group of {len(tasks)} tasks: name one of them, such as {some}")
        (task,) = tasks.values()
    return task


def _generation(task: Any) -> Generation:
    """Return where an answer to a generating *task* ends."""
    settings = task.config.generation_kwargs or {}
    until = settings.get("until") or []
    stop = tuple([until] if isinstance(until, str) else until)
    if not all(isinstance(text, str) for text in stop):
        raise DatasetError("until in generation_kwargs is no text and no list of texts")
    return Generation(int(settings.get("max_gen_toks", MOST_TOKENS)), stop)


def _items(task: Any, docs: Any, source: str, sandbox: Callable[[], AbstractContextManager[None]]) -> NumberedItems:
    for number, doc in enumerate(docs, 1):
        where = f"{source}, item {number}"
        with as_dataset_error(where), sandbox():
            row = _row(task, doc, where)
        yield number, item_of(row, where)


def _row(task: Any, doc: Any, where: str) -> dict[str, Any]:
    """Return the question in *doc* under the names of the fields that ``records.py`` reads."""
    text = task.doc_to_text(doc)
    if not isinstance(text, str):
        raise DatasetError(f"{where}: it has several prompts, which is not supported")
    target = task.doc_to_target(doc)
    if isinstance(target, list):
        target = target[0] if target else ""
    prompt = (task.config.description or "") + text
    delimiter = task.config.target_delimiter
    if delimiter != " " and not prompt[-1:].isspace():
        if not delimiter:
            raise DatasetError(f"{where}: nothing separates its prompt from the answer, which is not supported")
        prompt += delimiter
    plain = _PLAIN.fullmatch(prompt)
    row: dict[str, Any] = {"question": plain[1]} if plain else {"question": text, "prompt": prompt}
    if task.config.output_type == "multiple_choice":
        row["choices"] = [str(choice) for choice in task.doc_to_choice(doc)]
        row["answer"] = Number(target) if isinstance(target, int) else str(target)
    else:
        row["answer"] = str(target)
    return row
