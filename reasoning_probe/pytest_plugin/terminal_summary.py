"""The plugin's lines in pytest's terminal: what will run, the summary of the run, and GitHub's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reasoning_probe.pytest_plugin.collection import asks_nothing
from reasoning_probe.pytest_plugin.state import STATE, PluginState
from reasoning_probe.utils.text import one_line, printable

if TYPE_CHECKING:
    from reasoning_probe.report.terminal.summary import Line
    from reasoning_probe.results.record import GateCheckRecord

WIDEST = 120
"""Columns of the summary on a wider terminal."""

_MARKUP: dict[str, dict[str, bool]] = {
    "": {},
    "good": {"green": True},
    "bad": {"red": True},
    "warning": {"yellow": True},
    "strong": {"bold": True},
    "faint": {"light": True},
}
_GATE_FAILED = "gate failed"


def header_lines(config: pytest.Config) -> list[str]:
    """Return which model, heads, items and cases will run; nothing with ``-q``, where tools read the bare tests."""
    state = config.stash[STATE]
    if not state.started or config.get_verbosity() < 0:
        return []
    session = state.session
    notes = [session.summary_line(), session.fewer_items_line(), session.race_line(), *session.generation_lines()]
    lines = [note for note in notes if note]
    runner = state.session.model_runner
    model_given = config.getoption("reasoning_probe_probe_model") is not None
    if model_given and runner.from_fixture and not runner.fixture_has_dependencies:
        lines.append(
            "reasoning-probe: --model is not used: the fixture probe_model gives the model; leave one of them out"
        )
    return list(map(printable, lines))


def print_summary(reporter: pytest.TerminalReporter, state: PluginState) -> None:
    """Print the findings, where the page is, the gate's verdict, and what could not be written."""
    config = reporter.config
    verbosity = config.get_verbosity()
    if state.run is not None:
        from reasoning_probe.report.ci.github import workflow_commands
        from reasoning_probe.report.terminal.summary import summary

        lines = summary(state.run, min(config.get_terminal_writer().fullwidth, WIDEST), verbosity)
        if lines:
            reporter.section("reasoning-probe")
        for line in lines:
            _print(config, line)
        if verbosity > -2:
            reporter.line(_location_line(state))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for command in workflow_commands(state.run):
                reporter.line(command)
        gate = state.run.summary.get("gate")
        _count_failed(reporter, gate["checks"] if gate else ())
    elif state.interrupted_before_outcomes:
        reporter.line(
            "reasoning-probe: ended early, before any outcome: the same command continues from what is stored"
        )
    if state.not_judged:
        reporter.line(f"reasoning-probe: {state.not_judged}", red=True)
        _count_failure(reporter, "gate", state.not_judged)
    if state.run is None and state.collected and not asks_nothing(config):
        _print_earlier_run(reporter, state)
    if state.gate.message:
        reporter.line(f"reasoning-probe: {printable(state.gate.message)}")
    for error in (state.write_error, state.gate.error, state.job_summary_error, state.junit_error):
        if error:
            reporter.line(f"reasoning-probe: {one_line(error, 2000)}", red=True)


def _count_failed(reporter: pytest.TerminalReporter, checks: Iterable[GateCheckRecord]) -> None:
    """Have pytest's closing line count the failed checks: it would be green, with only expected failures in it.

    Other plugins read these reports, so each is a complete ``TestReport``.
    """
    for check in checks:
        if check["passed"] is False:
            _count_failure(reporter, f"gate[{check['dataset']}-{check['rule']}]", check["line"])


def _count_failure(reporter: pytest.TerminalReporter, nodeid: str, line: str) -> None:
    report = pytest.TestReport(
        nodeid=nodeid,
        location=("reasoning-probe", None, "gate"),
        keywords={},
        outcome="failed",
        longrepr=line,
        when="call",
    )
    reporter.stats.setdefault(_GATE_FAILED, []).append(report)


def _print_earlier_run(reporter: pytest.TerminalReporter, state: PluginState) -> None:
    """Say that the run in the folder is not this session's, so that nobody takes its verdict for this one's."""
    from reasoning_probe.results.run import RUN_FILE

    file = state.settings.directory / RUN_FILE
    if os.path.isfile(file):  # unlike Path.is_file, this never raises
        reporter.line(f"reasoning-probe: no run was written: {_relative(state, file)} is from an earlier session")


def _print(config: pytest.Config, line: Line) -> None:
    writer = config.get_terminal_writer()
    for piece in line:
        writer.write(piece.text, **_MARKUP[piece.style])
    writer.line()


def _location_line(state: PluginState) -> str:
    """Return where the page or the files are."""
    folder = _relative(state, state.settings.directory)
    page = state.page_file
    if page is None or not page.is_file():
        return f"files: run.json and outcomes.jsonl in {folder}"
    return f"page: {_relative(state, page)}"


def _relative(state: PluginState, path: Path) -> str:
    """Return *path* as one would type it in the folder where pytest was called."""
    folder = state.config.invocation_params.dir
    return printable(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
