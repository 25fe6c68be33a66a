"""Merges of runs: of shards and other parts of a sweep from their files, and of the processes of one run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from reasoning_probe.data.shards import Shard, joined, missing, parse_shards
from reasoning_probe.results.analyses import merged_analyses
from reasoning_probe.results.cards.choice import AUTO
from reasoning_probe.results.outcome import ItemKey, Key, Outcome
from reasoning_probe.results.racing import merged_races, without_stopped
from reasoning_probe.results.record import (
    EngineRecord,
    PromptingRecord,
    ReferenceRecord,
    RunFacts,
    RunRecord,
    SectionRecord,
    SkippedRecord,
    TimingRecord,
    prompting_of,
    where_of,
)
from reasoning_probe.results.run import Run, RunError
from reasoning_probe.results.samples import cases_of
from reasoning_probe.results.screening import merged_screening
from reasoning_probe.results.skips import SkippedCase, leave_out, merged_skips, skipped_items
from reasoning_probe.results.summary import RunContext, merged_control, summarise
from reasoning_probe.utils.text import to_words

Value = TypeVar("Value")

SAME_LOGPROB = 1e-4
"""Nats by which two runs of one case may differ: batches of other shapes round otherwise."""

_ELSEWHERE = {"name", "device"}
"""The facts of a model in which parts may differ: the folder it was loaded from, and the device's number."""

_SHOTS = "shot_questions"
_VERSIONS = ("reasoning-probe", "torch", "transformers", "numpy")

Named = Mapping[Path, Run]
"""Runs by the folder that they were read from, which messages name."""


@dataclass(frozen=True)
class PartialRun:
    """The part of a run that one *process* computed.

    ``places`` are the indices of ``outcomes`` in the whole plan, which has ``planned`` of them; ``unasked`` those of
    the skipped items.
    """

    process: str
    outcomes: list[Outcome]
    places: list[int]
    planned: int
    unasked: list[int]
    facts: RunFacts

    def as_dict(self) -> dict[str, Any]:
        """Return the part in plain values, for a file."""
        lines = [line.as_dict() for outcome in self.outcomes for line in outcome.lines]
        return vars(self) | {"outcomes": lines}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PartialRun:
        """Return the part that :meth:`as_dict` gave."""
        sampling = values["facts"]["sampling"]
        outcomes = cases_of([Outcome(**line) for line in values["outcomes"]], sampling["verdict"] if sampling else "")
        return cls(**{**values, "outcomes": outcomes})


def merge_runs(runs: Named) -> Run:
    """Return one run of *runs*, in the order that the whole sweep has; an outcome that several have counts once.

    ``timing`` adds up what each took, ``engine`` what each did. Raises :class:`RunError`, one line, where they are not
    parts of one sweep: other models, settings or reference prompts, or another outcome of the same case.
    """
    parts = [run.summary for run in runs.values()]
    _check_settings(runs)
    shard = _shards(runs)
    places = _places(runs)
    races = merged_races([part.get("races") for part in parts])
    outcomes = without_stopped(_outcomes(runs, places), races)
    context = RunContext(
        model=parts[0]["model"],
        generation=_first_of_each([part["generation"] for part in parts]),
        ablation=parts[0]["ablation"],
        where=where_of(parts[0]),
        sampling=parts[0].get("sampling"),
        think_tokens=parts[0].get("think_tokens"),
        formats={
            name: entry.get("format", "plain")
            for name, entry in _first_of_each([part["datasets"] for part in parts]).items()
        },
        timing=cast(TimingRecord, _added([part["timing"] for part in parts])),
        engine=cast(EngineRecord, _added([part["engine"] for part in parts])),
        versions=parts[0]["versions"],
        skipped=_skipped(parts, places),
        reference=_reference(parts),
        control=merged_control([part.get("control") for part in parts]),
        screening=merged_screening([part.get("screening") for part in parts]),
        races=races,
        prompting=_prompting(parts),
        describe=next((setting for part in parts if (setting := part.get("describe"))), AUTO),
        **merged_analyses(lambda name: _of_new_items(runs, [part.get(name) for part in parts])),
        skipped_tests=merged_skips([(run.summary.get("skipped_tests") or {}, run.outcomes) for run in runs.values()]),
    )
    summary = summarise(outcomes, context)
    for name, entry in summary["datasets"].items():
        entry["size"] = _size(parts, name)
    if owners := merged_owners([part.get("owners") for part in parts]):
        summary["owners"] = owners
    if any(part.get("sections") is not None for part in parts):
        summary["sections"] = _sections(runs)
    if any(part.get("partial") for part in parts):
        twice = sum(len(run.outcomes) for run in runs.values()) - len(outcomes)
        planned = sum(
            early["planned"] if (early := run.summary.get("partial")) else len(run.outcomes) for run in runs.values()
        )
        summary["partial"] = {"planned": planned - twice, "done": len(outcomes)}
    if shard and missing(shard):
        summary |= {"shard": shard, "places": _union_of([part.get("places") or {} for part in parts])}
    return Run(summary, outcomes)


