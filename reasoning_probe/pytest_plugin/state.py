"""What the plugin keeps for one pytest session, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.config import read_rules, read_settings
from reasoning_probe.pytest_plugin.gate import Gatekeeper
from reasoning_probe.pytest_plugin.gc_freeze import Calm

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.xdist import Worker
    from reasoning_probe.results.outcome import Key, Outcome
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.extensions import Extensions
    from reasoning_probe.session.session import ProbeSession

STATE = pytest.StashKey["State"]()
ASKED = pytest.StashKey["Outcome"]()
UNCHANGED = pytest.StashKey[bool]()
GROUP = pytest.StashKey[dict["Key", "Outcome"]]()
INSIDE = pytest.StashKey[bool]()

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


def unused_model(state: State) -> list[str]:
    """Return in a line that ``--model`` was given beside a fixture that gives the model, where that is so."""
    machine = state.session.machine
    if not machine.by_fixture or machine.wrapped or state.config.getoption("reasoning_probe_probe_model") is None:
        return []
    return ["reasoning-probe: --model is not used: the fixture probe_model gives the model; leave one of them out"]
