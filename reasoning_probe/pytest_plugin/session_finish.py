"""The end of a pytest session: post-sweep analyses, the run's files, the CI job's summary, the gate and exit status."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reasoning_probe.pytest_plugin.collection import asks_nothing
from reasoning_probe.pytest_plugin.html_report import page_is_wanted
from reasoning_probe.pytest_plugin.invocation import invocation
from reasoning_probe.pytest_plugin.progress import progress_bar
from reasoning_probe.pytest_plugin.state import STATE, PluginState, extensions

if TYPE_CHECKING:
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.session import ProgressBar


_VERDICTS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def finish_session(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Write the run's files, let the other plugins finish, complete the JUnit XML and set the exit status.

    A file that cannot be written becomes a line of the terminal summary; the outcomes are safe in the outcome store.
    """
    state = session.config.stash.get(STATE, None)
    if state is None:
        return (yield)
    try:
        with progress_bar(session.config, "curve", new_line=True) as progress:
            finish_run(state, progress, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
    except (OSError, KeyboardInterrupt) as error:  # on a second Ctrl-C pytest is ending already
        state.note_write_error(error)
    try:
        result = yield
        complete_junit(state)
        return result
    except OSError as error:
        if state.run is None and not state.html_enabled:
            raise
        state.note_write_error(error)
        return None
    finally:
        if state.interrupted_while_writing or state.termination.received:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif state.write_error or state.gate.write_failed:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif session.exitstatus in _VERDICTS and _gate_failed(state):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _gate_failed(state: PluginState) -> bool:
    """Tell whether the gate ends the session as failed; one that lists tests, or has no probe, is not judged."""
    if state.collected and not hasattr(state.config, "workerinput") and not asks_nothing(state.config):
        state.not_judged = state.gate.not_judged(state.run, state.skips.datasets, state.skips.baselines)
    return bool(state.not_judged) or state.gate.failed(state.run)


def finish_run(state: PluginState, progress: ProgressBar, *, interrupted: bool) -> None:
    """Run the post-sweep analyses and write the run's files, or publish them in an xdist worker. Raises ``OSError``.

    *progress* is called while the cumulative curves are measured.
    """
    skipped = state.skips.cases()
    if state.started and not interrupted:
        state.session.left_out = {case.key for case in skipped}
        state.termination.hold(False)
        state.import_rest()
        state.session.run_post_sweep(progress)
    state.termination.hold()
    if hasattr(state.config, "workerinput"):
        publish_rest(state)
        return
    if state.shared is not None:
        from reasoning_probe.pytest_plugin.xdist import collect_parts

        state.run = collect_parts(state.shared, skipped, interrupted=interrupted)
        state.interrupted_before_outcomes = interrupted and state.run is None and any(state.shared.glob("*.lock"))
    elif state.started:
        state.run = state.session.finish(skipped)
        state.interrupted_before_outcomes = interrupted and state.run is None
    if state.run is not None:
        state.run.summary["invocation"] = invocation(state.config, state.run)
        state.run = state.gate.evaluate(state.run)
        _add_sections(state, state.run)
        _write_files(state, state.run)
        state.gate.update_reference(state.run)
        append_job_summary(state, state.run)


def publish_rest(state: PluginState) -> None:
    """Publish what this xdist worker computed since its last part, or tell the controller why it cannot."""
    from reasoning_probe.pytest_plugin.xdist import SharedFolderError

    try:
        state.publish_rest()
    except SharedFolderError as error:
        state.tell_controller(str(error))


def _add_sections(state: PluginState, run: Run) -> None:
    """Add the sections of the user's hooks to the summary of *run*; one that fails costs no file."""
    from reasoning_probe.session.extensions import ExtensionError, plain_sections
    from reasoning_probe.utils.files import to_json_types

    try:
        run.summary["sections"] = to_json_types(plain_sections(extensions(state.config).sections(run)))
    except Exception as error:  # the hook is a user's code
        reason = str(error) if isinstance(error, ExtensionError) else repr(error)
        state.write_error = f"pytest_reasoning_probe_section failed; no section is written: {reason}"


def _write_files(state: PluginState, run: Run) -> None:
    from reasoning_probe.results.run import write_run

    write_run(state.settings.directory, run)
    if state.shared is not None and not state.html_enabled and page_is_wanted(state.config):
        from reasoning_probe.report.html.page import standalone_page
        from reasoning_probe.utils.files import atomic_write_text

        # Interrupted, xdist's workers reported no test: this page has the findings, and no table of tests.
        state.page_file = state.settings.directory / "report.html"
        atomic_write_text(state.page_file, standalone_page(run))
    if state.settings.figures:
        from reasoning_probe.report.figures.run_figures import FOLDER, write_figures

        write_figures(state.settings.directory / FOLDER, run)


def append_job_summary(state: PluginState, run: Run) -> None:
    """Append *run* to the summary of the CI job, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from reasoning_probe.report.ci.github import append_summary

        try:
            append_summary(Path(path), run)
        except OSError as error:  # the run is whole without it
            state.job_summary_error = f"cannot write the job summary {path}: {error.strerror}"


def complete_junit(state: PluginState) -> None:
    """Add the gate's checks to the file of ``--junitxml``, if there is one and it is JUnit's. Raises ``OSError``."""
    xml_path = getattr(state.config.option, "xmlpath", None)
    if not xml_path or state.run is None or not state.run.summary.get("gate"):
        return
    from xml.etree.ElementTree import ParseError

    from reasoning_probe.report.ci.junit import with_gate
    from reasoning_probe.utils.files import atomic_write_text, is_stream
    from reasoning_probe.utils.regular_files import read_regular_file

    path = Path(state.config.invocation_params.dir, os.path.expanduser(os.path.expandvars(xml_path)))
    if is_stream(path) or (path.exists() and not path.is_file()):
        state.junit_error = f"the gate's checks are not in {xml_path}, which is not a file: name a file with --junitxml"
        return
    path = path.resolve()  # pytest has followed the user's link, too
    with suppress(ParseError):  # another plugin's file
        atomic_write_text(path, with_gate(read_regular_file(path).decode("utf-8"), state.run))
