"""The gate's reference: the answers of an earlier run, to which a new one is compared item by item.

It is a file like ``outcomes.jsonl``, of which the baseline's lines count, or a folder that holds one. What the gate
writes itself is shorter: a line an item, made to be committed and read in a diff. An item that was not answered, since
it did not fit the model or its test was skipped, has a line with the target ``skipped``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reasoning_probe.data.items import Item
from reasoning_probe.results.outcome import BASELINE, ItemKey
from reasoning_probe.results.record import InvocationRecord, ReferenceChangesRecord, RunRecord
from reasoning_probe.results.run import (
    OUTCOMES_FILE,
    Run,
    RunError,
    read_reference_lines,
    read_run,
    read_summary,
    write_lines,
    write_run,
)
from reasoning_probe.results.schema import OUTCOME, RUN, compiled, schema
from reasoning_probe.utils.text import pluralise, shorten

FIELDS = ("dataset", "item", "target", "question", "expected", "answer", "correct")
"""The keys of a line of a reference; others are ignored."""

ORIGIN = "run"
"""The target of the line that holds how the reference's run was made, in ``run``; other versions pass over it."""
_ORIGIN_KEYS = ("model", "generation", "prompting", "ablation", "versions", "invocation")
_ORIGIN_EXTRAS = ("sampling", "think_tokens")
"""Settings that runs without them, and references of earlier versions, leave out."""

SKIPPED = "skipped"
"""The target of an item that was not answered; versions that do not know it pass over the line."""


@dataclass(frozen=True)
class ReferenceAnswer:
    """An item with the answer that an earlier run gave; it was not ``answered`` if it was skipped."""

    question: str
    expected: str
    answer: str | None
    correct: bool
    answered: bool = True

    @property
    def question_and_answer(self) -> tuple[str, str]:
        """The question and its expected answer, by which items are compared."""
        return self.question, self.expected


Answers = Mapping[str, Mapping[str, ReferenceAnswer]]
"""By dataset, then by item id."""


def file_of(path: Path) -> Path:
    """Return the file of a reference: *path* where it is a ``.jsonl`` file, else the one in that folder."""
    return path if path.suffix == ".jsonl" or path.is_file() else path / OUTCOMES_FILE


def read_reference(path: Path) -> Answers:
    """Return the answers that *path* holds. Raises :class:`RunError`, one line, where it is no reference."""
    file = file_of(path)
    if not file.exists():
        raise RunError(f"there is no reference {path}: --probe-update-reference makes it from a run")
    answers: dict[str, dict[str, ReferenceAnswer]] = {}
    for where, line in _answer_lines(file):
        if line["target"] not in (BASELINE, SKIPPED):
            continue
        items = answers.setdefault(line["dataset"], {})
        if line["item"] in items:
            raise RunError(f"{where}: {shorten(line['dataset'], 40)} has {shorten(line['item'], 60)} twice")
        values = line["question"], line["expected"], line["answer"], line["correct"]
        items[line["item"]] = ReferenceAnswer(*values, answered=line["target"] == BASELINE)
    if file != path:
        for dataset, id in _skipped_in(path):
            answers.setdefault(dataset, {}).setdefault(id, _NOT_ANSWERED)
    if not any(answer.answered for items in answers.values() for answer in items.values()):
        raise RunError(f"{file} holds no answers: --probe-update-reference makes a reference from a run")
    return answers


