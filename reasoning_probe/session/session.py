"""A session: the settings, the cases to answer, and the engine that answers them. Knows no pytest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.places import check_place
from reasoning_probe.models.targets import Target, TargetError, every_head, every_layer, parse_targets, unique_targets
from reasoning_probe.results.cards.choice import named_targets
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.results.samples import judged_cases
from reasoning_probe.scoring.extraction.markup import thought_marks
from reasoning_probe.session import post_sweep, run_record
from reasoning_probe.session.extensions import Extensions
from reasoning_probe.session.judged_answers import JudgedAnswers
from reasoning_probe.session.model_runner import ModelRunner
from reasoning_probe.session.plan import Case, Plan, every_case
from reasoning_probe.session.post_sweep import PostSweep
from reasoning_probe.session.queries import DatasetSource, QueryBuilder
from reasoning_probe.session.races import Races
from reasoning_probe.session.settings import Settings
from reasoning_probe.utils.text import join_names

if TYPE_CHECKING:
    from reasoning_probe.engine.protocol import Engine, SweepRequest
    from reasoning_probe.engine.thoughts import Thinking
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.results.answer import Answer
    from reasoning_probe.results.merge import PartialRun
    from reasoning_probe.results.run import Run
    from reasoning_probe.results.screening import Screening
    from reasoning_probe.results.skips import SkippedCase

ProgressBar = Callable[[int, int], None]
"""Called with the number of rows done and of rows in all."""


class ProbeSession:
    """Everything between the options and the outcomes of one run."""

    def __init__(self, settings: Settings, extensions: Extensions | None = None) -> None:
        self.settings = settings
        self.extensions = extensions or Extensions()
        self.queries = QueryBuilder(settings, self.extensions)
        self.datasets = self.queries.datasets
        self.plan = Plan(self.datasets, settings.shard)
        self.model_runner = ModelRunner(settings, self.queries)
        self.judged = JudgedAnswers(self.extensions, settings.prompting)
        self.outcomes: dict[Key, Outcome] = {}
        self.skipped: dict[ItemKey, str] = {}
        self.owners: dict[str, list[str]] = {}  # by dataset, who is asked when its answers get worse
        self.left_out: Collection[Key] = ()  # the cases that their tests skipped
        self.screenings: dict[tuple[str, str], Screening] = {}  # by dataset and ablation
        self.races = Races()
        self.post_sweep = PostSweep()
        self.started = time.perf_counter()
        self._pending: Iterator[list[Outcome]] = iter(())
        self._imported: set[ItemKey] = set()  # the items that another process answered
        self.measures_heads = True
        """Whether this process measures what heads do; of several that share a run, one does, on all its items."""

    @property
    def engine(self) -> Engine | None:
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
        settings = self.settings
        if not settings.ablating:
            return ()
        targets: list[Target] = []
        if settings.heads is not None:
            for spec in [settings.heads] if isinstance(settings.heads, str) else settings.heads:
                targets += [spec] if isinstance(spec, Target) else parse_targets(spec, self.head_map)
        elif settings.ablate_heads:
            targets += every_head(self.head_map)
        if settings.ablate_layers:
            targets += every_layer(self.head_map)
        targets = list(unique_targets(targets))
        for name in named_targets(settings.describe) or ():
            if name not in {target.name for target in targets}:
                raise TargetError(f"{name} cannot have a card, since it is not switched off: add it to --probe-heads")
        return tuple(targets)

    def cases(self, dataset: Dataset) -> list[Case]:
        """Return the cases of *dataset*: each item as it is, then under every target."""
        return every_case(dataset, [(target, name) for name in self.settings.ablations for target in self.targets])

    def in_shard(self, case: Case) -> bool:
        """Tell whether *case* belongs to the shard that the settings name; an item's cases all lie in one."""
        return self.plan.in_shard(case)

    def select(self, cases: Iterable[Case]) -> None:
        """Make *cases*, which every kind of deselection has left over, the plan."""
        self.plan.select(cases)

    def check_plan(self) -> None:
        """Raise ``PlaceError`` or ``ItemError`` if no planned question has the place, or what is patched into it."""
        if self.settings.ablating and self.plan.cases:
            items = [cases[0].item for cases in self.plan.by_item.values()]
            check_place(self.settings.where, items, thinking=self.settings.think_tokens is not None)
            self.queries.donors.check(items)

    @property
    def planned_datasets(self) -> list[str]:
        """The datasets of which the plan holds an item."""
        return self.plan.planned_datasets

    def covers_all_of(self, dataset: str) -> bool:
        """Tell whether the plan holds every item of *dataset* that there is to ask."""
        return self.plan.covers_all_of(dataset)

    @property
    def items(self) -> list[ItemKey]:
        """The plan's items, ``(dataset, item id)`` each, in its order."""
        return list(self.plan.by_item)

    def summary_line(self) -> str:
        """Say in one line what will run."""
        runner = self.model_runner
        heads = f", {len(self.head_map)} heads in {len(self.head_map.attention_layers)} layers" if self.targets else ""
        in_memory = runner.provided is not None or (runner.from_fixture and not runner.fixture_has_dependencies)
        name = "a model in memory" if in_memory else self.settings.model
        return f"reasoning-probe: {name}{heads}, {len(self.plan.by_item)} items, {len(self.plan.cases)} cases"

    def fewer_items_line(self) -> str:
        """Say in one line which datasets have fewer items than the settings ask of each; empty where none has."""
        most = self.settings.items
        if not isinstance(most, int):
            return ""
        sizes = {name: len(dataset.items) for name, dataset in self.datasets.items() if len(dataset.items) < most}
        counts = join_names([f"{name} has {size}" for name, size in sizes.items()])
        return (
            f"reasoning-probe: {counts} of the {most} items that --probe-items asks for: all are asked" if sizes else ""
        )

    def race_line(self) -> str:
        """Say in one line which datasets have too few items for a race; empty where none has."""
        from reasoning_probe.analyses.racing import LEAST_ITEMS

        if not self.settings.race or not self.targets:
            return ""
        sizes = Counter(dataset for dataset, _ in self.plan.by_item)
        counts = join_names([f"{name} has {size}" for name, size in sizes.items() if size < LEAST_ITEMS])
        note = f"reasoning-probe: {counts} of the {LEAST_ITEMS} items that a race needs: none is stopped"
        return note if counts else ""

    def generation_lines(self) -> list[str]:
        """Say in one line each which settings of the model change its answers, and which are not used."""
        from reasoning_probe.models.generation import rules_sentence, unused_sentence

        record = self.model_runner.rules.record()
        sentences = [rules_sentence(record), unused_sentence(record)]
        return [f"reasoning-probe: {sentence}" for sentence in sentences if sentence]

    # -- the run --------------------------------------------------------------------------------------------------

    def outcome(self, case: Case, *, whole_plan: bool = True, progress: ProgressBar | None = None) -> Outcome | None:
        """Return the outcome of *case*, computing what is missing; ``None`` where there is none (:meth:`skip_reason`).

        The first call runs the whole plan; with ``whole_plan=False`` each runs no more than the item of *case*, unless
        targets race over all items.
        """
        if self.engine is None:
            self._start()
        if self.unmeasured(case):
            return None
        whole_plan = whole_plan or self.settings.race
        if case.key not in self.plan.cases:
            self.plan.cases[case.key] = case
            self._pending = self._run([case])
        elif not whole_plan and not self._answered(case):
            self._pending = self._run(self.plan.by_item[case.item_key])
        unplanned = 0

        def report(batch: Sequence[Outcome] = ()) -> None:
            nonlocal unplanned
            unplanned += sum(outcome.target == BASELINE and outcome.key not in self.plan.cases for outcome in batch)
            if progress is not None:
                progress(len(self.outcomes) - unplanned, len(self.plan.cases))

        if case.key not in self.outcomes:
            report()
        assert self.engine is not None
        with self.engine.pace.reported_to(report):
            while not self._answered(case):
                batch = next(self._pending, None)
                if batch is None:
                    # Asked for out of the plan's order or added to it later, or the model raised on another item.
                    self._pending = self._run(self.plan.by_item.get(case.item_key, [case]))
                else:
                    report(batch)
            if whole_plan:
                for batch in self._pending:
                    report(batch)
        return self.outcomes.get(case.key)

    def _answered(self, case: Case) -> bool:
        return case.key in self.outcomes or case.item_key in self.skipped or self.unmeasured(case)

    def unmeasured(self, case: Case) -> bool:
        """Tell whether the target of *case* was not chosen by the screening, or was stopped by the race."""
        return self.screened_out(case) or self.races.stopped(case)

    @property
    def unmeasured_targets(self) -> LeftOut:
        """The targets that the screening and the races left out of the tests, whose corrections count them."""
        screening = [screening.entry() for screening in self.screenings.values()]
        return LeftOut(screening, [race.entry() for race in self.races.by_map.values()])

    def screened_out(self, case: Case) -> bool:
        """Tell whether the screening did not choose the head of *case*."""
        screening = self.screenings.get((case.dataset, str(case.ablation)))
        return screening is not None and screening.excludes(case.target_name)

    def skip_reason(self, case: Case) -> str:
        """Say why *case* has no outcome: its item does not fit, or its head was stopped or not chosen."""
        if self.races.stopped(case):
            return self.races.reason(case)
        screened = (
            f"not among the heads that --probe-screen {self.settings.screen} measures: --probe-heads measures any"
        )
        return self.skipped.get(case.item_key, screened)

    def sweep(self, items: Iterable[ItemKey], progress: ProgressBar | None = None) -> None:
        """Compute every planned case of *items*, ``(dataset, item id)`` each."""
        if self.engine is None:
            self._start()
        cases = [case for item in items for case in self.plan.by_item.get(item, ())]
        for _ in self._raced(cases) if self.settings.race else self._run(cases):
            if progress is not None:
                progress(len(self.outcomes), len(self.plan.cases))

    def _start(self) -> None:
        self.model_runner.start(self.targets)
        if self.settings.screen is not None:
            self._screen(self.settings.screen)
        cases = list(self.plan.cases.values())
        self._pending = self._raced(cases) if self.settings.race else self._run(cases)

    def _screen(self, most: int) -> None:
        """Choose *most* heads to measure, and leave the cases of the others out of the plan."""
        from reasoning_probe.analyses.screening import screen

        assert self.engine is not None
        settings, heads = self.settings, {target.name for target in every_head(self.head_map)}
        cases = self.plan.cases.values()
        for name in dict.fromkeys(case.dataset for case in cases if case.target_name in heads):
            queries = [self.queries.query(name, item) for item in self.datasets[name].items]
            screenings = screen(self.engine, queries, settings.ablations, most, settings.seed, settings.screen_method)
            self.screenings |= {(name, screening.ablation): screening for screening in screenings}
        self.leave_out_unmeasured()

    def leave_out_unmeasured(self) -> None:
        """Leave the cases of targets that are not measured to the end out of the plan, and out of the outcomes."""
        unmeasured = [case for case in self.plan.cases.values() if self.unmeasured(case)]
        if unmeasured:
            for case in unmeasured:
                self.outcomes.pop(case.key, None)
            self.select([case for case in self.plan.cases.values() if not self.unmeasured(case)])

    def _raced(self, cases: Sequence[Case]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *cases* that are missing, a block of items after another, until targets are stopped."""
        by_dataset: dict[str, list[Case]] = {}
        for case in cases:
            by_dataset.setdefault(case.dataset, []).append(case)
        for name, of_dataset in by_dataset.items():
            for items in self.races.run(name, of_dataset, self.screenings.values(), self.outcomes):
                self.leave_out_unmeasured()
                yield from self._run([case for item in items for case in self.plan.by_item.get(item, ())])

    def _run(self, cases: Sequence[Case]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *cases* that are missing, and keep them."""
        from reasoning_probe.engine.protocol import SweepRequest

        assert self.engine is not None
        by_item: dict[ItemKey, list[Case]] = {}
        for case in cases:
            by_item.setdefault(case.item_key, []).append(case)
        requests = []
        for of_item in by_item.values():
            missing = [case for case in of_item if case.key not in self.outcomes]
            ablated = tuple((case.target, case.ablation) for case in missing if case.target and case.ablation)
            first = of_item[0]
            if reason := self.queries.left_out(first.dataset, first.item):
                self.skipped[first.item_key] = reason
            elif missing:
                requests.append(SweepRequest(self.queries.query(first.dataset, first.item), ablated))
        for batch in self.judged_answers(requests):
            for skip in self.engine.skipped:
                self._skip((skip["dataset"], skip["item"]), skip["reason"], by_item)
            answered = [outcome for outcome in batch if outcome.item_key not in self.skipped]
            for outcome in answered:
                self.outcomes.setdefault(outcome.key, outcome)
            yield answered

    def _skip(self, item: ItemKey, reason: str, cases: Mapping[ItemKey, Sequence[Case]]) -> None:
        """Leave *item* out whole: the thought of one of its *cases* may not fit where that of another did."""
        if item not in self.skipped:
            self.skipped[item] = reason
            for case in cases.get(item, ()):
                self.outcomes.pop(case.key, None)

    @cached_property
    def thinking(self) -> Thinking | None:
        """How thoughts are asked; ``None`` where they have no tokens of their own."""
        from reasoning_probe.engine.thoughts import Thinking

        tokens = self.settings.think_tokens
        return None if tokens is None else Thinking(tokens, thought_marks(self.settings.prompting.think))

    def judged_answers(self, requests: Sequence[SweepRequest]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *requests*: each answer to a whole question, judged by the user's rules first."""
        from reasoning_probe.engine.multiple_choice import run_multiple_choice
        from reasoning_probe.engine.sampled_answers import run_samples
        from reasoning_probe.engine.thoughts import run_thoughts

        assert self.engine is not None
        sampling, ask = self.settings.sampling, run_multiple_choice
        if self.thinking is not None:
            ask = partial(run_thoughts, thinking=self.thinking)
        if sampling is None:
            yield from map(self._judged, ask(self.engine, requests))
        else:
            answers = run_samples(self.engine, requests, sampling.draws(self.settings.seed), ask)
            yield from judged_cases(map(self._judged, answers), sampling.samples, sampling.verdict)

    def _judged(self, answers: Sequence[Answer]) -> list[Outcome]:
        return [answer.judged(self.judged.judgement(answer)) for answer in answers]

    # -- afterwards -----------------------------------------------------------------------------------------------

    def baseline_of(self, outcome: Outcome) -> Outcome | None:
        """Return what the model answered to the same item with nothing switched off."""
        return self.outcomes.get((*outcome.item_key, BASELINE, None))

    def run_post_sweep(self, progress: ProgressBar | None = None) -> None:
        """Measure what follows the sweep: the control task and, if it got through its plan, the cumulative curves."""
        post_sweep.run_post_sweep(self, self._imported, progress)

    def export(self, process: str = "", without: Container[Key] = ()) -> PartialRun:
        """Return the run so far as the part of *process*; leave out the outcomes of *without*."""
        return run_record.partial_run(self, process, without)

    def import_part(self, part: PartialRun) -> None:
        """Take over the outcomes of another process of the same run."""
        self._imported |= run_record.import_part(self, part)

    def finish(self, skipped: Collection[SkippedCase] = ()) -> Run | None:
        """Return the run as far as it got, without the cases that their tests *skipped*.

        It is ``None`` where nothing was asked.
        """
        from reasoning_probe.results.merge import merge_parts

        if self.engine is None or not (self.outcomes or self.skipped):
            return None
        return merge_parts([self.export()], skipped)