def _of_new_items(runs: Named, entries: Sequence[Sequence[Any] | None]) -> list[list[Any]]:
    """Return the *entries* of each of *runs*; of runs that share an item of a dataset the first counts."""
    seen: dict[str, set[str]] = {}
    taken: list[list[Any]] = []
    for run, of_run in zip(runs.values(), entries, strict=True):
        items: dict[str, set[str]] = {}
        for outcome in run.outcomes:
            items.setdefault(outcome.dataset, set()).add(outcome.item)
        new = {name for name, ids in items.items() if ids.isdisjoint(seen.get(name, ()))}
        taken.append([entry for entry in of_run or () if entry["dataset"] in new])
        for entry in taken[-1]:
            seen[entry["dataset"]] = seen.get(entry["dataset"], set()) | items[entry["dataset"]]
    return taken


def _shards(runs: Named) -> str:
    """Return the shards of *runs* together, ``1,2/8``; empty where they are none."""
    by_folder: dict[Path, tuple[Shard, ...]] = {}
    for folder, run in runs.items():
        if shard := run.summary.get("shard"):
            try:
                by_folder[folder] = parse_shards(shard)
            except ValueError as error:
                raise RunError(f"{folder}: {error}") from None
    if not by_folder:
        return ""
    first, *others = by_folder
    for other in others:
        of, its = by_folder[first][0].of, by_folder[other][0].of
        if of != its:
            raise RunError(f"{other} is a shard of {its}, {first} one of {of}: merge shards of one number")
    return joined(shard for shards in by_folder.values() for shard in shards)


def _check_settings(runs: Named) -> None:
    first, *others = runs
    for other in others:
        a, b = runs[first].summary, runs[other].summary
        new: set[str] = {"generation"} if "generation" not in a["model"] or "generation" not in b["model"] else set()
        for key in sorted({**a["model"], **b["model"]}.keys() - _ELSEWHERE - new):  # earlier versions recorded none
            _check_same("model", key, (first, a["model"].get(key)), (other, b["model"].get(key)))
        kinds = [str(part["model"].get("device", "")).partition(":")[0] for part in (a, b)]
        _check_same("kind of device", "device", (first, kinds[0]), (other, kinds[1]))
        _check_same("ablation", "ablation", (first, a["ablation"]), (other, b["ablation"]))
        _check_same("place where heads are off", "where", (first, where_of(a)), (other, where_of(b)))
        _check_same("way of sampling", "sampling", (first, a.get("sampling")), (other, b.get("sampling")))
        limits = a.get("think_tokens"), b.get("think_tokens")
        _check_same("limit of thoughts", "think_tokens", (first, limits[0]), (other, limits[1]))
        for key in _VERSIONS:
            _check_same("version", key, (first, a["versions"].get(key)), (other, b["versions"].get(key)))
    for folder, run in runs.items():  # of datasets, any two runs may share some
        for earlier in list(runs)[: list(runs).index(folder)]:
            _check_datasets((earlier, runs[earlier].summary), (folder, run.summary))


def _check_datasets(one: tuple[Path, RunRecord], other: tuple[Path, RunRecord]) -> None:
    (first, a), (second, b) = one, other
    for name in a["generation"].keys() & b["generation"].keys():
        what = f"generation setting for {name[:40]!r}"
        for key in ("max_new_tokens", "stop"):
            _check_same(what, key, (first, a["generation"][name][key]), (second, b["generation"][name][key]))
    prompting = prompting_of(a), prompting_of(b)
    for key in sorted({**prompting[0], **prompting[1]}.keys() - {_SHOTS, "notes"}):
        values = [record.get(key) or None for record in prompting]  # what an earlier version did not know is not set
        _check_same("prompting", key, (first, values[0]), (second, values[1]))
    shots = [record.get("shot_questions") or {} for record in prompting]
    for name in shots[0].keys() & shots[1].keys():
        _check_same(f"set of examples for {name[:40]!r}", _SHOTS, (first, shots[0][name]), (second, shots[1][name]))
    references = a.get("reference") or {}, b.get("reference") or {}
    for ablation in references[0].keys() & references[1].keys():
        entry, other_entry = references[0][ablation], references[1][ablation]
        _check_same(f"{ablation[:40]} ablation", "seed", (first, entry.get("seed")), (second, other_entry.get("seed")))
        for name in entry["datasets"].keys() & other_entry["datasets"].keys():
            what = f"set of reference prompts of {name[:40]!r}"
            _check_same(what, "sha256", (first, entry["datasets"][name]), (second, other_entry["datasets"][name]))


