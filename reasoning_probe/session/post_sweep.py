"""What is measured after the sweep: the control task, random directions, cards, paths, sets of heads, curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.record import (
    CircuitRecord,
    ControlRecord,
    CurveRecord,
    EffectRecord,
    HeadRecord,
    PathRecord,
    RandomDirectionsRecord,
    RestoredRecord,
    ThoughtAnchorsRecord,
)
from reasoning_probe.session.circuit_scores import scored_sets
from reasoning_probe.session.circuits import measured_paths
from reasoning_probe.session.restored import compared_sets

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.results.outcome import ItemKey
    from reasoning_probe.session.plan import Case
    from reasoning_probe.session.session import ProbeSession, ProgressBar

_MEASURED = "analyses of the sweep"

STAGES = ("control_s", "directions_s", "describe_s", "paths_s", "circuits_s", "curve_s")
"""The analyses in the order in which they run, by the keys of their seconds in ``timing``."""


@dataclass
class PostSweep:
    """The results, as far as they got: outcomes are worth more, so no error of an analysis ends a run.

    ``error`` says in a line why something is missing.
    """

    control: ControlRecord | None = None
    directions: list[RandomDirectionsRecord] = field(default_factory=list)
    heads: list[HeadRecord] = field(default_factory=list)  # what the model was asked of those that have a card
    paths: list[PathRecord] = field(default_factory=list)
    circuits: list[CircuitRecord] = field(default_factory=list)
    restored: list[RestoredRecord] = field(default_factory=list)
    anchors: list[ThoughtAnchorsRecord] = field(default_factory=list)
    curves: list[CurveRecord] | None = None
    error: str = ""
    attempted: bool = False  # whatever came of it: patched runs and those at one place have no control task
    stage: str = ""  # the analysis that runs; ``done`` after the last one
    stage_started: float = 0.0

    def begin(self, stage: str) -> None:
        """Note that *stage* begins now."""
        self.stage, self.stage_started = stage, time.perf_counter()

    def measure(
        self,
        control: Callable[[], ControlRecord | None],
        directions: Callable[[], list[RandomDirectionsRecord]],
        heads: Callable[[], list[HeadRecord]],
        paths: Callable[[], list[PathRecord]],
        circuits: Callable[[], list[CircuitRecord]],
        restored: Callable[[], list[RestoredRecord]],
        anchors: Callable[[], list[ThoughtAnchorsRecord]],
        curves: Callable[[], Iterable[list[CurveRecord]]],
    ) -> None:
        """Run the *control* task, random *directions*, *heads* and so on, then the *curves* by dataset."""
        with self._kept():
            self.begin("control_s")
            self.control = control()
            self.begin("directions_s")
            self.directions = directions()
            self.begin("describe_s")
            self.heads = heads()
            self.anchors = anchors()
            self.begin("paths_s")
            self.paths = paths()
            self.begin("circuits_s")
            self.circuits = circuits()
            self.restored = restored()
            self.begin("curve_s")
            for entries in curves():
                self.curves = [*(self.curves or ()), *entries]

    def measure_heads(
        self,
        heads: Callable[[], list[HeadRecord]],
        paths: Callable[[], list[PathRecord]],
        circuits: Callable[[], list[CircuitRecord]],
        restored: Callable[[], list[RestoredRecord]],
        anchors: Callable[[], list[ThoughtAnchorsRecord]],
    ) -> None:
        """Run the *heads*, the *anchors*, the *paths*, the *circuits* and the sets *restored* alone."""
        with self._kept():
            self.heads = heads()
            self.anchors = anchors()
            self.paths = paths()
            self.circuits = circuits()
            self.restored = restored()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep what ends an analysis as the error."""
        self.attempted = True
        try:
            yield
        except KeyboardInterrupt:
            self.error = f"interrupted while {_MEASURED} were measured: the same command goes on"
        except Exception as error:  # whatever a model raises with many heads off
            text = " ".join(str(error).split())[:200]
            self.error = f"{_MEASURED} are not complete: {type(error).__name__}: {text}"
        finally:
            self.begin("done")


