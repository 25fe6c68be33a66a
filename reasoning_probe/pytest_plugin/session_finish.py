"""The end of a pytest session: post-sweep analyses, the run's files, the CI job's summary, the gate and exit status."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reasoning_probe.pytest_plugin.progress import progress_bar
from reasoning_probe.pytest_plugin.state import STATE, PluginState, extensions

if TYPE_CHECKING:
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.session import ProgressBar


def finish_session(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Write the run's files, let the other plugins finish, complete the JUnit XML and set the exit status.

    A file that cannot be written becomes a line of the terminal summary; the outcomes are safe in the outcome store.
    """
    state = session.config.stash.get(STATE, None)
    if state is None:
        return (yield)
    try:
        with progress_bar(session.config, "curve") as progress:
            finish_run(state, progress, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
    except (OSError, KeyboardInterrupt) as error:  # on a second Ctrl-C pytest is ending already
        state.write_error = write_error_message(error, state)
        state.interrupted_while_writing |= isinstance(error, KeyboardInterrupt)
    try:
        result = yield
        complete_junit(state)
        return result
    except OSError as error:
        if state.run is None:
            raise
        state.write_error = state.write_error or write_error_message(error, state)
        return None
    finally:
        if state.interrupted_while_writing:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif state.write_error:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif session.exitstatus == pytest.ExitCode.OK and state.gate.failed(state.run):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def finish_run(state: PluginState, progress: ProgressBar, *, interrupted: bool) -> None:
    """Run the post-sweep analyses and write the run's files, or publish them in an xdist worker. Raises ``OSError``.

    *progress* is called while the cumulative curves are measured.
    """
    if state.started and not interrupted:
        state.session.run_post_sweep(progress)
    if hasattr(state.config, "workerinput"):
        state.publish_rest()
        return
    if state.shared is not None:
        from reasoning_probe.pytest_plugin.xdist import collect_parts

        state.run = collect_parts(state.shared, interrupted=interrupted)
        state.interrupted_before_outcomes = interrupted and state.run is None and any(state.shared.glob("*.lock"))
    elif state.started:
        state.run = state.session.finish()
        state.interrupted_before_outcomes = interrupted and state.run is None
    if state.run is not None:
        state.run = state.gate.evaluate(state.run)
        _add_sections(state, state.run)
        _write_files(state, state.run)
        state.gate.update_reference(state.run)
        append_job_summary(state, state.run)


def _add_sections(state: PluginState, run: Run) -> None:
    """Add the sections of the user's hooks to the summary of *run*; one that fails costs no file."""
    from reasoning_probe.session.extensions import ExtensionError, plain_sections
    from reasoning_probe.utils.files import to_json_types

    try:
        run.summary["sections"] = to_json_types(plain_sections(extensions(state.config).sections(run)))
    except Exception as error:  # the hook is a user's code
        reason = str(error) if isinstance(error, ExtensionError) else repr(error)
        state.write_error = f"pytest_reasoning_probe_section failed, no section is written: {reason}"


def _write_files(state: PluginState, run: Run) -> None:
    from reasoning_probe.results.run import write_run

    write_run(state.settings.directory, run)
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
    gate = None if state.run is None else state.run.summary.get("gate")
    if not xml_path or not gate:
        return
    from xml.etree.ElementTree import ParseError

    from reasoning_probe.report.ci.junit import with_gate
    from reasoning_probe.utils.files import atomic_write_text, is_stream, read_regular_file

    path = Path(state.config.invocation_params.dir, os.path.expanduser(os.path.expandvars(xml_path)))
    if is_stream(path) or (path.exists() and not path.is_file()):
        state.junit_error = f"the gate's checks are not in {xml_path}, which is no file: name a file with --junitxml"
        return
    path = path.resolve()  # pytest has followed the user's link, too
    with suppress(ParseError):  # another plugin's file
        atomic_write_text(path, with_gate(read_regular_file(path).decode("utf-8"), gate))


def write_error_message(error: OSError | KeyboardInterrupt, state: PluginState) -> str:
    """Return in one line what *error* prevented from being written, and what to do."""
    cache = "" if state.settings.cache is None else f"; the outcomes are kept in {state.settings.cache}"
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted while the files were written{cache}: the same command goes on from there"
    return (
        f"cannot write {error.filename or state.settings.directory}: {error.strerror}{cache}: run the same command"
        " again when that is mended, or name another folder with --probe-dir"
    )
