"""The page: pytest-html's report with the findings first, on by default if a probe runs."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.pytest_plugin.collection import asks_nothing
from reasoning_probe.pytest_plugin.state import STATE, PluginState

MOST_BASELINES = 1000
MOST_CHANGED = 4000
"""Rows of the table, all of which pytest-html draws at once: 1,000 take half a second and a megabyte."""


_FAILED_STARTS = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.INTERRUPTED)
"""How a session ends that may have asked nothing; its page would say nothing."""


def enable_html_report(state: PluginState, session: pytest.Session) -> list[Any]:
    """Make pytest-html write ``DIR/report.html``, unless the user named a page with ``--html``.

    Returns the plugins that were registered for it. Raises :class:`pytest.UsageError` for a style sheet of ``--css``
    that cannot be read.

    pytest-html decides in ``pytest_configure``, long before it is known whether a probe is collected at all, so its
    own hooks are called again here, once there is something to report.
    """
    config = session.config
    state.html_enabled = True
    pytest_html = config.pluginmanager.getplugin("html")
    if pytest_html is None:
        return []
    css = "\n".join(_style_sheet(path) for path in config.option.css)
    named = config.option.htmlpath
    path = str(state.settings.directory / "report.html") if named is None else named
    file = config.invocation_params.dir / Path(os.path.expandvars(path)).expanduser()
    state.page_file = file
    hooks = HtmlReportHooks(state, file, css)
    config.pluginmanager.register(hooks, "reasoning-probe-html")
    if named:
        hooks.take_over_writing()
        return []
    config.option.htmlpath = path
    config.option.self_contained_html = True
    before = set(config.pluginmanager.get_plugins())
    pytest_html.pytest_configure(config)
    hooks.take_over_writing()
    new_plugins = list(set(config.pluginmanager.get_plugins()) - before)
    for plugin in new_plugins:
        plugin.pytest_sessionstart(session)
    return new_plugins


def page_is_wanted(config: pytest.Config) -> bool:
    """Tell whether the page is written where it always is: pytest-html is there, and the user named no other page."""
    return config.pluginmanager.hasplugin("html") and config.option.htmlpath is None


def take_over_report(report: pytest.TestReport) -> None:
    """On xdist's controller, which collects nothing, count what *report* of a probe's case skipped.

    The first such report enables the page.
    """
    node = getattr(report, "node", None)
    if node is None or not hasattr(report, "reasoning_probe"):
        return
    state = node.config.stash[STATE]
    state.skips.add(report)
    if not state.html_enabled:
        for plugin in enable_html_report(state, node.config.pluginmanager.getplugin("session")):
            plugin.pytest_runtest_logreport(report)  # pluggy does not call plugins that are registered during the call


def _style_sheet(path: str) -> str:
    try:
        return Path(os.path.expandvars(path)).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--css: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


class HtmlReportHooks:
    """pytest-html's hooks: findings above the table, and no rows for cases that the ablation left as they were."""

    def __init__(self, state: PluginState, file: Path, css: str) -> None:
        self.state, self.file, self.css = state, file, css
        self.writes = False  # whether pytest-html hands its pages to us
        self.exit_status = 0  # how the session ends
        self.report_data: Any = None  # pytest-html's, which holds the title
        self.totals: Counter[str] = Counter()  # reports by pytest-html's outcome
        self.listed: Counter[str] = Counter()  # rows by kind
        self.dropped = 0  # rows that the limits left out
        self.without_row = ""  # the node id of the last case without a row

    def take_over_writing(self) -> None:
        """Have pytest-html hand its pages to :meth:`write_page`: it would write through a link, and unpatched."""
        for plugin in self.state.config.pluginmanager.get_plugins():
            if hasattr(plugin, "_write_report") and hasattr(plugin, "_report_path"):
                plugin._write_report = self.write_page
                self.writes = True

    def write_page(self, page: str) -> None:
        """Write pytest-html's *page*, patched; a session that asked nothing leaves the last one.

        Raises ``OSError``.
        """
        from reasoning_probe.report.html.pytest_html import patch_pytest_html
        from reasoning_probe.utils.files import atomic_write_text

        if self.state.run is None and (self.exit_status in _FAILED_STARTS or asks_nothing(self.state.config)):
            return
        atomic_write_text(self.file, patch_pytest_html(page, self.totals, self.listed.total(), self.dropped, self.css))
        self.state.page_file = self.file

    def pytest_html_report_title(self, report: Any) -> None:
        """Set a title until the probed model is known, at the end."""
        report.title = "reasoning-probe"
        self.report_data = report

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put the findings above the table."""
        if self.state.run is not None:
            from reasoning_probe.report.html.findings import findings_html
            from reasoning_probe.report.html.pytest_html import SECTIONS

            prefix.append(findings_html(self.state.run, SECTIONS))
            if self.report_data is not None:
                self.report_data.title = f"reasoning-probe: {self.state.run.summary['model']['name']}"

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Leave out ablated cases whose answer the ablation did not change, and rows above the limits."""
        if report.when in ("setup", "teardown") and report.passed:  # pytest-html has no row for these
            if report.nodeid == self.without_row:
                del cells[:]
            return
        self.totals[_outcome(report)] += 1
        case = getattr(report, "reasoning_probe", None)
        kind = "other" if case is None else "changed" if case.get("ablated") else "baseline"
        limit = {"baseline": MOST_BASELINES, "changed": MOST_CHANGED}.get(kind)
        unchanged = bool((case or {}).get("unchanged"))
        if unchanged or (limit is not None and self.listed[kind] >= limit):
            self.dropped += not unchanged
            self.without_row = report.nodeid
            del cells[:]
            return
        self.listed[kind] += 1
        # The first cell opens the row.
        cells[0] = cells[0].replace('class="col-result"', 'class="col-result" tabindex="0"')

    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        """Give the reason why an ablated case is wrong in one line, in place of a traceback through the plugin."""
        reason = getattr(report, "wasxfail", "")
        if hasattr(report, "reasoning_probe") and reason and report.longreprtext:
            data[0] = html.escape(reason) + "\n"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None]:
        """Note how the session ends before pytest-html writes its page; one that wrote it itself has it patched."""
        self.exit_status = exitstatus
        self.state.page_file = None  # until there is one
        yield
        if not self.writes and self.state.run is not None and self.file.is_file():
            self.write_page(self.file.read_text(encoding="utf-8"))


def _outcome(report: pytest.TestReport) -> str:
    """Return what pytest-html counts a report as."""
    if report.when != "call" and report.failed:
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)
