"""The gate of a pytest session: its check of the plan before anything is computed, and its verdict at the end."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from reasoning_probe.results.gate_rules import EVERY, GateRules
from reasoning_probe.utils.text import join_names, shorten

if TYPE_CHECKING:
    from reasoning_probe.results.gate_reference import Answers
    from reasoning_probe.results.outcome import ItemKey, Outcome
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.session import ProbeSession


class SessionGate:
    """The gate that holds the run of one session to *rules*."""

    def __init__(self, rules: GateRules) -> None:
        self.rules = rules
        self.message: str | None = None  # that the reference was updated
        self.error: str | None = None  # why the reference could not be read or updated
        self.write_failed = False  # whether that was an error of the file system
        self._judged: frozenset[str] = frozenset()  # the datasets that the gate judges

    @cached_property
    def reference(self) -> Answers | None:
        """The answers to compare with, if any. Raises ``RunError``."""
        from reasoning_probe.results.gate_reference import read_reference

        if self.rules.reference is None or self.rules.update:
            return None
        return read_reference(self.rules.reference)

    def precheck(self, session: ProbeSession) -> str | None:
        """Return in one line why the rules cannot be applied to the plan of *session*, if they cannot."""
        from reasoning_probe.data.datasets import BUILTIN
        from reasoning_probe.results.gate_reference import other_items
        from reasoning_probe.results.run import RunError

        unknown = sorted(self.rules.named - {EVERY} - set(session.datasets) - set(BUILTIN))
        if unknown:
            known = ", ".join(sorted(session.datasets))
            return f"--probe-min-accuracy: no probe asks for a dataset {unknown[0]!r}: the probes ask for {known}"
        if self.rules.update and not all(map(session.covers_all_of, session.planned_datasets)):
            return "--probe-update-reference takes whole datasets: select all of their items"
        if self.rules.update and session.settings.shard is not None:
            return "--probe-update-reference takes whole datasets: leave out --probe-shard"
        try:
            reference = self.reference
        except RunError as error:
            return f"--probe-reference: {error}"
        if reference is not None:
            marked = session.plan.skipped_items - session.plan.by_item.keys()
            for dataset in session.planned_datasets:
                items = [item for item in session.datasets[dataset].items if (dataset, str(item.id)) not in marked]
                skipped = {id for name, id in marked if name == dataset}
                difference = other_items(reference, dataset, items, skipped)
                if difference:
                    return (
                        f"--probe-reference: {self.rules.reference} was made from other items: {difference};"
                        " ask the same ones, or replace it with --probe-update-reference"
                    )
        whole = [name for name in session.planned_datasets if session.covers_all_of(name)]
        self._judged = frozenset(whole if any(map(self.rules.judges, whole)) else ())
        return None

    def decides(self, dataset: str) -> bool:
        """Tell whether the gate judges *dataset* in place of the tests of its single answers.

        The gate does not judge a dataset of which only a part is selected: each of its tests has its own verdict, so
        that no wrong answer is passed over.
        """
        return dataset in self._judged

    def evaluate(self, run: Run) -> Run:
        """Return *run* with the gate's verdict in its summary, as ``run.json`` holds it."""
        from reasoning_probe.results.gate import evaluate_gate
        from reasoning_probe.results.gate_reference import reference_changes
        from reasoning_probe.results.run import Run, RunError

        if not self.rules.min_accuracy and (self.rules.update or self.rules.reference is None):
            return run  # there is no limit to hold it to
        try:
            reference = self.reference
        except RunError as error:  # the file vanished during the session
            self.error, reference = f"--probe-reference: {error}", None
        gate = evaluate_gate(run, self.rules, reference)
        if reference is not None and self.rules.reference is not None:
            gate["since"] = reference_changes(self.rules.reference, run)
        return Run(run.summary | {"gate": gate}, run.outcomes)

    def update_reference(self, run: Run) -> None:
        """Make *run* the reference if ``--probe-update-reference`` is set and the run is complete and passed."""
        from reasoning_probe.results.gate_reference import write_reference
        from reasoning_probe.results.run import RunError

        path = self.rules.reference
        if not self.rules.update or path is None:
            return
        if run.summary.get("partial"):
            self.error = f"{path} was not updated: the run ended early"
        elif (gate := run.summary.get("gate")) and gate["passed"] is False:
            self.error = f"{path} was not updated: the gate failed"
        elif not run.summary["datasets"]:
            self.error = f"{path} was not updated: no item was answered"
        else:
            try:
                write_reference(path, run)
                self.message = f"reference: {path} was updated"
            except RunError as error:
                self.error = str(error)
            except OSError as error:
                self.error = f"cannot write {error.filename or path}: {error.strerror}: name another reference"
                self.write_failed = True

    def failed(self, run: Run | None) -> bool:
        """Tell whether a session whose tests all passed must fail: the gate failed or had too little to judge."""
        if self.error:
            return True
        gate = None if run is None else run.summary.get("gate")
        if run is None or gate is None:
            return False
        return gate["passed"] is False or (gate["passed"] is None and bool(run.summary.get("partial")))

    def not_judged(self, run: Run | None, skipped: Collection[str], baselines: Collection[ItemKey]) -> str:
        """Say in one line what the gate should have judged and did not; empty where it judged all.

        No verdict is no pass. A part of a dataset has one, since each of its answers does; a shard leaves it to the
        merged run. Limits of the ini file hold for the datasets of which a test is selected, *skipped* are those of
        which a test was skipped. *baselines* are the items whose answer without an ablation had a test of its own.
        """
        if not self.rules.on:
            return ""
        gate = None if run is None else run.summary.get("gate")
        judged = {check["dataset"] for check in gate["checks"]} if gate else set[str]()
        if self.rules.typed and run is not None and (wrong := _passed_over(run, baselines)):
            return (
                f"the gate judged no part of {shorten(wrong.dataset, 40)}, and no selected test judged the wrong"
                f" baseline answer to {shorten(wrong.item, 40)}"
            )
        unjudged = self.rules.min_accuracy.keys() - {EVERY} - judged
        due = unjudged & (self.rules.named | {*skipped})
        names = [shorten(name, 40) for name in self.rules.min_accuracy if name in due]
        if names:
            return f"the gate judged no item of {join_names(names)}, for which there is a limit"
        for_all = EVERY in self.rules.min_accuracy or (self.rules.reference is not None and not self.rules.update)
        if for_all and not judged and (run is None or not run.summary["datasets"]) and (self.rules.typed or skipped):
            return "the gate judged nothing, since no question was asked"
        return ""


def _passed_over(run: Run, baselines: Collection[ItemKey]) -> Outcome | None:
    """Return a wrong answer without an ablation that neither the gate of *run* judged nor a test, if there is any.

    *baselines* are the items whose answers had a test.
    """
    from reasoning_probe.results.outcome import BASELINE
    from reasoning_probe.results.skips import is_skipped_baseline

    gate = run.summary.get("gate")
    if gate is None or run.summary.get("shard"):
        return None
    unsettled = {check["dataset"] for check in gate["checks"] if check["passed"] is None}
    skipped = {name: frozenset(ids) for name, ids in (run.summary.get("skipped_tests") or {}).items()}
    wrong = (each for each in run.outcomes if each.target == BASELINE and not each.correct)
    for outcome in wrong:
        by_none = outcome.item_key not in baselines and not is_skipped_baseline(outcome, skipped)
        if by_none and outcome.dataset in unsettled:
            return outcome
    return None
