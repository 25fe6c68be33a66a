"""The run's files: ``run.json``, which says what was found, and ``outcomes.jsonl``, a line per outcome."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reasoning_probe import stats
from reasoning_probe.items import label_of
from reasoning_probe.outcome import BASELINE, Outcome
from reasoning_probe.ranks import rank_changes

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
OUTCOMES_FILE = "outcomes.jsonl"


class RunError(ValueError):
    """A run's files that cannot be read; the message is one line that names the file."""


@dataclass(frozen=True)
class Run:
    """A finished run: ``summary`` is the content of ``run.json``, ``outcomes`` that of ``outcomes.jsonl``."""

    summary: dict[str, Any]
    outcomes: list[Outcome]


# -- summing up ---------------------------------------------------------------------------------------------------


def summarise(
    outcomes: Sequence[Outcome],
    *,
    model: Mapping[str, Any],
    generation: Mapping[str, Any],
    ablation: str,
    formats: Mapping[str, str],
    timing: Mapping[str, Any],
    engine: Mapping[str, Any],
    versions: Mapping[str, str],
    skipped: Sequence[Mapping[str, Any]] = (),
    reference: Mapping[str, Any] | None = None,
    control: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of ``run.json``: accuracies, paired effects and mistakes of *outcomes*, with the metadata.

    A plan may be partial: an effect is formed over the items with both a baseline and an ablated outcome.
    """
    names = list(dict.fromkeys(outcome.dataset for outcome in outcomes))
    groups: dict[str, list[Outcome]] = {name: [] for name in names}
    for outcome in outcomes:
        groups[outcome.dataset].append(outcome)
    targets = {name: _targets(name, groups[name]) for name in names}
    summary = {
        "schema_version": SCHEMA_VERSION,
        "model": dict(model),
        "generation": dict(generation),
        "ablation": ablation,
        "reference": dict(reference or {}),
        "datasets": {
            name: _dataset(_baselines(groups[name]), formats.get(name, "plain"), targets[name]) for name in names
        },
        "targets": [row for name in names for row in targets[name]],
        "rank_changes": rank_changes(row for name in names for row in targets[name]),
        "control": control,
        "errors": _errors(outcomes),
        "timing": dict(timing),
        "engine": dict(engine),
        "versions": dict(versions),
        "skipped": [dict(skip) for skip in skipped],
    }
    plain: dict[str, Any] = _plain(summary)  # what reading the file again gives
    return plain


def merged_control(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the control tasks of several processes as one; a target that two of them measured counts once."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    rows = {(row["target"], row["ablation"]): row for part in known for row in part["targets"]}
    return known[0] | {"targets": list(rows.values())}


def _baselines(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {outcome.item: outcome for outcome in outcomes if outcome.target == BASELINE}


def _dataset(baselines: Mapping[str, Outcome], format: str, targets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answered = list(baselines.values())
    items, correct = len(answered), sum(outcome.correct for outcome in answered)
    logprobs = [known for outcome in answered if math.isfinite(known := _known(outcome.answer_logprob))]
    entry: dict[str, Any] = {
        "items": items,
        "correct": correct,
        "accuracy": correct / items if items else None,
        "ci95": list(stats.wilson(correct, items)),
        "format": format,
        "mean_answer_logprob": math.fsum(logprobs) / len(logprobs) if logprobs else None,
    }
    if format == "gsm8k" and items:
        entry |= _extractions(answered)
    labels = Counter(label_of(outcome.expected) for outcome in answered)
    if items and None not in labels:
        label, count = labels.most_common(1)[0]
        entry["always"] = {"answer": label, "accuracy": count / items}
    if targets:
        tested = max(Counter(row["ablation"] for row in targets).values())
        entry["power"] = {"targets": tested, "flips_needed": stats.flips_needed(tested)}
    return entry


def _extractions(answered: Sequence[Outcome]) -> dict[str, float]:
    """Return the accuracies by lm-eval's two GSM8K filters, compared as exact numbers."""
    from reasoning_probe.scoring import flexible_match, same_number, strict_match

    filters = {"strict": strict_match, "flexible": flexible_match}
    return {
        name: sum(same_number(extract(outcome.response), outcome.expected) for outcome in answered) / len(answered)
        for name, extract in filters.items()
    }


def _targets(dataset: str, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    import numpy as np

    baselines = _baselines(outcomes)
    column = {item: index for index, item in enumerate(baselines)}
    ablated: dict[str | None, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        if outcome.target != BASELINE and outcome.item in column:
            ablated.setdefault(outcome.ablation, {}).setdefault(outcome.target, []).append(outcome)
    right = np.array([float(outcome.correct) for outcome in baselines.values()])
    logprob = np.array([_known(outcome.answer_logprob) for outcome in baselines.values()])
    rows = []
    for ablation, by_target in ablated.items():
        right_off = np.full((len(by_target), len(column)), np.nan)
        logprob_off = np.full_like(right_off, np.nan)
        for row, cases in enumerate(by_target.values()):
            for case in cases:
                right_off[row, column[case.item]] = case.correct
                logprob_off[row, column[case.item]] = _known(case.answer_logprob)
        effects = stats.paired_effects(right, right_off, logprob, logprob_off)
        rows += [
            {"target": target, "dataset": dataset, "ablation": ablation, "shift": _shift(by_target[target], baselines)}
            | asdict(effect)
            for target, effect in zip(by_target, effects, strict=True)
        ]
    return rows


def _shift(cases: Iterable[Outcome], baselines: Mapping[str, Outcome]) -> dict[str, int]:
    """Return by how many of the paired items each kind of result grew or shrank; the entries sum to zero.

    With an off-by-one answer that became a wrong operation: ``{"off_by_one": -1, "wrong_operation": 1}``.
    """
    change: Counter[str] = Counter()
    for case in cases:
        change[_result(baselines[case.item])] -= 1
        change[_result(case)] += 1
    return {result: by for result, by in change.items() if by}


def _result(outcome: Outcome) -> str:
    return "correct" if outcome.correct else outcome.category or "unclassified"


def _known(logprob: float | None) -> float:
    return math.nan if logprob is None else logprob


def _errors(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    counts = Counter(
        (outcome.dataset, outcome.target, outcome.ablation, outcome.category, outcome.kind)
        for outcome in outcomes
        if not outcome.correct
    )
    names = ("dataset", "target", "ablation", "category", "kind")
    return [dict(zip(names, key, strict=True)) | {"count": count} for key, count in counts.items()]


# -- writing ------------------------------------------------------------------------------------------------------


def write_run(folder: str | Path, run: Run) -> None:
    """Write ``run.json`` and ``outcomes.jsonl`` into *folder*, each replaced at once; makes the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / OUTCOMES_FILE, "".join(_json(outcome.as_dict()) + "\n" for outcome in run.outcomes))
    write_text(folder / RUN_FILE, _json(run.summary, indent=1) + "\n")


def check_folder(folder: Path) -> None:
    """Raise :class:`RunError` where no file can be written into *folder*, before anything is computed for it."""
    for existing in (folder, *folder.parents):
        if os.path.lexists(existing):
            if not os.path.isdir(existing):
                raise RunError(f"{existing} is not a folder: name another one")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise RunError(f"{existing} cannot be written: name another folder")
            return


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path* as UTF-8 so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # In JSON this turns a lone surrogate, which UTF-8 has no bytes for, into its own escape sequence.
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    for separator in ("\x85", "\u2028", "\u2029"):  # many readers split lines here
        text = text.replace(separator, f"\\u{ord(separator):04x}")
    return text


def _plain(value: Any) -> Any:
    """Return *value* in JSON's types: numbers of other libraries as Python's, what is not finite as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain(value.item()) if hasattr(value, "item") else str(value)


# -- reading ------------------------------------------------------------------------------------------------------

_NUMBER = (int, float)
_MAYBE = (int, float, type(None))
_TEXT = (str, type(None))
_PAIR = [_NUMBER, _NUMBER]


@dataclass(frozen=True)
class _Optional:
    """What may be missing or ``None``."""

    shape: Any


_DATASET = {
    "items": int,
    "correct": int,
    "accuracy": _MAYBE,
    "ci95": _PAIR,
    "strict": _Optional(_NUMBER),
    "flexible": _Optional(_NUMBER),
    "always": _Optional({"answer": str, "accuracy": _NUMBER}),
    "power": _Optional({"targets": int, "flips_needed": int}),
}
_TARGET = {
    **dict.fromkeys(("target", "dataset"), str),
    **dict.fromkeys(("items", "correct", "flips_to_wrong", "flips_to_right"), int),
    **dict.fromkeys(("delta", "p_value", "p_adjusted"), _NUMBER),
    "ablation": _TEXT,
    "delta_ci95": _PAIR,
    "delta_logprob": _MAYBE,
    "delta_logprob_ci95": _Optional(_PAIR),
    "logprob_p_adjusted": _Optional(_NUMBER),
    "shift": _Optional({...: int}),
}
_ERROR = {"dataset": str, "target": str, "ablation": _TEXT, "category": _TEXT, "kind": _TEXT, "count": int}
_SUMMARY = {
    "schema_version": int,
    "model": {"name": str, "layers": int, "heads": int, "layer_indices": _Optional([int])},
    "generation": {},
    "ablation": str,
    "datasets": {...: _DATASET},
    "targets": [_TARGET],
    "errors": [_ERROR],
    "timing": {},
    "engine": {},
    "versions": {},
    "skipped": [{"dataset": str, "item": str, "reason": str}],
    "partial": _Optional({"planned": int, "done": int}),
    "shard": _Optional(str),
}
_OUTCOME = {
    **dict.fromkeys(("dataset", "item", "target", "question", "prompt", "response", "expected"), str),
    **dict.fromkeys(("correct", "truncated"), bool),
    **dict.fromkeys(("ablation", "answer", "category", "kind", "reason"), _TEXT),
    "answer_logprob": _MAYBE,
}


def read_run(folder: str | Path) -> Run:
    """Return the run whose files lie in *folder*. Raises :class:`RunError`, one line, for what is not a run."""
    folder = Path(folder)
    summary = _parse(_read(folder / RUN_FILE), folder / RUN_FILE)
    found = summary.get("schema_version") if isinstance(summary, dict) else None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        raise RunError(f"{folder / RUN_FILE} has schema version {found}, this package reads up to {SCHEMA_VERSION}")
    _check(summary, _SUMMARY, str(folder / RUN_FILE))
    outcomes = []
    path = folder / OUTCOMES_FILE
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            values = _parse(line, where)
            _check(values, _OUTCOME, where)
            outcomes.append(Outcome(**{field.name: values[field.name] for field in fields(Outcome)}))
    return Run(summary, outcomes)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as problem:
        raise RunError(f"cannot read {path}: {problem.strerror}; a run's folder holds {RUN_FILE}") from None
    except UnicodeDecodeError:
        raise RunError(f"{path} is not UTF-8 text") from None


def _parse(text: str, where: str | Path) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{where} is not JSON: {str(problem)[:80]}") from None


def _check(value: Any, shape: Any, where: str) -> None:
    """Raise :class:`RunError` unless *value* has *shape*.

    A shape is a type or several, ``[shape of each]``, ``[of the first, of the second]``, ``{key: shape}`` with more
    keys allowed, ``{...: shape of each}``, or :class:`_Optional`.
    """
    if isinstance(shape, _Optional):
        if value is not None:
            _check(value, shape.shape, where)
        return
    types = shape if isinstance(shape, (type, tuple)) else type(shape)
    good = isinstance(value, types) and not (isinstance(value, bool) and shape is not bool)
    if not good or (isinstance(value, float) and not math.isfinite(value)):
        raise RunError(f"{where}: {json.dumps(value)[:40]} is not what belongs here")
    if isinstance(shape, list):
        if len(shape) > 1 and len(shape) != len(value):
            raise RunError(f"{where}: {len(value)} entries where {len(shape)} belong")
        for index, entry in enumerate(value):
            _check(entry, shape[index % len(shape)], f"{where}[{index}]")
    elif isinstance(shape, dict):
        for key in value if ... in shape else shape:
            expected = shape.get(..., shape.get(key))
            if key not in value and not isinstance(expected, _Optional):
                raise RunError(f"{where}: {key} is missing")
            _check(value.get(key), expected, f"{where}: {str(key)[:40]}")
