"""What is measured after the sweep, from its outcomes: the control task and the cumulative curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.results.record import ControlRecord, CurveRecord

if TYPE_CHECKING:
    from reasoning_probe.results.outcome import ItemKey
    from reasoning_probe.session.session import ProbeSession, ProgressBar


@dataclass
class PostSweep:
    """The results, as far as they got: outcomes are worth more, so no error of an analysis ends a run.

    ``error`` says in a line why something is missing.
    """

    control: ControlRecord | None = None
    curves: list[CurveRecord] | None = None
    error: str = ""

    @property
    def attempted(self) -> bool:
        """Whether there is a result or an error."""
        return self.control is not None or self.curves is not None or bool(self.error)

    def measure(
        self, control: Callable[[], ControlRecord | None], curves: Callable[[], Iterable[list[CurveRecord]]]
    ) -> None:
        """Run the *control* task, then the *curves*, which come a dataset at a time."""
        try:
            self.control = control()
            for entries in curves():
                self.curves = [*(self.curves or ()), *entries]
        except KeyboardInterrupt:
            self.error = "interrupted while control task and curves were measured: the same command goes on"
        except Exception as error:  # whatever a model raises with many heads off
            text = " ".join(str(error).split())[:200]
            self.error = f"control task and curves are not complete: {type(error).__name__}: {text}"


def run_post_sweep(session: ProbeSession, elsewhere: Iterable[ItemKey], progress: ProgressBar | None) -> None:
    """Measure the control task and, where the whole plan was answered, the cumulative curves of *session*.

    The items *elsewhere* were answered by another process, which measures them.
    """
    engine, outcomes = session.engine, session.outcomes
    if engine is None or session.post_sweep.attempted:
        return
    from reasoning_probe.analyses.control_task import control_task
    from reasoning_probe.analyses.cumulative_curve import cumulative_curves, plan_curves
    from reasoning_probe.models.targets import every_head

    answered = [case for key, case in session.plan.cases.items() if key in outcomes and key not in session.left_out]
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
        return cumulative_curves(session.judged_answers, engine, specs, queries, outcomes, progress)

    session.post_sweep.measure(lambda: control_task(engine, variants.values()), curves)
