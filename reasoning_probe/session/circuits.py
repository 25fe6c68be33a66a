"""The circuits of a session, after its sweep: the paths between the heads that it names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.record import EffectRecord, PathItemRecord, PathRecord
from reasoning_probe.utils.target_names import part_name

if TYPE_CHECKING:
    from reasoning_probe.analyses.paths import PathResult, PathSpec
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.models.path_patching import Path
    from reasoning_probe.results.answer import Answer
    from reasoning_probe.results.paths import PathName
    from reasoning_probe.session.plan import Case
    from reasoning_probe.session.session import ProbeSession


def measured_paths(
    session: ProbeSession, engine: Engine, answered: Sequence[Case], effects: Sequence[EffectRecord]
) -> list[PathRecord]:
    """Return the paths between the heads that the *effects* of the *answered* cases name.

    Those that matter are answered, too.
    """
    from reasoning_probe.analyses.paths import PathSpec, answered_items, path_changes, path_items, paths_between
    from reasoning_probe.results.naming import named_losses
    from reasoning_probe.results.paths import name_of, named, path_record, with_tests

    cases = {case.item_key: case for case in answered if case.target and case.item_key not in session.skipped}
    paths = {key: of_map for key, of_map in paths_between(named_losses(effects)).items() if of_map}
    right = {
        item: outcome.correct
        for item in cases
        if (outcome := session.outcomes.get((*item, BASELINE, None))) is not None
    }
    swept = sum(case.target is not None for case in answered)
    items = path_items(right, paths, swept, session.settings.seed)
    specs = [
        PathSpec(dataset, ablation, of_map, tuple(session.queries.query(dataset, cases[item].item) for item in drawn))
        for (dataset, ablation), of_map in paths.items()
        if (drawn := items.get(dataset))
    ]
    results = path_changes(engine, specs)
    notes = {_name(spec, path): result.note for spec, result in zip(specs, results, strict=True) for path in spec.paths}
    by_path = _items(specs, results)

    def records() -> list[PathRecord]:
        return with_tests([path_record(name, list(of_path.values()), notes[name]) for name, of_path in by_path.items()])

    named_paths = {name_of(row) for row in records() if named(row)}
    most = answered_items(len(named_paths), swept)
    _answer(session, engine, specs, {name: by_path[name] for name in named_paths}, most)
    return records()


def _name(spec: PathSpec, path: Path) -> PathName:
    sender, receiver = (part_name(layer, "H", head) for layer, head in (path.sender, path.receiver))
    return spec.dataset, spec.ablation, sender, receiver


def _items(specs: Sequence[PathSpec], results: Sequence[PathResult]) -> dict[PathName, dict[str, PathItemRecord]]:
    """Return by path and item what was measured, not answered yet."""
    items: dict[PathName, dict[str, PathItemRecord]] = {}
    for spec, result in zip(specs, results, strict=True):
        for path, changes in zip(spec.paths, result.changes or ((),) * len(spec.paths), strict=True):
            known = zip((query.item_id for query in spec.queries), changes, strict=False)  # a note in place of changes
            items[_name(spec, path)] = {
                item: {"item": item, "change": change, "answer": None, "correct": None, "changed": None}
                for item, change in known
                if math.isfinite(change)
            }
    return items


def _answer(
    session: ProbeSession,
    engine: Engine,
    specs: Sequence[PathSpec],
    items: Mapping[PathName, Mapping[str, PathItemRecord]],
    most: int,
) -> None:
    """Write the answers along the paths in *items* into the first *most* of these, judged by the user's rules first.

    Choices are no answers that a model writes, so items with some are left out.
    """
    from reasoning_probe.analyses.paths import PathQuestion, path_answers

    questions = [
        (spec, PathQuestion(query, spec.ablation, paths))
        for spec in specs
        if (paths := tuple(path for path in spec.paths if _name(spec, path) in items))
        for query in [query for query in spec.queries if not query.item.choices][:most]
    ]
    replies = path_answers(engine, [question for _, question in questions])
    for (spec, question), of_question in zip(questions if replies else (), replies, strict=True):
        query = question.query
        baseline = session.outcomes[query.dataset, query.item_id, BASELINE, None]
        for path, (response, truncated) in zip(question.paths, of_question, strict=True):
            entry = items[_name(spec, path)].get(query.item_id)
            judgement = session.judged.judgement(_unmeasured(query, response, truncated=truncated))
            changed = (judgement.answer, judgement.correct) != (baseline.answer, baseline.correct)
            if entry is not None:
                entry.update({"answer": judgement.answer, "correct": judgement.correct, "changed": changed})


def _unmeasured(query: Query, response: str, *, truncated: bool) -> Answer:
    """Return a response as an answer to be judged, of which nothing else is known."""
    from reasoning_probe.results.answer import Answer

    return Answer(
        query=query, target=BASELINE, ablation=None, response=response, truncated=truncated, answer_logprob=None
    )
