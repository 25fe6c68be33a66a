"""A session: the settings, the cases that were asked for, the engine that answers them. Knows no pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.shards import places, shards
from reasoning_probe.engine import multiple_choice
from reasoning_probe.models.targets import Target, every_head, every_layer, parse_targets
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.session.extensions import Extensions
from reasoning_probe.session.model_runner import ModelRunner
from reasoning_probe.session.plan import Case
from reasoning_probe.session.post_sweep import PostSweep
from reasoning_probe.session.queries import DatasetSource, QueryBuilder
from reasoning_probe.session.settings import Settings

if TYPE_CHECKING:
    from reasoning_probe.cluster.cluster_engine import ClusterEngine
    from reasoning_probe.engine.engine import Engine, SweepRequest
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.results.merge import PartialRun
    from reasoning_probe.results.run import Run
    from reasoning_probe.results.screening import Screening

ProgressBar = Callable[[int, int], None]
"""Called with the number of rows done and of rows in all."""


class ProbeSession:
    """Everything between the options and the outcomes of one run."""

    def __init__(self, settings: Settings, extensions: Extensions | None = None) -> None:
        self.settings = settings
        self.extensions = extensions or Extensions()
        self.queries = QueryBuilder(settings, self.extensions)
        self.datasets = self.queries.datasets
        self.outcomes: dict[Key, Outcome] = {}
        self.skipped: dict[ItemKey, str] = {}
        self.model_runner = ModelRunner(settings, self.queries)
        self._plan: dict[Key, Case] = {}
        self._by_item: dict[ItemKey, list[Case]] = {}  # the plan's cases
        self._shards: dict[str, dict[str, int]] = {}
        self._pending: Iterator[list[Outcome]] = iter(())
        self.screenings: dict[tuple[str, str], Screening] = {}  # by dataset and ablation
        self.post_sweep = PostSweep()
        self._adopted: set[ItemKey] = set()  # the items that another process answered
        self._started = time.perf_counter()

    @property
    def engine(self) -> Engine | ClusterEngine | None:
        """What answers, once the first outcome was asked for."""
        return self.model_runner.engine

    @property
    def head_map(self) -> HeadMap:
        """Where the model's heads are, found without its weights unless the model is in memory already."""
        return self.model_runner.head_map

    # -- before anything is computed ------------------------------------------------------------------------------

    def dataset(self, name: str, source: DatasetSource | None = None) -> Dataset:
        """Return the dataset *name*, loaded once; ``--probe-dataset`` overrides *source*. Raises ``DatasetError``."""
        return self.queries.dataset(name, source)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the settings ask for; raises ``TargetError`` for those the model does not have."""
        if not self.settings.ablating:
            return ()
        found: list[Target] = []
        if self.settings.heads is not None:
            found += parse_targets(self.settings.heads, self.head_map)
        elif self.settings.ablate_heads:
            found += every_head(self.head_map)
        if self.settings.ablate_layers:
            found += every_layer(self.head_map)
        return tuple({target.name: target for target in found if target.heads}.values())

    def cases(self, dataset: Dataset) -> list[Case]:
        """Return the cases of *dataset*: each item as it is, then under every target."""
        variants = [(target, ablation) for ablation in self.settings.ablations for target in self.targets]
        return [
            case
            for item in dataset.items
            for case in (
                Case(dataset.name, item),
                *(Case(dataset.name, item, target, ablation) for target, ablation in variants),
            )
        ]

    def in_shard(self, case: Case) -> bool:
        """Tell whether *case* belongs to the shard that the settings name; an item's cases all lie in one."""
        shard = self.settings.shard
        if shard is None:
            return True
        if case.dataset not in self._shards:
            self._shards[case.dataset] = shards(self.datasets[case.dataset], shard.of)
        return self._shards[case.dataset][str(case.item.id)] == shard.number

    def select(self, cases: Iterable[Case]) -> None:
        """Make *cases*, which every kind of deselection has left over, the plan."""
        self._plan = {case.key: case for case in cases}
        self._by_item = {}
        for case in self._plan.values():
            self._by_item.setdefault(case.key[:2], []).append(case)

    def size(self, dataset: str) -> int:
        """Return how many items of *dataset* there are to ask, in the shard that the settings name."""
        return sum(self.in_shard(Case(dataset, item)) for item in self.datasets[dataset].items)

    @property
    def planned_datasets(self) -> list[str]:
        """The datasets of which the plan holds an item."""
        return list(dict.fromkeys(dataset for dataset, _ in self._by_item))

    def covers_all_of(self, dataset: str) -> bool:
        """Tell whether the plan holds every one of them."""
        return sum(name == dataset for name, _ in self._by_item) == self.size(dataset)

    def summary_line(self) -> str:
        """Say in one line what will run."""
        items = {key[:2] for key in self._plan}
        heads = f", {len(self.head_map)} heads in {len(self.head_map.attention_layers)} layers" if self.targets else ""
        own = self.model_runner.from_fixture and not self.model_runner.fixture_has_dependencies
        name = "a model in memory" if own or self.model_runner.provided is not None else self.settings.model
        return f"reasoning-probe: {name}{heads}, {len(items)} items, {len(self._plan)} cases"

    # -- the run --------------------------------------------------------------------------------------------------

    def outcome(self, case: Case, *, whole_plan: bool = True, progress: ProgressBar | None = None) -> Outcome | None:
        """Return the outcome of *case*, computing what is missing; ``None`` where there is none (:meth:`why_none`).

        The first call runs the whole plan; with ``whole_plan=False`` each runs no more than the item of *case*.
        """
        if self.engine is None:
            self._start()
        if self.screened_out(case):
            return None
        if case.key not in self._plan:
            self._plan[case.key] = case
            self._pending = self._run([case])
        elif not whole_plan and case.key not in self.outcomes and case.key[:2] not in self.skipped:
            self._pending = self._run(self._by_item[case.key[:2]])
        total, done = len(self._plan), len(self.outcomes)
        if progress is not None and case.key not in self.outcomes:
            progress(done, total)
        while case.key not in self.outcomes and case.key[:2] not in self.skipped:
            batch = next(self._pending, None)
            if batch is None:
                # Asked for out of the plan's order or added to it later, or the model raised on another item.
                self._pending = self._run(self._by_item.get(case.key[:2], [case]))
                continue
            done += sum(outcome.target != BASELINE or self._planned(outcome) for outcome in batch)
            if progress is not None:
                progress(done, total)
        if whole_plan:
            for batch in self._pending:
                done += sum(outcome.target != BASELINE or self._planned(outcome) for outcome in batch)
                if progress is not None:
                    progress(done, total)
        return self.outcomes.get(case.key)

    def screened_out(self, case: Case) -> bool:
        """Tell whether the screening did not choose the head of *case*."""
        screening = self.screenings.get((case.dataset, str(case.ablation)))
        return screening is not None and screening.excludes(case.target_name)

    def skip_reason(self, case: Case) -> str:
        """Say why *case* has no outcome: its item does not fit the model, or its head was not chosen."""
        told = f"not among the heads that --probe-screen {self.settings.screen} measures: --probe-heads measures any"
        return self.skipped.get(case.key[:2], told)

    def sweep(self, items: Iterable[ItemKey]) -> None:
        """Compute every planned case of *items*, ``(dataset, item id)`` each."""
        if self.engine is None:
            self._start()
        for _ in self._run([case for item in items for case in self._by_item.get(item, ())]):
            pass

    @property
    def items(self) -> list[ItemKey]:
        """The plan's items, ``(dataset, item id)`` each, in its order."""
        return list(self._by_item)

    def _planned(self, outcome: Outcome) -> bool:
        return outcome.key in self._plan

    def _start(self) -> None:
        self.model_runner.start(self.targets)
        if self.settings.screen is not None:
            self._screen(self.settings.screen)
        self._pending = self._run(list(self._plan.values()))

    def _screen(self, most: int) -> None:
        """Choose *most* heads to measure, and leave the cases of the others out of the plan."""
        from reasoning_probe.analyses.screening import screen
        from reasoning_probe.engine.engine import Engine

        heads = {target.name for target in every_head(self.head_map)}
        ablations, seed, engine = self.settings.ablations, self.settings.seed, self.engine
        assert engine is not None
        for name in dict.fromkeys(case.dataset for case in self._plan.values() if case.target_name in heads):
            queries = [self.queries.query(name, item) for item in self.datasets[name].items]
            if isinstance(engine, Engine):
                found = screen(engine, queries, ablations, most, seed)
            else:
                found = engine.screen(queries, ablations, most, seed)
            self.screenings |= {(name, screening.ablation): screening for screening in found}
        self.select(case for case in self._plan.values() if not self.screened_out(case))

    def _run(self, cases: Sequence[Case]) -> Iterator[list[Outcome]]:
        from reasoning_probe.engine.engine import SweepRequest

        assert self.engine is not None
        by_item: dict[ItemKey, list[Case]] = {}
        for case in cases:
            by_item.setdefault(case.key[:2], []).append(case)
        requests = []
        for group in by_item.values():
            missing = [case for case in group if case.key not in self.outcomes]
            ablated = tuple((case.target, case.ablation) for case in missing if case.target and case.ablation)
            if missing:
                requests.append(SweepRequest(self.queries.query(group[0].dataset, group[0].item), ablated))
        for batch in self._answers(requests):
            for outcome in batch:
                self.outcomes.setdefault(outcome.key, outcome)
            for skip in self.engine.skipped:
                self.skipped[skip["dataset"], skip["item"]] = skip["reason"]
            yield batch

    def _answers(self, requests: Sequence[SweepRequest]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan* as a run counts them: of a whole question each, judged by the user's rules."""
        assert self.engine is not None
        items = {(work.query.dataset, work.query.item_id): work.query.item for work in requests}
        runner, listed = self.model_runner.resumer or self.engine, self.settings.prompting.listing
        for found in multiple_choice.run_multiple_choice(runner, requests, self.engine.skipped, listed=listed):
            yield [self.extensions.rejudge(items[outcome.item_key], outcome) for outcome in found]

    # -- afterwards -----------------------------------------------------------------------------------------------

    def baseline_of(self, outcome: Outcome) -> Outcome | None:
        """Return what the model answered to the same item with nothing switched off."""
        return self.outcomes.get((*outcome.item_key, BASELINE, None))

    def run_post_sweep(self, progress: ProgressBar | None = None) -> None:
        """Measure what follows the sweep: the control task and, if it got through its plan, the cumulative curves."""
        if self.engine is None or self.post_sweep.attempted:
            return
        from reasoning_probe.analyses.control_task import control_task
        from reasoning_probe.analyses.cumulative_curve import cumulative_curves, plan_curves
        from reasoning_probe.engine.engine import Engine

        engine, resumer = self.engine, self.model_runner.resumer
        cases = [case for key, case in self._plan.items() if key in self.outcomes]
        variants = {case.key[2:]: (case.target, case.ablation) for case in cases if case.target and case.ablation}
        measured = list(variants.values())
        known = self._adopted | self.skipped.keys()
        own = {item: of_item for item, of_item in self._by_item.items() if item not in known}
        whole = all(case.key in self.outcomes for of_item in own.values() for case in of_item)

        def control() -> dict[str, Any] | None:
            return control_task(engine, measured) if isinstance(engine, Engine) else engine.control(measured)

        def curves() -> Iterable[list[dict[str, Any]]]:
            if not whole or not self.settings.ablate_heads:
                return ()
            scores = {key: screening.scores for key, screening in self.screenings.items()}
            queries = {item: self.queries.query(item[0], of_item[0].item) for item, of_item in own.items()}
            groups = plan_curves(every_head(self.head_map), own, self.settings.ablations, self.outcomes, scores)
            return cumulative_curves(self._answers, engine, groups, queries, self.outcomes, progress)

        recalled = resumer.recalled if resumer is not None else 0
        self.post_sweep.measure(control, curves)
        if resumer is not None:
            resumer.recalled = recalled  # what the sweep took from the store

    def _reference(self) -> dict[str, Any]:
        from reasoning_probe.models.ablation import reference_record

        assert self.engine is not None
        planned = {key[0] for key, case in self._plan.items() if case.target is not None}
        used = {name: prompts for name, prompts in self.engine.references.items() if name in planned}
        return reference_record(self.settings.ablations, used, self.settings.seed) if used else {}

    def _facts(self) -> dict[str, Any]:
        """Return what is known of the run beside its outcomes, in plain values."""
        from reasoning_probe.utils.versions import versions

        assert self.engine is not None
        timing = self.engine.timing
        used = {outcome.dataset: self.queries.generation(outcome.dataset) for outcome in self.outcomes.values()}
        return {
            "model": self.model_runner.facts,
            "generation": {
                name: {"max_new_tokens": given.max_new_tokens, "stop": list(given.stop)} for name, given in used.items()
            },
            "prompting": self.queries.describe(),
            "ablation": ",".join(self.settings.ablations),
            "formats": {name: self.datasets[name].format for name in used},
            "sizes": {name: self.size(name) for name in used},
            "reference": self._reference(),
            "control": self.post_sweep.control,
            "screening": [screening.entry() for screening in self.screenings.values()],
            "curves": self.post_sweep.curves,
            "timing": {
                "load_s": self.model_runner.load_s,
                "proof_s": self.model_runner.proof_s + timing.proof_s,
                "baseline_s": timing.baseline_s,
                "sweep_s": timing.sweep_s,
                "control_s": timing.control_s,
                "screen_s": timing.screen_s,
                "curve_s": timing.curve_s,
                "total_s": time.perf_counter() - self._started,
            },
            "engine": self.engine.facts() | self.model_runner.store_facts() | {"afterwards": self.post_sweep.error},
            "versions": versions(),
            "shard": str(self.settings.shard or ""),
            "places": places(self.datasets.values(), {key[:2] for key in self._plan}) if self.settings.shard else {},
            "skipped": [
                {"dataset": item[0], "item": item[1], "reason": self.skipped[item]}
                for item in dict.fromkeys((*self._by_item, *self.skipped))  # in the plan's order
                if item in self.skipped
            ],
        }

    def export(self, process: str = "", without: Container[Key] = ()) -> PartialRun:
        """Return the run so far in plain values, for another process; leave out the outcomes of *without*."""
        keys = dict.fromkeys(key for case in self._plan.values() for key in ((*case.key[:2], BASELINE, None), case.key))
        found = [(at, key) for at, key in enumerate(keys) if key in self.outcomes and key not in without]
        facts = self._facts() | {
            "planned": len(keys),
            "unasked": [at for at, key in enumerate(keys) if key[:2] in self.skipped],
        }
        return {
            "process": process,
            "places": [at for at, _ in found],
            "outcomes": [self.outcomes[key].as_dict() for _, key in found],
            "facts": facts,
        }

    def import_part(self, part: PartialRun) -> None:
        """Take over what another process of the same run found."""
        from reasoning_probe.results.screening import from_entry

        for values in part["outcomes"]:
            outcome = Outcome(**values)
            self.outcomes.setdefault(outcome.key, outcome)
            self._adopted.add(outcome.item_key)
        for entry in part["facts"]["screening"]:
            self.screenings[entry["dataset"], entry["ablation"]] = from_entry(entry)
        for skip in part["facts"]["skipped"]:
            self.skipped[skip["dataset"], skip["item"]] = skip["reason"]

    def finish(self) -> Run | None:
        """Return the run as far as it got; ``None`` where nothing was computed."""
        from reasoning_probe.results.merge import merge_parts

        return merge_parts([self.export()]) if self.engine is not None and self.outcomes else None
