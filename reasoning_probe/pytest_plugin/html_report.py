"""The page: pytest-html's report with the findings first, on by default if a probe runs."""

from __future__ import annotations

import errno
import html
import os
import secrets
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

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
    config.pluginmanager.register(HtmlReportHooks(state, file, css), "reasoning-probe-html")
    if named:
        return []
    config.option.htmlpath = path
    config.option.self_contained_html = True
    before = set(config.pluginmanager.get_plugins())
    pytest_html.pytest_configure(config)
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
        self.report_data: Any = None  # pytest-html's, which holds the title
        self.totals: Counter[str] = Counter()  # reports by pytest-html's outcome
        self.listed: Counter[str] = Counter()  # rows by kind
        self.dropped = 0  # rows that the limits left out
        self.without_row = ""  # the node id of the last case without a row

    def pytest_html_report_title(self, report: Any) -> None:
        """Set a title until the probed model is known, at the end."""
        report.title = "reasoning-probe"
        self.report_data = report

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put the findings above the table."""
        if self.state.run is not None:
            from reasoning_probe.report.html.findings import findings_html

            prefix.append(findings_html(self.state.run))
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
        # A node id holds a file's and an item's name, which pytest-html writes unescaped. The first cell opens the row.
        cells[:] = [cell.replace(report.nodeid, html.escape(report.nodeid)) for cell in cells]
        cells[0] = cells[0].replace('class="col-result"', 'class="col-result" tabindex="0"')

    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        """Give the reason why an ablated case is wrong in one line, in place of a traceback through the plugin."""
        reason = getattr(report, "wasxfail", "")
        if hasattr(report, "reasoning_probe") and reason and report.longreprtext:
            data[0] = html.escape(reason) + "\n"

    @pytest.hookimpl(wrapper=True, trylast=True)  # within the plugin's, which tells what cannot be written
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Have pytest-html write a draft, and put it, patched, in the page's place.

        The last page stays as it is until then, and where the session ended before anything was asked. Raises
        ``OSError``.
        """
        draft = self.file.with_name(f".{self.file.name}.{secrets.token_hex(8)}")
        writers = [plugin for plugin in session.config.pluginmanager.get_plugins() if hasattr(plugin, "_report_path")]
        for writer in writers:  # pytest-html has no public name for where it writes
            writer._report_path = draft
        page, self.state.page_file = self.state.page_file, None
        try:
            yield
            if self.state.run is not None or session.exitstatus not in _FAILED_STARTS:
                self._publish(draft)
                self.state.page_file = page
        finally:
            for writer in writers:
                writer._report_path = self.file
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _publish(self, draft: Path) -> None:
        """Make *draft* the page, if pytest-html could write the whole of it. Raises ``OSError``."""
        from reasoning_probe.report.html.pytest_html import patch_pytest_html
        from reasoning_probe.utils.files import atomic_write_text

        page = draft.read_text(encoding="utf-8") if draft.is_file() else ""
        if not page.rstrip().endswith("</html>"):
            raise OSError(errno.EIO, "pytest-html did not write the whole page", str(self.file))
        if self.state.run is not None:
            page = patch_pytest_html(page, self.totals, self.listed.total(), self.dropped, self.css)
        atomic_write_text(self.file, page)


def _outcome(report: pytest.TestReport) -> str:
    """Return what pytest-html counts a report as."""
    if report.when != "call" and report.failed:
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)
