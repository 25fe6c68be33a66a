"""Tasks of lm-evaluation-harness: ``lm-eval:gsm8k``, or ``lm-eval:FILE.yaml`` for a task of your own.

Needs ``lm-eval`` (extra ``lm-eval``). What is taken from a task are its questions, prompts, choices, right answers, and
where a generated answer ends; scoring is ours, for multiple choice the same. Few-shot examples are ``--probe-shots``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.sources.base import as_dataset_error, silence_datasets
from reasoning_probe.data.sources.records import DatasetError, Format, Number, item_of

if TYPE_CHECKING:
    from reasoning_probe.data.items import Item
    from reasoning_probe.data.sources.base import OpenedSource

MOST_TOKENS = 256
"""What lm-evaluation-harness generates where a task does not say."""

_PLAIN = re.compile(r"Question: (.*)\nAnswer:", re.DOTALL)


def open_task(source: str) -> OpenedSource:
    """Return the questions of the task that *source* names. Raises :class:`DatasetError`, one line."""
    from reasoning_probe.data.sources.base import OpenedSource

    name = source.removeprefix("lm-eval:").strip()
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise DatasetError(f"{source}: needs lm-eval: pip install 'reasoning-probe[lm-eval]'") from None
    with as_dataset_error(source), silence_datasets():
        if name.endswith((".yaml", ".yml")):
            if not Path(name).is_file():
                raise DatasetError(f"{source}: there is no file {name}: give the path of a task's .yaml file")
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
        kind = task.config.output_type
        if kind not in ("generate_until", "multiple_choice"):
            raise DatasetError(f"{source} is of the type {kind}: only generate_until and multiple_choice have answers")
        docs = task.eval_docs
    settings = task.config.generation_kwargs or {}
    until = settings.get("until") or []
    generation = None
    if kind == "generate_until":
        stop = tuple([until] if isinstance(until, str) else until)
        generation = Generation(int(settings.get("max_gen_toks", MOST_TOKENS)), stop)
    return OpenedSource(source, "item", _items(task, docs, source), generation)


def _items(task: Any, docs: Any, source: str) -> Iterator[tuple[int, tuple[Item, Format]]]:
    for number, doc in enumerate(docs, 1):
        where = f"{source}, item {number}"
        with as_dataset_error(where):
            row = _row(task, doc, where)
        yield number, item_of(row, where)


def _row(task: Any, doc: Any, where: str) -> dict[str, Any]:
    text = task.doc_to_text(doc)
    if not isinstance(text, str):
        raise DatasetError(f"{where}: its prompt is one of several: such tasks are not supported")
    target = task.doc_to_target(doc)
    if isinstance(target, list):
        target = target[0] if target else ""
    prompt = (task.config.description or "") + text
    delimiter = task.config.target_delimiter
    if delimiter != " " and not prompt[-1:].isspace():
        if not delimiter:
            raise DatasetError(f"{where}: nothing stands between its prompt and the answer: that is not supported")
        prompt += delimiter
    plain = _PLAIN.fullmatch(prompt)
    row: dict[str, Any] = {"question": plain[1]} if plain else {"question": text, "prompt": prompt}
    if task.config.output_type == "multiple_choice":
        row["choices"] = [str(choice) for choice in task.doc_to_choice(doc)]
        row["answer"] = Number(target) if isinstance(target, int) else str(target)
    else:
        row["answer"] = str(target)
    return row
