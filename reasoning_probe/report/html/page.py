"""A page of our own around the findings, for a run that is read again from its files."""

from __future__ import annotations

from markupsafe import Markup

from reasoning_probe.report.html.content_policy import content_policy
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.html.rendering import render
from reasoning_probe.results.run import Run


def standalone_page(run: Run) -> str:
    """Return a whole HTML document, one file that loads nothing."""
    title = f"reasoning-probe: {run.summary['model']['name']}"
    return str(render("page", title=title, policy=content_policy(), findings=Markup(findings_html(run)))) + "\n"