def _check_same(what: str, key: str, one: tuple[Path, Any], other: tuple[Path, Any]) -> None:
    if one[1] != other[1]:
        texts = [to_words(value, 40) for _, value in (one, other)]
        detail = f" ({key}: {texts[1]} and {texts[0]})" if texts[0] != texts[1] else ""
        raise RunError(f"{other[0]} has another {what} than {one[0]}{detail}: merge parts of one sweep")


def _places(runs: Named) -> dict[ItemKey, int]:
    """Return the index of each item in the whole sweep, for the items whose shards record it."""
    places: dict[ItemKey, int] = {}
    items: dict[int, ItemKey] = {}
    for folder, run in runs.items():
        for dataset, of_dataset in (run.summary.get("places") or {}).items():
            for id, place in of_dataset.items():
                item = (dataset, id)
                if items.setdefault(place, item) != item or places.setdefault(item, place) != place:
                    raise RunError(f"{folder} was cut from other data: {_name(item)} stands elsewhere in another shard")
    return places


def _outcomes(runs: Named, places: Mapping[ItemKey, int]) -> list[Outcome]:
    sources: dict[Key, tuple[Path, Outcome]] = {}
    for folder, run in runs.items():
        for outcome in run.outcomes:
            earlier = sources.setdefault(outcome.key, (folder, outcome))
            if not _same(earlier[1], outcome):
                case = f"{_name(outcome.item_key)} under {_printable(outcome.target)}"
                raise RunError(f"{earlier[0]} and {folder} have different outcomes of {case}: leave one of them out")
    outcomes = [outcome for _, outcome in sources.values()]
    appeared: dict[ItemKey, int] = {}
    for outcome in outcomes:
        appeared.setdefault(outcome.item_key, len(appeared))
    last = max(places.values(), default=-1) + 1  # items whose place no shard tells come last
    order = {item: places.get(item, last + index) for item, index in appeared.items()}
    return sorted(outcomes, key=lambda outcome: order[outcome.item_key])


def _same(one: Outcome, other: Outcome) -> bool:
    if one is other:
        return True
    a, b = one.answer_logprob, other.answer_logprob
    alike = a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=0, abs_tol=SAME_LOGPROB))
    if not alike or len(one.samples) != len(other.samples) or not all(map(_same, one.samples, other.samples)):
        return False
    return replace(one, answer_logprob=None, samples=()) == replace(other, answer_logprob=None, samples=())


def _name(item: tuple[str, ...]) -> str:
    return " ".join(map(_printable, item))


def _printable(text: str) -> str:
    return text[:60] if text.isprintable() else ascii(text[:60])


