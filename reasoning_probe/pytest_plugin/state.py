"""The state of the plugin in one pytest session, and the keys under which tests stash theirs."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from reasoning_probe.engine.cache.store import FILE as STORE_FILE
from reasoning_probe.pytest_plugin.config import load_gate_rules, load_settings
from reasoning_probe.pytest_plugin.gate import SessionGate
from reasoning_probe.pytest_plugin.gc_freeze import GcFreeze
from reasoning_probe.pytest_plugin.skips import SkipTally
from reasoning_probe.pytest_plugin.termination import Termination, leave_process_id
from reasoning_probe.utils.text import one_line

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.xdist import XdistWorker
    from reasoning_probe.results.outcome import Key, Outcome
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.extensions import Extensions
    from reasoning_probe.session.session import ProbeSession

STATE = pytest.StashKey["PluginState"]()
"""In ``config.stash``: the plugin's state."""

OUTCOME = pytest.StashKey["Outcome"]()
"""In a test's stash, like the keys below: the outcome that the test's body checks."""

ANSWER_UNCHANGED = pytest.StashKey[bool]()
"""Whether the ablation left the answers of the test as they were."""

GROUP_OUTCOMES = pytest.StashKey[dict["Key", "Outcome"]]()
"""The outcomes of all cases that the test stands for."""

INSIDE_GROUP = pytest.StashKey[bool]()
"""Whether the body of a group's test is being run for one of its items."""

MOST_ERROR = 2000
"""Characters of an error at most; it may quote files of others."""

SHARED = "reasoning_probe"
"""The key of what xdist's controller and its workers tell each other.

``workerinput`` holds the folder through which outcomes are exchanged, ``workeroutput`` the usage error of a worker.
"""

COLLECTED = "reasoning_probe_collected"
"""The key of ``workeroutput`` under which an xdist worker says that it collected a probe."""