def run_post_sweep(session: ProbeSession, elsewhere: Iterable[ItemKey], progress: ProgressBar | None) -> None:
    """Measure the control task, random directions and, where the whole plan was answered, the curves of *session*.

    The items *elsewhere* were answered by another process, which measures their curves.
    """
    engine, outcomes = session.engine, session.outcomes
    if engine is None or session.post_sweep.attempted:
        return
    from reasoning_probe.analyses.control_task import control_task
    from reasoning_probe.analyses.cumulative_curve import cumulative_curves, plan_curves
    from reasoning_probe.models.targets import every_head

    answered = _answered(session)
    variants = {case.key[2:]: (case.target, case.ablation) for case in answered if case.target and case.ablation}
    known = {*elsewhere, *session.skipped}
    known |= {key[:2] for key in session.left_out}  # the curves need all heads of an item
    by_item = {item: cases for item, cases in session.plan.by_item.items() if item not in known}
    complete = all(case.key in outcomes for cases in by_item.values() for case in cases)

    def curves() -> Iterable[list[CurveRecord]]:
        if not complete or not session.settings.ablate_heads:
            return ()
        scores = {key: screening.scores for key, screening in session.screenings.items()}
        queries = {item: session.queries.query(item[0], cases[0].item) for item, cases in by_item.items()}
        specs = plan_curves(every_head(session.head_map), by_item, session.settings.ablations, outcomes, scores)
        stopped = session.races.maps_with_stops  # an order of all heads needs a measure of each
        specs = [spec for spec in specs if (spec.dataset, spec.ablation) not in stopped]
        return cumulative_curves(session.judged_answers, engine, specs, queries, outcomes, progress)

    effects = cache(lambda: _effects(session))
    session.post_sweep.measure(
        lambda: control_task(engine, variants.values()),
        lambda: _directions(session, engine, answered, effects()) if _compares_directions(session) else [],
        lambda: _heads(session, engine, answered, effects()) if session.measures_heads else [],
        lambda: measured_paths(session, engine, answered, effects()) if _measures_paths(session) else [],
        lambda: scored_sets(session, engine, answered) if _scores_circuits(session) else [],
        lambda: compared_sets(session, engine, answered) if session.measures_heads else [],
        lambda: _anchors(session, engine, answered) if session.measures_heads else [],
        curves,
    )


def measure_heads(session: ProbeSession) -> None:
    """Measure what the heads of *session* do that have a card, and paths and circuits, where it asks for these."""
    engine = session.engine
    if engine is not None:
        answered = _answered(session)
        effects = cache(lambda: _effects(session))
        session.post_sweep.measure_heads(
            lambda: _heads(session, engine, answered, effects()),
            lambda: measured_paths(session, engine, answered, effects()) if _measures_paths(session) else [],
            lambda: scored_sets(session, engine, answered) if _scores_circuits(session) else [],
            lambda: compared_sets(session, engine, answered) if session.measures_heads else [],
            lambda: _anchors(session, engine, answered),
        )


def _compares_directions(session: ProbeSession) -> bool:
    """Tell whether heads are compared with random directions, which are measured on the prompt without a thought."""
    return session.measures_heads and session.settings.think_tokens is None


def _measures_paths(session: ProbeSession) -> bool:
    return session.settings.paths and session.measures_heads


def _scores_circuits(session: ProbeSession) -> bool:
    return session.settings.masks is not None and session.measures_heads


def _answered(session: ProbeSession) -> list[Case]:
    """Return the cases that have an outcome."""
    return [case for key, case in session.plan.cases.items() if key in session.outcomes and key not in session.left_out]


def _effects(session: ProbeSession) -> list[EffectRecord]:
    """Return the effects of the session's targets with their tests over the page."""
    from reasoning_probe.results.summary import page_effects

    keys = (key for key in session.plan.keys if key in session.outcomes and key not in session.left_out)
    return page_effects([session.outcomes[key] for key in keys], session.unmeasured_targets)


