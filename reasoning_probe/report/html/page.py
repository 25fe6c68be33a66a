"""A page of our own around the findings, for a run that is read again from its files."""

from __future__ import annotations

from reasoning_probe.report.html.elements import package_file
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape


def standalone_page(run: Run) -> str:
    """Return a whole HTML document, one file that loads nothing."""
    title = escape(f"reasoning-probe: {run.summary['model']['name']}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{package_file('shell.css')}</style></head>"
        f'<body class="rp-shell"><main><h1><bdi>{title}</bdi></h1>{findings_html(run)}</main></body></html>\n'
    )
