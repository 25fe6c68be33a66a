"""pytest's terminal as the shell of a run's summary: its width, its colours, its verbosity; GitHub's log, too."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.state import PluginState
    from reasoning_probe.report.terminal.summary import Line
    from reasoning_probe.results.record import GateCheckRecord

WIDEST = 120
_MARKUP: dict[str, dict[str, bool]] = {
    "": {},
    "good": {"green": True},
    "bad": {"red": True},
    "warning": {"yellow": True},
    "strong": {"bold": True},
    "faint": {"light": True},
}
_GATE_FAILED = "gate failed"


def print_summary(reporter: pytest.TerminalReporter, state: PluginState) -> None:
    """Print what was found, where the page is, the gate's verdict, and what could not be written."""
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
            reporter.line(_places(state))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for command in workflow_commands(state.run):
                reporter.line(command)
        gate = state.run.summary.get("gate")
        _count_failed(reporter, gate["checks"] if gate else ())
    elif state.interrupted_before_outcomes:
        reporter.line("reasoning-probe: ended early, before any outcome: the same command goes on from what is stored")
    elif state.gate.rules.on and state.started and state.session.planned_datasets:
        reporter.line("reasoning-probe: the gate judged nothing, since no question was asked", yellow=True)
    if state.gate.message:
        reporter.line(f"reasoning-probe: {state.gate.message}")
    for error in (state.write_error, state.gate.error, state.job_summary_error):
        if error:
            reporter.line(f"reasoning-probe: {error}", red=True)


def _count_failed(reporter: pytest.TerminalReporter, checks: Iterable[GateCheckRecord]) -> None:
    """Have pytest's closing line count the failed checks: it would be green, with only expected failures in it.

    Other plugins look at what is counted, so it is a report like any other.
    """
    for check in checks:
        if check["passed"] is False:
            report = pytest.TestReport(
                nodeid=f"gate[{check['dataset']}-{check['rule']}]",
                location=("reasoning-probe", None, "gate"),
                keywords={},
                outcome="failed",
                longrepr=check["line"],
                when="call",
            )
            reporter.stats.setdefault(_GATE_FAILED, []).append(report)


def _print(config: pytest.Config, line: Line) -> None:
    writer = config.get_terminal_writer()
    for piece in line:
        writer.write(piece.text, **_MARKUP[piece.style])
    writer.line()


def _places(state: PluginState) -> str:
    """Say where the page and the files are, as one would type it."""
    folder = _typed(state, state.settings.directory)
    page = state.page_file
    if page is None or not page.is_file():
        return f"files: run.json and outcomes.jsonl in {folder}"
    return f"page: {_typed(state, page)}"


def _typed(state: PluginState, path: Path) -> str:
    from reasoning_probe.utils.text import escape_control_characters

    here = state.config.invocation_params.dir
    return escape_control_characters(str(path.relative_to(here) if path.is_relative_to(here) else path))
