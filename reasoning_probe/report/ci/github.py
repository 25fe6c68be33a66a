"""A run for GitHub Actions: annotations of failed checks and regressions, and the job's summary."""

from __future__ import annotations

from pathlib import Path

from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.report.format import p_value
from reasoning_probe.report.owners import owner
from reasoning_probe.results.run import Run
from reasoning_probe.utils.files import append_text
from reasoning_probe.utils.text import pluralise, shorten

MOST = 10
"""The number of annotations of one kind that GitHub shows for a step; the last one counts the rest."""


def workflow_commands(run: Run) -> list[str]:
    """Return the annotations of failed checks and regressions, as GitHub reads them from a job's log.

    A failed check of the gate is an error, an item that was right in the reference a notice. Without a gate nothing got
    worse, however many answers are wrong.
    """
    gate = run.summary.get("gate")
    if not gate:
        return []
    failed = [
        shorten(check["line"], 400) + ("" if check.get("p_value") is None else f", p {p_value(check['p_value'])}")
        for check in gate["checks"]
        if check["passed"] is False
    ]
    worse = [
        f"{shorten(item['dataset'], 40)} {shorten(item['item'], 60)}: right in the reference, now"
        f" {shorten(item['answer'] if item['answer'] is not None else 'no answer', 60)!r},"
        f" expected {shorten(item['expected'], 60)!r}{_owned(run, item['dataset'])}"
        for item in gate.get("regressions") or ()
    ]
    return [
        *(_command("error", "reasoning-probe: the gate failed", line) for line in _first(failed, "check")),
        *(_command("notice", "reasoning-probe: an answer got worse", line) for line in _first(worse, "item")),
    ]


def _owned(run: Run, dataset: str) -> str:
    names = owner(run, dataset)
    return f"; owner {names}" if names else ""


def _first(lines: list[str], noun: str) -> list[str]:
    if len(lines) <= MOST:
        return lines
    return [*lines[: MOST - 1], f"and {pluralise(len(lines) - MOST + 1, f'more {noun}')}"]


def _command(kind: str, title: str, text: str) -> str:
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text, title = text.replace(character, code), title.replace(character, code)
    return f"::{kind} title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"


def append_summary(path: Path, run: Run) -> None:
    """Append the Markdown summary to the job's, which other steps may have begun. Raises ``OSError``."""
    append_text(path, "\n" + markdown_summary(run))