def _heads(
    session: ProbeSession, engine: Engine, answered: Sequence[Case], effects: Sequence[EffectRecord]
) -> list[HeadRecord]:
    """Measure what the heads do that have a card for their *effects*, on items of the *answered* cases."""
    from reasoning_probe.analyses.mechanism import PROMPTS, described_heads, measure_heads
    from reasoning_probe.results.cards.choice import described

    chosen = described(effects, session.settings.describe)
    if not any(chosen.values()):
        return []
    items = {
        case.item_key: case.item
        for case in answered
        if case.target and case.item_key not in session.skipped and not case.item.choices
    }
    in_order = _in_order(session, items)
    queries = {key: session.queries.query(key[0], items[key]) for key in in_order}
    targets = {case.target_name: case.target for case in answered if case.target}
    # What follows a thought, or was sampled, is not what the model says to the prompt: it gives no examples.
    plain = session.settings.sampling is None and session.settings.think_tokens is None
    outcomes = session.outcomes if plain else {}
    heads = described_heads(chosen, targets, session.settings.ablations, queries, outcomes)
    prompts = {
        dataset: [query for key, query in queries.items() if key[0] == dataset][:PROMPTS]
        for dataset in dict.fromkeys(head.dataset for head in heads)
    }
    return [card.record() for card in measure_heads(engine, heads, prompts, session.settings.seed)]


def _anchors(session: ProbeSession, engine: Engine, answered: Sequence[Case]) -> list[ThoughtAnchorsRecord]:
    """Take thoughts before the first baselines of each dataset apart; sampled ones are too many, and left whole."""
    from reasoning_probe.analyses.thought_anchors import thought_anchors
    from reasoning_probe.data.prompts.query import Thought

    if session.thinking is None or session.settings.sampling is not None:
        return []
    queries: list[Query] = []
    for key in _in_order(session, [case.item_key for case in answered if case.target is None]):
        text = session.outcomes[(*key, BASELINE, None)].thought
        if text is not None:
            query = session.queries.query(key[0], session.plan.by_item[key][0].item)
            queries.append(query.after(Thought(text, session.thinking.closing(query.prompt, text) or "")))
    return thought_anchors(engine, queries, session.settings.seed)


def _in_order(session: ProbeSession, items: Collection[ItemKey]) -> list[ItemKey]:
    """Return *items* in the order of their datasets, whatever that of the tests."""
    places = {
        (name, str(item.id)): place
        for name in dict.fromkeys(name for name, _ in items)
        for place, item in enumerate(session.datasets[name].items)
    }
    return sorted(items, key=lambda key: places.get(key, len(places)))


def _directions(
    session: ProbeSession, engine: Engine, answered: Sequence[Case], effects: Sequence[EffectRecord]
) -> list[RandomDirectionsRecord]:
    """Compare the heads that the *effects* of the *answered* cases name with random directions."""
    from reasoning_probe.analyses.random_directions import NamedHead, chosen_heads, chosen_items, random_directions
    from reasoning_probe.results.naming import named_losses

    targets = {case.target_name: case.target for case in answered if case.target}
    cases = {case.item_key: case for case in answered if case.target and case.item_key not in session.skipped}
    if not cases:
        return []
    swept = sum(case.target is not None for case in answered)
    rows = chosen_heads(named_losses(effects), swept)
    baselines = {item: session.outcomes.get((*item, BASELINE, None)) for item in cases}
    right = {item: baseline.correct for item, baseline in baselines.items() if baseline is not None}
    items = chosen_items(right, swept, len(rows), session.settings.seed)
    queries = {
        dataset: tuple(session.queries.query(dataset, cases[item].item) for item in of_dataset)
        for dataset, of_dataset in items.items()
    }
    return random_directions(
        engine,
        [
            NamedHead(targets[row["target"]], str(row["ablation"]), queries[row["dataset"]])
            for row in rows
            if row["dataset"] in queries
        ],
    )
