"""What the plugin keeps for one pytest session, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.config import load_gate_rules, load_settings
from reasoning_probe.pytest_plugin.gate import SessionGate
from reasoning_probe.pytest_plugin.gc_freeze import GcFreeze

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.xdist import XdistWorker
    from reasoning_probe.results.outcome import Key, Outcome
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.extensions import Extensions
    from reasoning_probe.session.session import ProbeSession

STATE = pytest.StashKey["PluginState"]()
OUTCOME = pytest.StashKey["Outcome"]()
ANSWER_UNCHANGED = pytest.StashKey[bool]()
GROUP_OUTCOMES = pytest.StashKey[dict["Key", "Outcome"]]()
INSIDE_GROUP = pytest.StashKey[bool]()

SHARED = "reasoning_probe"
"""What xdist's workers are told: the folder in which they hand outcomes to each other and to the controller."""


class PluginState:
    """What the plugin keeps for one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = load_settings(config)
        self.gate = SessionGate(load_gate_rules(config, self.settings.directory))
        self.gc_freeze = GcFreeze()
        self.usage_error: str | None = None
        self.run: Run | None = None
        self.page = False  # whether pytest-html was switched on
        self.page_file: Path | None = None  # where it writes
        self.shared: Path | None = None  # the folder of xdist's workers
        self.write_error: str | None = None  # why the files or the page could not be written
        self.interrupted_while_writing = False  # whether Ctrl-C came while the files were written
        self.interrupted_before_outcomes = False  # whether it came before any outcome
        self.job_summary_error: str | None = None  # why the CI job's summary could not be written
        self._worker: XdistWorker | None = None
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
    def worker(self) -> XdistWorker | None:
        """The process among xdist's workers, if it is one of them; ends the session on another machine."""
        given = getattr(self.config, "workerinput", None)
        if given is not None and self._worker is None:
            from reasoning_probe.pytest_plugin.xdist import XdistWorker

            folder = Path(given[SHARED])
            if not folder.is_dir():
                error = "pytest-xdist's workers must be on one machine: use --probe-shard on each, then merge"
                pytest.exit(error, returncode=pytest.ExitCode.USAGE_ERROR)
            number = int(given["workerid"].removeprefix("gw"))
            self._worker = XdistWorker(self.session, folder, number, given["workercount"])
        return self._worker

    @property
    def started(self) -> bool:
        """Whether a probe was collected and can be run."""
        return self._session is not None and self.usage_error is None


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


def unused_model(state: PluginState) -> list[str]:
    """Return in a line that ``--model`` was given beside a fixture that gives the model, where that is so."""
    machine = state.session.model_runner
    if (
        not machine.from_fixture
        or machine.fixture_has_dependencies
        or state.config.getoption("reasoning_probe_probe_model") is None
    ):
        return []
    return ["reasoning-probe: --model is not used: the fixture probe_model gives the model; leave one of them out"]
