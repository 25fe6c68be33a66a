"""The end of a pytest session: post-sweep analyses, the run's files, the job summary, JUnit's gate."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_probe.pytest_plugin.state import PluginState, extensions

if TYPE_CHECKING:
    from reasoning_probe.results.run import Run
    from reasoning_probe.session.session import ProgressBar


def finish_run(state: PluginState, progress: ProgressBar, *, interrupted: bool) -> None:
    """Write the run's files, or in an xdist worker hand over what only it knows. Raises ``OSError``.

    *progress* is told of what is measured before: the cumulative curves.
    """
    if state.started and not interrupted:
        state.session.run_post_sweep(progress)
    if hasattr(state.config, "workerinput"):
        if state._worker is not None:
            state._worker.publish_rest()
        return
    if state.shared is not None:
        from reasoning_probe.pytest_plugin.xdist import collect_parts

        state.run = collect_parts(state.shared, interrupted=interrupted)
        state.interrupted_before_outcomes = interrupted and state.run is None and any(state.shared.glob("*.lock"))
    elif state.started:
        state.run = state.session.finish()
        state.interrupted_before_outcomes = interrupted and state.run is None
    if state.run is not None:
        from reasoning_probe.results.run import write_run
        from reasoning_probe.session.extensions import ExtensionError, plain_sections
        from reasoning_probe.utils.files import to_json_types

        state.run = state.gate.evaluate(state.run)
        try:
            sections = extensions(state.config).sections(state.run)
            state.run.summary["sections"] = to_json_types(plain_sections(sections))
        except Exception as error:  # a user's own code: what was computed is written all the same
            said = str(error) if isinstance(error, ExtensionError) else repr(error)
            state.write_error = f"pytest_reasoning_probe_section failed, no section is written: {said}"
        write_run(state.settings.directory, state.run)
        if state.settings.figures:
            from reasoning_probe.report.figures.run_figures import FOLDER, write_figures

            write_figures(state.settings.directory / FOLDER, state.run)
        state.gate.update_reference(state.run)
        append_job_summary(state, state.run)


def append_job_summary(state: PluginState, run: Run) -> None:
    """Append to the summary of the CI job, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from reasoning_probe.report.ci.github import append_summary

        try:
            append_summary(Path(path), run)
        except OSError as error:  # the run is whole without it
            state.job_summary_error = f"cannot write the job summary {path}: {error.strerror}"


def complete_junit(state: PluginState) -> None:
    """Add the gate's checks to the file of ``--junitxml``, if there is one and it is JUnit's. Raises ``OSError``."""
    given = getattr(state.config.option, "xmlpath", None)
    gate = None if state.run is None else state.run.summary.get("gate")
    if not given or not gate:
        return
    from xml.etree.ElementTree import ParseError

    from reasoning_probe.report.ci.junit import with_gate
    from reasoning_probe.utils.files import atomic_write_text

    path = Path(state.config.invocation_params.dir, os.path.expanduser(os.path.expandvars(given)))
    with suppress(ParseError):  # somebody else's file
        atomic_write_text(path, with_gate(path.read_text(encoding="utf-8"), gate))


def write_error_message(error: OSError | KeyboardInterrupt, state: PluginState) -> str:
    """Return in one line what *error* kept from being written, and what to do."""
    kept = "" if state.settings.cache is None else f"; the outcomes are kept in {state.settings.cache}"
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted while the files were written{kept}: the same command goes on from there"
    return (
        f"cannot write {error.filename or state.settings.directory}: {error.strerror}{kept}: run the same command"
        " again when that is mended, or name another folder with --probe-dir"
    )
