"""The record of a session: its outcomes and the facts that ``run.json`` holds, as parts that can be merged."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import TYPE_CHECKING, cast

from reasoning_probe.results.outcome import BASELINE, ItemKey, Key
from reasoning_probe.utils.versions import versions

if TYPE_CHECKING:
    from reasoning_probe.results.merge import PartialRun
    from reasoning_probe.results.record import (
        EngineRecord,
        ModelRecord,
        PromptingRecord,
        ReferenceRecord,
        RunFacts,
        SamplingRecord,
        TimingRecord,
    )
    from reasoning_probe.session.session import ProbeSession


def partial_run(session: ProbeSession, process: str, without: Container[Key]) -> PartialRun:
    """Return the outcomes and facts of *session* so far, without those of the keys in *without*."""
    from reasoning_probe.results.merge import PartialRun

    keys = session.plan.keys
    places = [place for place, key in enumerate(keys) if key in session.outcomes and key not in without]
    return PartialRun(
        process,
        outcomes=[session.outcomes[keys[place]] for place in places],
        places=places,
        planned=len(keys),
        unasked=[place for place, key in enumerate(keys) if key[:2] in session.skipped],
        facts=_facts(session),
    )


def import_part(session: ProbeSession, part: PartialRun) -> set[ItemKey]:
    """Add the outcomes of *part*, which another process of the same run computed, to *session*; return their items."""
    from reasoning_probe.results.screening import from_entry

    for outcome in part.outcomes:
        session.outcomes.setdefault(outcome.key, outcome)
    for entry in part.facts["screening"]:
        screening = from_entry(entry)
        session.screenings[screening.dataset, screening.ablation] = screening
    session.races.add(part.facts["races"])
    session.leave_out_unmeasured()
    for skip in part.facts["skipped"]:
        session.skipped[skip["dataset"], skip["item"]] = skip["reason"]
    return {outcome.item_key for outcome in part.outcomes}


def _facts(session: ProbeSession) -> RunFacts:
    """Return what is known of the run beside its outcomes, in plain values."""
    assert session.engine is not None
    names = dict.fromkeys(outcome.dataset for outcome in session.outcomes.values())
    sampling = session.settings.sampling
    generations = {name: session.queries.generation(name) for name in names}
    return {
        "model": cast("ModelRecord", session.model_runner.model_info),
        "generation": {
            name: {"max_new_tokens": generation.max_new_tokens, "stop": list(generation.stop)}
            for name, generation in generations.items()
        },
        "prompting": cast("PromptingRecord", session.queries.describe()),
        "ablation": ",".join(session.settings.ablations),
        "where": session.settings.where,
        "sampling": cast("SamplingRecord | None", sampling and sampling.record(session.settings.seed)),
        "think_tokens": session.settings.think_tokens,
        "formats": {name: session.datasets[name].format for name in names},
        "sizes": {name: session.plan.size(name) for name in names},
        "owners": {name: owners for name in names if (owners := session.owners.get(name))},
        "reference": _reference(session),
        "control": session.post_sweep.control,
        "null_directions": session.post_sweep.directions,
        "paths": session.post_sweep.paths,
        "circuits": session.post_sweep.circuits,
        "restored": session.post_sweep.restored,
        "thought_anchors": session.post_sweep.anchors,
        "screening": [screening.entry() for screening in session.screenings.values()],
        "races": session.races.entries(_accuracies(session)),
        "curves": session.post_sweep.curves or [],
        "describe": session.settings.describe,
        "heads": session.post_sweep.heads,
        "timing": _timing(session),
        "engine": cast("EngineRecord", session.model_runner.engine_facts() | {"afterwards": session.post_sweep.error}),
        "versions": versions(),
        "shard": str(session.settings.shard or ""),
        "places": session.plan.places(),
        "skipped": [
            {"dataset": item[0], "item": item[1], "reason": session.skipped[item]}
            for item in dict.fromkeys((*session.plan.by_item, *session.skipped))  # in the plan's order
            if item in session.skipped
        ],
    }


def _accuracies(session: ProbeSession) -> dict[str, float]:
    """Return the share of right answers with nothing switched off, by dataset."""
    right: dict[str, list[bool]] = {}
    for outcome in session.outcomes.values():
        if outcome.target == BASELINE:
            right.setdefault(outcome.dataset, []).append(outcome.correct)
    return {name: sum(answers) / len(answers) for name, answers in right.items()}


def _reference(session: ProbeSession) -> dict[str, ReferenceRecord]:
    """Return which prompts ``mean`` and ``resample`` took their values from."""
    from reasoning_probe.models.ablation import reference_record

    assert session.engine is not None
    ablated = {case.dataset for case in session.plan.cases.values() if case.target is not None}
    prompts = {name: prompts for name, prompts in session.engine.references.items() if name in ablated}
    return reference_record(session.settings.ablations, prompts, session.settings.seed) if prompts else {}


def _timing(session: ProbeSession) -> TimingRecord:
    """Return the seconds of the session's stages."""
    assert session.engine is not None
    timing, runner = session.engine.timing, session.model_runner
    return {
        "load_s": runner.load_s,
        "proof_s": runner.proof_s + timing.proof_s,
        "baseline_s": timing.baseline_s,
        "sweep_s": timing.sweep_s,
        "control_s": timing.control_s,
        "directions_s": timing.directions_s,
        "describe_s": timing.describe_s,
        "paths_s": timing.paths_s,
        "circuits_s": timing.circuits_s,
        "screen_s": timing.screen_s,
        "curve_s": timing.curve_s,
        "total_s": time.perf_counter() - session.started,
    }
