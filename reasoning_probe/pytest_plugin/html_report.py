"""pytest-html's page as the shell of the findings: on by default where a probe runs, findings first."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.state import PluginState

MOST_BASELINES = 1000
MOST_CHANGED = 4000
"""Rows of the table, which pytest-html draws all at once: 1,000 take it half a second and a megabyte."""


def enable_html_report(state: PluginState, session: pytest.Session) -> list[Any]:
    """Have pytest-html write ``DIR/report.html``, unless the user named a page with ``--html``.

    Returns the plugins that were registered for it. Raises :class:`pytest.UsageError` for a style sheet of ``--css``
    that cannot be read.

    pytest-html decides in ``pytest_configure``, long before it is known whether a probe is collected at all, so its
    own hooks are called again here, once there is something to report.
    """
    config = session.config
    state.page = True
    shell = config.pluginmanager.getplugin("html")
    if shell is None:
        return []
    css = "\n".join(_style_sheet(path) for path in config.option.css)
    named = config.option.htmlpath
    path = str(state.settings.directory / "report.html") if named is None else named
    file = config.invocation_params.dir / Path(os.path.expandvars(path)).expanduser()
    state.page_file = file
    config.pluginmanager.register(HtmlReportHooks(state, file, css, own=named is None), "reasoning-probe-html")
    if named:
        return []
    config.option.htmlpath = path
    config.option.self_contained_html = True
    before = set(config.pluginmanager.get_plugins())
    shell.pytest_configure(config)
    pages = list(set(config.pluginmanager.get_plugins()) - before)
    for page in pages:
        page.pytest_sessionstart(session)
    return pages


def _style_sheet(path: str) -> str:
    try:
        return Path(os.path.expandvars(path)).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--css: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


class HtmlReportHooks:
    """pytest-html's hooks: the findings above its table, no rows for cases that the ablation left as they were."""

    def __init__(self, state: PluginState, file: Path, css: str, *, own: bool) -> None:
        self.state, self.file, self.css = state, file, css
        self.own = own  # whether the page is ours, and not one that the user named
        self.page: Any = None
        self.totals: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()
        self.dropped = 0
        self.screened_out = ""  # the node id of the last case without a row

    def pytest_html_report_title(self, report: Any) -> None:
        """Name the page for now; which model was probed is known at the end."""
        report.title = "reasoning-probe"
        self.page = report

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put the findings first."""
        if self.state.run is not None:
            from reasoning_probe.report.html.findings import findings_html

            prefix.append(findings_html(self.state.run))
            if self.page is not None:
                self.page.title = f"reasoning-probe: {self.state.run.summary['model']['name']}"

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Leave out ablated cases whose answer the ablation did not change, and what no browser could show."""
        if report.when in ("setup", "teardown") and report.passed:  # pytest-html has no row for these
            if report.nodeid == self.screened_out:
                del cells[:]
            return
        self.totals[_outcome(report)] += 1
        case = getattr(report, "reasoning_probe", None)
        kind = "other" if case is None else "changed" if case.get("ablated") else "baseline"
        room = {"baseline": MOST_BASELINES, "changed": MOST_CHANGED}.get(kind)
        unchanged = bool((case or {}).get("unchanged"))
        if unchanged or (room is not None and self.listed[kind] >= room):
            self.dropped += not unchanged
            self.screened_out = report.nodeid
            del cells[:]
            return
        self.listed[kind] += 1
        # A node id is a file's and an item's name, which pytest-html writes as HTML. The first cell opens the row.
        cells[:] = [cell.replace(report.nodeid, html.escape(report.nodeid)) for cell in cells]
        cells[0] = cells[0].replace('class="col-result"', 'class="col-result" tabindex="0"')

    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        """Say in one line why an ablated case is wrong, in place of the traceback through our own code."""
        reason = getattr(report, "wasxfail", "")
        if hasattr(report, "reasoning_probe") and reason and report.longreprtext:
            data[0] = html.escape(reason) + "\n"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None]:
        """Mend the page once pytest-html has written it; where no model could be asked, the last run's page stays."""
        last = self.file.read_bytes() if self.own and os.access(self.file, os.R_OK) and self.file.is_file() else None
        yield
        if self.state.run is None and last is not None and exitstatus == pytest.ExitCode.USAGE_ERROR:
            self.file.write_bytes(last)
        if self.state.run is not None and self.file.is_file():
            from reasoning_probe.report.html.pytest_html import patch_pytest_html
            from reasoning_probe.utils.files import atomic_write_text

            page = self.file.read_text(encoding="utf-8")
            atomic_write_text(
                self.file, patch_pytest_html(page, self.totals, self.listed.total(), self.dropped, self.css)
            )


def _outcome(report: pytest.TestReport) -> str:
    """Return what pytest-html counts a report as."""
    if report.when != "call" and report.failed:
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)
