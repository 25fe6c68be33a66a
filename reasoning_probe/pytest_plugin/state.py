"""What the plugin keeps for one pytest session, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.config import read_rules, read_settings
from reasoning_probe.pytest_plugin.gate import Gatekeeper
from reasoning_probe.pytest_plugin.gc_freeze import Calm

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.xdist import Worker
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.extensions import Extensions
    from reasoning_probe.session.session import ProbeSession, ProgressBar

SHARED = "reasoning_probe"
"""What xdist's workers are told: the folder in which they hand outcomes to each other and to the controller."""


class State:
    """What the plugin keeps for one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = read_settings(config)
        self.gate = Gatekeeper(read_rules(config, self.settings.directory))
        self.calm = Calm()
        self.problem: str | None = None
        self.run: Run | None = None
        self.page = False  # whether pytest-html was switched on
        self.page_file: Path | None = None  # where it writes
        self.shared: Path | None = None  # the folder of xdist's workers
        self.unwritten: str | None = None  # why the files or the page could not be written
        self.stopped = False  # whether Ctrl-C came while the files were written
        self.early = False  # whether it came before any outcome
        self.unsummed: str | None = None  # why the CI job's summary could not be written
        self._worker: Worker | None = None
        self._session: ProbeSession | None = None
        self.opened: list[Iterator[Any]] = []

    @property
    def session(self) -> ProbeSession:
        """The probe session, made when the first probe is collected."""
        if self._session is None:
            from reasoning_probe.session.session import ProbeSession

            self._session = ProbeSession(self.settings, extensions(self.config))
        return self._session

    @property
    def worker(self) -> Worker | None:
        """The process among xdist's workers, if it is one of them; ends the session on another machine."""
        given = getattr(self.config, "workerinput", None)
        if given is not None and self._worker is None:
            from reasoning_probe.pytest_plugin.xdist import Worker

            folder = Path(given[SHARED])
            if not folder.is_dir():
                problem = "pytest-xdist's workers must be on one machine: use --probe-shard on each, then merge"
                pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)
            number = int(given["workerid"].removeprefix("gw"))
            self._worker = Worker(self.session, folder, number, given["workercount"])
        return self._worker

    @property
    def started(self) -> bool:
        """Whether a probe was collected and can be run."""
        return self._session is not None and self.problem is None


def extensions(config: pytest.Config) -> Extensions:
    """Return the hooks of :mod:`~reasoning_probe.pytest_plugin.hookspecs` as the functions that a session calls."""
    from reasoning_probe.session.extensions import Extensions

    hook = config.hook
    return Extensions(
        source=lambda source: hook.pytest_reasoning_probe_source(source=source),
        judge=lambda item, response, truncated: hook.pytest_reasoning_probe_judge(
            item=item, response=response, truncated=truncated
        ),
        mistake=lambda item, response, judgement: hook.pytest_reasoning_probe_mistake(
            item=item, response=response, judgement=judgement
        ),
        sections=lambda run: [made for made in hook.pytest_reasoning_probe_section(run=run) if made is not None],
    )


def write_files(state: State, progress: ProgressBar, *, interrupted: bool) -> None:
    """Write the run's files, or in an xdist worker hand over what only it knows. Raises ``OSError``.

    *progress* is told of what is measured before: the cumulative curves.
    """
    if state.started and not interrupted:
        state.session.measure_more(progress)
    if hasattr(state.config, "workerinput"):
        if state._worker is not None:
            state._worker.leave()
        return
    if state.shared is not None:
        from reasoning_probe.pytest_plugin.xdist import gather

        state.run = gather(state.shared, interrupted=interrupted)
        state.early = interrupted and state.run is None and any(state.shared.glob("*.lock"))
    elif state.started:
        state.run = state.session.finish()
        state.early = interrupted and state.run is None
    if state.run is not None:
        from reasoning_probe.results import run as store
        from reasoning_probe.session.extensions import ExtensionError, plain_sections

        state.run = state.gate.judged(state.run)
        try:
            sections = extensions(state.config).sections(state.run)
            state.run.summary["sections"] = store.plain(plain_sections(sections))
        except Exception as problem:  # a user's own code: what was computed is written all the same
            said = str(problem) if isinstance(problem, ExtensionError) else repr(problem)
            state.unwritten = f"pytest_reasoning_probe_section failed, no section is written: {said}"
        store.write_run(state.settings.directory, state.run)
        if state.settings.figures:
            from reasoning_probe.report.figures.run_figures import FOLDER, write_figures

            write_figures(state.settings.directory / FOLDER, state.run)
        state.gate.record(state.run)
        _sum_up(state, state.run)


def _sum_up(state: State, run: Run) -> None:
    """Append to the summary of the CI job, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from reasoning_probe.report.ci.github import append_summary

        try:
            append_summary(Path(path), run)
        except OSError as problem:  # the run is whole without it
            state.unsummed = f"cannot write the job summary {path}: {problem.strerror}"


def unused_model(state: State) -> list[str]:
    """Return in a line that ``--model`` was given beside a fixture that gives the model, where that is so."""
    machine = state.session.machine
    if not machine.by_fixture or machine.wrapped or state.config.getoption("reasoning_probe_probe_model") is None:
        return []
    return ["reasoning-probe: --model is not used: the fixture probe_model gives the model; leave one of them out"]


def complete_junit(state: State) -> None:
    """Add the gate's checks to the file of ``--junitxml``, if there is one and it is JUnit's. Raises ``OSError``."""
    given = getattr(state.config.option, "xmlpath", None)
    gate = None if state.run is None else state.run.summary.get("gate")
    if not given or not gate:
        return
    from xml.etree.ElementTree import ParseError

    from reasoning_probe.report.ci.junit import with_gate
    from reasoning_probe.results.run import write_text

    path = Path(state.config.invocation_params.dir, os.path.expanduser(os.path.expandvars(given)))
    with suppress(ParseError):  # somebody else's file
        write_text(path, with_gate(path.read_text(encoding="utf-8"), gate))


def unwritten(problem: OSError | KeyboardInterrupt, state: State) -> str:
    """Return in one line what *problem* kept from being written, and what to do."""
    kept = "" if state.settings.cache is None else f"; the outcomes are kept in {state.settings.cache}"
    if isinstance(problem, KeyboardInterrupt):
        return f"interrupted while the files were written{kept}: the same command goes on from there"
    return (
        f"cannot write {problem.filename or state.settings.directory}: {problem.strerror}{kept}: run the same command"
        " again when that is mended, or name another folder with --probe-dir"
    )