def _answer_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the lines of a reference *file* with their places; of a run whose answers are sampled, a line a case."""
    if _is_sampled(file):
        yield from ((str(file), outcome.as_dict()) for outcome in read_run(file.parent).outcomes)
    else:
        shape = {"type": "object", "required": [*FIELDS], "properties": _of_outcome(FIELDS)}
        yield from read_reference_lines(file, compiled(shape, shape))


def _is_sampled(file: Path) -> bool:
    """Tell whether *file* holds the outcomes of a run whose answers are sampled."""
    with suppress(OSError, ValueError):
        return file.name == OUTCOMES_FILE and bool(read_summary(file.parent).get("sampling"))
    return False


_NOT_ANSWERED = ReferenceAnswer("", "", None, correct=False, answered=False)


def _skipped_in(folder: Path) -> Iterator[ItemKey]:
    """Yield the items that the run in *folder* skipped; none where its ``run.json`` is gone or cannot be read."""
    with suppress(OSError, ValueError):
        summary = read_summary(folder)
        yield from ((skip["dataset"], skip["item"]) for skip in summary["skipped"])
        yield from ((name, id) for name, ids in (summary.get("skipped_tests") or {}).items() for id in ids)


def _of_outcome(names: Iterable[str]) -> dict[str, Any]:
    properties = schema(OUTCOME)["properties"]
    return {name: properties[name] for name in names}


def other_items(reference: Answers, dataset: str, items: Iterable[Item], not_asked: Collection[str] = ()) -> str | None:
    """Say in a few words how the *items* of *dataset* differ from those of *reference*; ``None`` where they do not.

    The reference may hold the items *not_asked* or lack them.
    """
    known = reference.get(dataset, {})
    texts = {id: known[id].question_and_answer for id in not_asked if id in known}
    return _others(reference, dataset, texts | {str(item.id): (item.question, item.answer) for item in items})


def different_items(reference: Answers, run: Run) -> str | None:
    """Say in a few words how the items of *run*, those that were not asked aside, differ from those of *reference*."""
    by_dataset: dict[str, dict[str, tuple[str, str]]] = {}
    for outcome in run.outcomes:
        by_dataset.setdefault(outcome.dataset, {})[outcome.item] = (outcome.question, outcome.expected)
    skipped = {(skip["dataset"], skip["item"]) for skip in run.summary["skipped"]}
    skipped |= {(name, id) for name, ids in (run.summary.get("skipped_tests") or {}).items() for id in ids}
    for dataset, items in by_dataset.items():
        known = reference.get(dataset, {})
        items |= {id: known[id].question_and_answer for id in known if (dataset, id) in skipped}
        if difference := _others(reference, dataset, items):
            return difference
    return None


def _others(reference: Answers, dataset: str, items: Mapping[str, tuple[str, str]]) -> str | None:
    known = reference.get(dataset)
    if known is None:
        return f"it holds no items of {shorten(dataset, 40)}"
    lacks = [id for id in items if id not in known]
    more = [id for id in known if id not in items]
    changed = [id for id in items if id in known and known[id].answered and items[id] != known[id].question_and_answer]
    parts = [
        f"{words.format(pluralise(len(ids), 'item'))} (such as {shorten(ids[0], 60)})"
        for ids, words in ((lacks, "lacks {}"), (more, "holds {} more"), (changed, "has {} with another text"))
        if ids
    ]
    return f"of {shorten(dataset, 40)} it {', '.join(parts)}" if parts else None


def reference_changes(path: Path, run: Run) -> ReferenceChangesRecord | None:
    """Return when and on what the reference *path* was made, and which settings of *run* differ from its own.

    ``None`` where it does not say: earlier versions, and projects that write it themselves, leave that out.
    """
    from reasoning_probe.results.compare import differing_settings

    origin = _origin(path)
    if origin is None:
        return None
    recorded = origin.get("invocation") or InvocationRecord(command=None, started="", commit=None, prompts={})
    changed = [list(row) for row in differing_settings(origin, run.summary)]
    prompts = (run.summary.get("invocation") or recorded)["prompts"]
    changed += [
        [f"prompts of {name}", recorded["prompts"][name][:12], prompts[name][:12]]
        for name in prompts
        if recorded["prompts"].get(name, prompts[name]) != prompts[name]
    ]
    return {"started": recorded["started"] or None, "commit": recorded["commit"], "changed": changed}


def _origin(path: Path) -> RunRecord | None:
    """Return what *path* holds of its run's settings; ``None`` where it holds nothing, or nothing that is a run's."""
    file = file_of(path)
    with suppress(OSError, ValueError, KeyError, TypeError):
        if file != path:
            return read_summary(path)
        every = compiled({"type": "object"}, {})
        lines = [line for _, line in read_reference_lines(file, every) if line.get("target") == ORIGIN]
        shape = schema(RUN)
        needed = {"type": "object", "required": list(_ORIGIN_KEYS)}
        properties = {key: shape["properties"][key] for key in (*_ORIGIN_KEYS, *_ORIGIN_EXTRAS)}
        compiled(needed | {"properties": properties}, shape)(lines[-1]["run"], "run")
        return cast(RunRecord, lines[-1]["run"])
    return None


def _line(answer: ReferenceAnswer) -> dict[str, Any]:
    """Return the part of a line that *answer* holds."""
    return {name: getattr(answer, name) for name in ("question", "expected", "answer", "correct")}


def write_reference(path: Path, run: Run) -> None:
    """Make *run* the reference: a folder gets the run's files, a ``.jsonl`` file the baseline's answers.

    A file keeps the answers of datasets that *run* did not ask. Raises :class:`RunError` where a folder holds such
    datasets, since a run's files cannot be mixed, and ``OSError``.
    """
    file = file_of(path)
    others: dict[str, dict[str, ReferenceAnswer]] = {}
    if file.exists():
        try:
            known = read_reference(path)
        except RunError:
            known = {}  # it is replaced because it is broken, or was never a reference
        others = {name: dict(items) for name, items in known.items() if name not in run.summary["datasets"]}
    if file != path:
        if others:
            raise RunError(
                f"the reference {path} also holds {shorten(next(iter(others)), 40)}, which this run did not ask:"
                " ask all its datasets, or name a .jsonl file, which keeps them"
            )
        write_run(path, run)
        return
    by_tests = run.summary.get("skipped_tests") or {}
    lines = [
        {"dataset": name, "item": id, "target": BASELINE if answer.answered else SKIPPED} | _line(answer)
        for name, items in others.items()
        for id, answer in items.items()
    ]
    lines += [
        {name: getattr(outcome, name) for name in FIELDS}
        for outcome in run.outcomes
        if outcome.target == BASELINE and outcome.item not in by_tests.get(outcome.dataset, ())
    ]
    skipped = [(skip["dataset"], skip["item"]) for skip in run.summary["skipped"]]
    skipped += [(name, id) for name, ids in by_tests.items() for id in ids]
    lines += [{"dataset": name, "item": id, "target": SKIPPED} | _line(_NOT_ANSWERED) for name, id in skipped]
    if run.summary.get("invocation"):
        origin = {key: run.summary.get(key) for key in (*_ORIGIN_KEYS, *_ORIGIN_EXTRAS)}
        lines.append({"dataset": "", "item": "", "target": ORIGIN, "run": origin} | _line(_NOT_ANSWERED))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, lines)
