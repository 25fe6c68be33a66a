"""pytest-html's page as the shell of the findings: on by default where a probe runs, findings first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.plugin import State


def switch_on(state: State, session: pytest.Session) -> list[Any]:
    """Have pytest-html write ``DIR/report.html``, unless the user named a page with ``--html``.

    Returns the plugins that were registered for it.

    pytest-html decides in ``pytest_configure``, long before it is known whether a probe is collected at all, so its
    own hooks are called again here, once there is something to report.
    """
    config = session.config
    state.page = True
    html = config.pluginmanager.getplugin("html")
    if html is None:
        return []
    config.pluginmanager.register(Rows(state), "reasoning-probe-html")
    if config.option.htmlpath:
        return []
    config.option.htmlpath = str(state.settings.directory / "report.html")
    config.option.self_contained_html = True
    before = set(config.pluginmanager.get_plugins())
    html.pytest_configure(config)
    pages = list(set(config.pluginmanager.get_plugins()) - before)
    for page in pages:
        page.pytest_sessionstart(session)
    return pages


class Rows:
    """pytest-html's hooks: the findings above its table, no rows for cases that the ablation left as they were."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.page: Any = None

    def pytest_html_report_title(self, report: Any) -> None:
        """Name the page for now; which model was probed is known at the end."""
        report.title = "reasoning-probe"
        self.page = report

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Put the findings first."""
        if self.state.run is not None:
            from reasoning_probe.report.findings import findings_html

            prefix.append(findings_html(self.state.run))
            if self.page is not None:
                self.page.title = f"reasoning-probe: {self.state.run.summary['model']['name']}"

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Leave out ablated cases whose answer the ablation did not change: the findings count them."""
        if getattr(report, "reasoning_probe", {}).get("unchanged"):
            del cells[:]