class PluginState:
    """The settings, the probe session, the run and the errors of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = load_settings(config)
        self.gate = SessionGate(load_gate_rules(config, self.settings.directory))
        self.gc_freeze = GcFreeze()
        self.skips = SkipTally()
        self.termination = Termination()
        self.tests_of: Counter[Key] = Counter()  # how many tests ask each case
        self.collected_elsewhere = False  # whether one of xdist's workers collected a probe
        self.run: Run | None = None
        self.html_enabled = False  # whether the page was enabled, if pytest-html is there
        self.page_file: Path | None = None  # where pytest-html writes the page
        self.shared: Path | None = None  # on xdist's controller: the folder through which outcomes are exchanged
        self.usage_error: str | None = None  # what is wrong with options or data
        self.not_judged = ""  # what the gate should have judged and did not
        self.write_error: str | None = None  # why the files or the page could not be written
        self.job_summary_error: str | None = None  # why the CI job's summary could not be written
        self.junit_error: str | None = None  # why the gate's checks are not in the JUnit file
        self.interrupted_before_outcomes = False  # Ctrl-C came before any outcome
        self.interrupted_while_writing = False  # Ctrl-C came while the files were written
        self.open_generators: list[Iterator[Any]] = []  # fixtures that were run at collection and wait for their end
        self._session: ProbeSession | None = None
        self._worker: XdistWorker | None = None

    @property
    def session(self) -> ProbeSession:
        """The probe session, made when the first probe is collected."""
        if self._session is None:
            from reasoning_probe.session.session import ProbeSession

            self._session = ProbeSession(self.settings, extensions(self.config))
        return self._session

    @property
    def collected(self) -> bool:
        """Whether a probe was collected, here or by xdist's workers."""
        return self._session is not None or self.collected_elsewhere or self.skips.probes

    @property
    def started(self) -> bool:
        """Whether a probe was collected and can be run."""
        return self._session is not None and self.usage_error is None

    @property
    def has_answers(self) -> bool:
        """Whether the model has been asked: what a case asks for is likely to be known."""
        return self._session is not None and self._session.engine is not None

    @property
    def worker(self) -> XdistWorker | None:
        """The xdist worker that this process is, if any; ends the session if it cannot reach the shared folder."""
        worker_input = getattr(self.config, "workerinput", None)
        if worker_input is not None and self._worker is None:
            from reasoning_probe.pytest_plugin.xdist import XdistWorker

            folder = Path(worker_input[SHARED])
            if not folder.is_dir():
                error = "pytest-xdist's workers must be on one machine: use --probe-shard on each, then merge"
                end_session(self.config, error)
            number = int(worker_input["workerid"].removeprefix("gw"))
            self._worker = XdistWorker(self.session, folder, number, worker_input["workercount"])
        return self._worker

    def share_folder(self, node: Any) -> None:
        """Tell xdist's worker *node* the folder through which outcomes are exchanged, made for the first of them."""
        if self.shared is None:
            try:
                folder = tempfile.mkdtemp(prefix="reasoning-probe-")
            except OSError as error:
                place = error.filename or "there is none"
                raise pytest.UsageError(
                    f"pytest-xdist's workers need a temporary folder ({one_line(place)}: {error.strerror}): name one"
                    " with TMPDIR"
                ) from None
            self.shared = self.termination.workers = Path(folder)
            self.termination.install()
        node.workerinput[SHARED] = str(self.shared)

    def handle_sigterm(self) -> None:
        """End the session at SIGTERM as at Ctrl-C; an xdist worker tells the controller where it can be reached."""
        self.termination.install()
        worker_input = getattr(self.config, "workerinput", None)
        if worker_input is not None:
            leave_process_id(Path(worker_input[SHARED]), worker_input["workerid"])

    def note_write_error(self, error: OSError | KeyboardInterrupt) -> None:
        """Keep in one line what *error* prevented from being written, and what to do; the first such line stands."""
        self.interrupted_while_writing |= isinstance(error, KeyboardInterrupt)
        store = self.settings.cache
        stored = store is not None and (store / STORE_FILE).is_file()  # it may have been of no use
        cache = f"; the outcomes are kept in {store}" if stored else ""
        if isinstance(error, KeyboardInterrupt):
            line = f"interrupted while the files were written{cache}: the same command continues from there"
        else:
            line = (
                f"cannot write {error.filename or self.settings.directory}: {error.strerror}{cache}: run the same"
                " command again when that is fixed, or name another folder with --probe-dir"
            )
        self.write_error = self.write_error or line

    def tell_controller(self, error: str) -> None:
        """Have xdist's controller end the session with the line *error* once this worker is done."""
        self.config.workeroutput.setdefault(SHARED, error)  # type: ignore[attr-defined]  # set by xdist

    def import_rest(self) -> None:
        """Take over what other xdist workers answered, if this one measures the heads of all of them."""
        if self._worker is not None:
            self._worker.import_rest()

    def publish_rest(self) -> None:
        """Publish what this xdist worker computed since its last part, if it was asked for anything."""
        if self._worker is not None:
            self._worker.publish_rest()

    def close(self) -> None:
        """Release the generator fixtures that were run at collection, the model, and the folder of the workers."""
        self.termination.restore()
        self.gc_freeze.unfreeze()
        for generator in self.open_generators:
            next(generator, None)
        if self.started:
            self.session.model_runner.close()
        if self.shared is not None:
            shutil.rmtree(self.shared, ignore_errors=True)


def end_session(config: pytest.Config, error: str) -> NoReturn:
    """End the session with the line *error* and exit code 4; an xdist worker leaves that to the controller."""
    error = one_line(error, MOST_ERROR)
    if not hasattr(config, "workerinput"):
        pytest.exit(error, returncode=pytest.ExitCode.USAGE_ERROR)
    getattr(config, "workeroutput")[SHARED] = error  # noqa: B009  # set by xdist, unknown to the type
    pytest.exit(error, returncode=pytest.ExitCode.INTERRUPTED)  # with another code the controller would miss the test


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
        sections=lambda run: [
            section for section in hook.pytest_reasoning_probe_section(run=run) if section is not None
        ],
    )