def _first_of_each(parts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _union_of(parts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    together: dict[str, dict[str, int]] = {}
    for part in parts:
        for dataset, places in part.items():
            together.setdefault(dataset, {}).update(places)
    return together


def _added(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of numbers, the maxima of peaks, and the first of other values."""
    together: dict[str, Any] = {}
    for key in dict.fromkeys(key for part in parts for key in part):
        values = [part[key] for part in parts if part.get(key) is not None]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if values and len(numbers) == len(values):
            together[key] = max(numbers) if key.startswith("peak") else sum(numbers)
        else:
            together[key] = next((value for value in values if value), values[0] if values else None)
    return together


def merged_owners(parts: Sequence[Mapping[str, Sequence[str]] | None]) -> dict[str, list[str]]:
    """Return the owners of each dataset that any of *parts* names, each once.

    >>> merged_owners([{"logic": ["@ada"]}, None, {"logic": ["@bob", "@ada"]}])
    {'logic': ['@ada', '@bob']}
    """
    names = [(dataset, name) for part in parts for dataset, owners in (part or {}).items() for name in owners]
    return {dataset: list(dict.fromkeys(name for of, name in names if of == dataset)) for dataset, _ in names}


def _size(parts: Sequence[RunRecord], dataset: str) -> int | None:
    """Return how many items *dataset* has: by one of the parts, or by the sum of its shards."""
    sizes: dict[str, int | None] = {
        part.get("shard") or "": part["datasets"][dataset].get("size") for part in parts if dataset in part["datasets"]
    }
    known = [size for size in sizes.values() if size is not None]
    return None if len(known) < len(sizes) else max(known) if "" in sizes else sum(known)


def _skipped(parts: Sequence[RunRecord], places: Mapping[ItemKey, int]) -> list[SkippedRecord]:
    skipped = {(skip["dataset"], skip["item"]): skip for part in parts for skip in part["skipped"]}
    return [skipped[item] for item in sorted(skipped, key=lambda item: places.get(item, len(places)))]


def _prompting(parts: Sequence[RunRecord]) -> PromptingRecord:
    records = [part.get("prompting") or PromptingRecord() for part in parts]
    shots = _first_of_each([record.get("shot_questions") or {} for record in records])
    merged = records[0] | PromptingRecord(shot_questions=shots) if shots else records[0]
    notes = list(dict.fromkeys(note for record in records for note in record.get("notes") or ()))
    return merged | PromptingRecord(notes=notes) if notes else merged


def _sections(runs: Named) -> list[SectionRecord]:
    """Return the sections that the user's code added to each part; those that all parts share appear once."""
    sections = [(folder, section) for folder, run in runs.items() for section in run.summary.get("sections") or ()]
    if all(section in [other for of, other in sections if of == folder] for _, section in sections for folder in runs):
        return [section for folder, section in sections if folder == next(iter(runs))]
    return [section | {"title": f"{section['title']} ({folder.name})"} for folder, section in sections]


def _reference(parts: Sequence[RunRecord]) -> dict[str, ReferenceRecord]:
    """Return the references of each ablation over the datasets of all *parts*."""
    together: dict[str, ReferenceRecord] = {}
    for part in parts:
        for ablation, entry in (part.get("reference") or {}).items():
            known = together.setdefault(ablation, entry | {"datasets": {}})
            known["datasets"] = known["datasets"] | entry["datasets"]
    return together


def merge_parts(parts: Sequence[PartialRun], skipped: Collection[SkippedCase] = ()) -> Run:
    """Return one run from *parts*, in the plan's order; an outcome that two of them have counts once.

    Cases that their tests *skipped* are left out.

    A later part of the same process replaces the facts of an earlier one: they count what the process did.
    """
    skipped_tests = skipped_items(parts, skipped)
    parts = leave_out(parts, skipped)
    placed: dict[int, Outcome] = {}
    for part in parts:
        for place, outcome in zip(part.places, part.outcomes, strict=True):
            placed.setdefault(place, outcome)
    latest = list({part.process: part for part in parts}.values())
    facts = [part.facts for part in latest]
    unfit = {(skip["dataset"], skip["item"]): skip for of_process in facts for skip in of_process["skipped"]}
    # An item may have been left out after a part with some of its outcomes was exported.
    outcomes = [placed[place] for place in sorted(placed) if placed[place].item_key not in unfit]
    first = facts[0]
    timings: list[Mapping[str, Any]] = [of_process["timing"] for of_process in facts]
    engines: list[Mapping[str, Any]] = [of_process["engine"] for of_process in facts]
    context = RunContext(
        model=first["model"],
        generation={name: value for of_process in facts for name, value in of_process["generation"].items()},
        ablation=first["ablation"],
        where=first["where"],
        sampling=first["sampling"],
        think_tokens=first["think_tokens"],
        formats={name: format for of_process in facts for name, format in of_process["formats"].items()},
        timing=cast(TimingRecord, {key: max(timing.get(key, 0.0) for timing in timings) for key in timings[0]}),
        engine=cast(EngineRecord, {key: _sum_or_first([engine[key] for engine in engines]) for key in engines[0]}),
        versions=first["versions"],
        skipped=list(unfit.values()),
        reference=first["reference"],
        control=merged_control([of_process["control"] for of_process in facts]),
        prompting=first["prompting"],
        screening=merged_screening([of_process["screening"] for of_process in facts]),
        races=merged_races([of_process["races"] for of_process in facts]),
        skipped_tests=skipped_tests,
        describe=first["describe"],
        **merged_analyses(lambda name: [of_process[name] for of_process in facts]),
    )
    summary = summarise(outcomes, context)
    sizes = {name: size for of_process in facts for name, size in of_process["sizes"].items()}
    for name, entry in summary["datasets"].items():
        entry["size"] = sizes.get(name)
    if owners := merged_owners([of_process["owners"] for of_process in facts]):
        summary["owners"] = owners
    planned = latest[0].planned
    unasked = {place for part in latest for place in part.unasked}
    if len(outcomes) + len(unasked) < planned:
        summary["partial"] = {"planned": planned, "done": len(outcomes)}
    if first["shard"]:
        summary |= {"shard": first["shard"], "places": first["places"]}
    return Run(summary, outcomes)


def _sum_or_first(values: Sequence[Any]) -> Any:
    """Return the sum of counts, or the first of other values."""
    counts = all(isinstance(value, int) for value in values)
    return sum(values) if counts else next(filter(None, values), values[0])
