"""Checks of a task file before lm-evaluation-harness opens it: without trust it is data, and runs no code.

lm-eval imports the function that ``!function`` names, loads a metric or a dataset's reader by whatever name stands in
the file, and renders templates in an environment in which they reach ``os``. So the keys of a file are those of a list,
its names are names of data, and its templates are rendered in Jinja's sandbox. Whoever trusts the file says so with
``--probe-trust-remote-code``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasoning_probe.data.prompts.limits import bounded
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.data.sources.hub_folder import MODULES, MOST_VALUES, check_folder, size_of
from reasoning_probe.utils.patterns import may_never_end
from reasoning_probe.utils.regular_files import is_inside, read_bytes
from reasoning_probe.utils.text import quoted

LARGEST_FILE = 1_000_000
"""Bytes of a task file."""

MOST_INCLUDES = 20

KEYS = frozenset(
    (
        *("task", "task_alias", "tag", "output_type", "metadata", "repeats", "num_fewshot", "include", "version"),
        *("dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "test_split"),
        *("fewshot_split", "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix", "description"),
        *("target_delimiter", "fewshot_delimiter", "generation_kwargs", "metric_list", "filter_list"),
        *("should_decontaminate", "doc_to_decontamination_query"),
    )
)
"""The keys whose values are texts, numbers and names of data."""

_DATA_KWARGS = ("data_files", "data_dir", "split", "name", "revision")
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


def check_task_file(path: Path, source: str) -> None:
    """Raise :class:`DatasetError` if the task file *path*, or one that it includes, does more than name data."""
    path = path.resolve()  # as lm-eval does it: what a file behind a link includes lies beside that file
    waiting, seen = [path], set()
    while waiting:
        file = waiting.pop().resolve()
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > MOST_INCLUDES:
            raise DatasetError(f"{source}: more than {MOST_INCLUDES} files are included: write the task in one")
        task = _task(file, source)
        _check_keys(task, file, source)
        _check_dataset(task, file, source)
        included = task.get("include") or []
        for name in included if isinstance(included, list) else [included]:
            if not isinstance(name, str) or not is_inside(file.parent / name, path.parent):
                raise _untrusted(source, f"includes {quoted(name)}, which lies outside of its folder")
            waiting.append(file.parent / name)


def _task(path: Path, source: str) -> Mapping[str, Any]:
    """Return the content of the task file *path*, which holds plain values alone."""
    import yaml  # type: ignore[import-untyped, unused-ignore]

    try:
        data = read_bytes(path, LARGEST_FILE)
    except OSError as error:
        raise DatasetError(f"{source}: cannot read {quoted(path.name)} ({error.strerror})") from None
    if len(data) > LARGEST_FILE:
        raise DatasetError(
            f"{source}: {quoted(path.name)} is longer than {LARGEST_FILE:,} bytes, more than any task file"
        )
    try:
        # lm-eval's parser is the one in C, where PyYAML has it.
        loaders = [yaml.SafeLoader, *filter(None, [getattr(yaml, "CSafeLoader", None)])]
        readings = [loader(data).get_single_data() for loader in loaders]
    except yaml.constructor.ConstructorError as error:
        raise _untrusted(source, f"has the tag {quoted(_tag(error))}, which runs code") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DatasetError(f"{source}: {quoted(path.name)} is not YAML ({reason}): correct it") from None
    content = readings[0]
    if not isinstance(content, Mapping):
        raise DatasetError(f"{source}: {quoted(path.name)} holds no task: write task: NAME and what it asks")
    if any(size_of(reading) > MOST_VALUES for reading in readings):  # values repeated by anchors would be written out
        raise DatasetError(
            f"{source}: {quoted(path.name)} holds more than {MOST_VALUES:,} values, more than any task file"
        )
    if len(set(map(repr, readings))) > 1:
        raise DatasetError(f"{source}: {quoted(path.name)} is not YAML (it has two meanings): correct it")
    return content


def _tag(error: Any) -> str:
    match = re.search(r"tag '([^']*)'", str(error))
    return match[1] if match else str(getattr(error, "problem", error))


def _check_keys(task: Mapping[str, Any], path: Path, source: str) -> None:
    for key, value in task.items():
        if key not in KEYS and value is not None:
            raise _untrusted(source, f"sets {quoted(key)}, which can run code")
    if not isinstance(task.get("task", ""), str):
        raise DatasetError(f"{source}: {quoted(path.name)} is a group of tasks: name one of them")
    metrics = task.get("metric_list") or []
    if not isinstance(metrics, list) or not all(isinstance(entry, Mapping) for entry in metrics):
        raise DatasetError(f"{source}: metric_list in {quoted(path.name)} is not a list of metrics")
    for entry in metrics:
        metric = entry.get("metric")
        if not isinstance(metric, str) or entry.get("hf_evaluate") or metric not in _metrics():
            raise _untrusted(source, f"names the metric {quoted(metric)}, which is code from elsewhere")


def _metrics() -> Any:
    """Return the metrics that lm-eval itself has."""
    import lm_eval.api.metrics  # noqa: F401
    from lm_eval.api import registry

    return getattr(registry, "metric_registry", None) or getattr(registry, "METRIC_REGISTRY", ())


def _check_dataset(task: Mapping[str, Any], path: Path, source: str) -> None:
    """Raise :class:`DatasetError` if the data of a *task* are read by code, or lie elsewhere."""
    name = task.get("dataset_path")
    if name is not None and name not in MODULES:
        if not isinstance(name, str):
            raise _untrusted(source, f"names the dataset {quoted(name)}")
        if os.path.isdir(name):
            if not any(is_inside(Path(name), folder) for folder in (path.parent, Path.cwd())):
                raise _untrusted(source, f"names the data {quoted(name)}, which lie outside of its folder")
            if any(Path(name).glob("*.py")):
                raise _untrusted(source, f"names the dataset {quoted(name)}, which is code")
            check_folder(Path(name), source)
        elif name in _readers() or os.path.exists(name) or not _HUB_ID.fullmatch(name) or name.endswith(".py"):
            raise _untrusted(source, f"names the dataset {quoted(name)}, which can run code")
    settings = task.get("dataset_kwargs") or {}
    if not isinstance(settings, Mapping):
        raise DatasetError(f"{source}: dataset_kwargs in {quoted(path.name)} is not a list of settings")
    for key, value in settings.items():
        if key not in _DATA_KWARGS and value not in (None, False):
            raise _untrusted(source, f"sets {quoted(key)} of its dataset, which can run code")
    for file in (*_texts(settings.get("data_files")), *_texts(settings.get("data_dir"))):
        here = any(is_inside(folder / _fixed_part(file), folder) for folder in (path.parent, Path.cwd()))
        if "://" in file or "::" in file or not here:
            raise _untrusted(source, f"names the data {quoted(file)}, which lie outside of its folder")


def _fixed_part(pattern: str) -> str:
    """Return the path before the first wildcard of *pattern*; what a wildcard stands for has no separators."""
    return ".." if ".." in re.split(r"[\\/]", pattern) else re.split(r"[*?\[]", pattern)[0]


def _readers() -> Any:
    """Return the names of the readers in the library ``datasets``."""
    try:
        from datasets import packaged_modules

        return getattr(packaged_modules, "_PACKAGED_DATASETS_MODULES", ())
    except ImportError:
        return ()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(entry)


def _untrusted(source: str, what: str) -> DatasetError:
    return DatasetError(
        f"{source}: the task file {what}: read it, then trust it with --probe-trust-remote-code, or write it without"
    )


@contextmanager
def sandboxed_templates() -> Iterator[None]:
    """While open, lm-eval renders templates in Jinja's sandbox, for a bounded time and to a bounded length."""
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils

    environment, render = utils.env, utils.apply_template
    sandbox = ImmutableSandboxedEnvironment(
        loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=environment.keep_trailing_newline
    )

    def regex_replace(text: str, pattern: str, *args: Any, **options: Any) -> Any:
        if may_never_end(pattern):  # nothing interrupts a pattern while it is matched
            raise ValueError(f"the pattern {quoted(pattern)} may never end")
        return utils.regex_replace(text, pattern, *args, **options)

    sandbox.filters["regex_replace"] = regex_replace

    def apply_template(template: str, doc: dict[str, Any]) -> str:
        return bounded(template, lambda: sandbox.from_string(template).render(**doc))

    utils.env, utils.apply_template = sandbox, apply_template
    try:
        yield
    finally:
        utils.env, utils.apply_template = environment, render
