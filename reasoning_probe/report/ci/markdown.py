"""A run as a short Markdown summary, for a CI job's page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_probe.report.circuits import circuit_sentences
from reasoning_probe.report.effects import EffectGroup, error_counts, groups
from reasoning_probe.report.format import p_value, percent
from reasoning_probe.report.mistakes import change_sentences
from reasoning_probe.report.owners import owner
from reasoning_probe.report.paths import path_sentences
from reasoning_probe.report.races import race_sentences
from reasoning_probe.report.ranking import SUMMARY_COLUMNS, ranking
from reasoning_probe.report.run_notes import reference_lines
from reasoning_probe.report.sentences import (
    accuracy_sentence,
    control_sentences,
    curve_sentences,
    screening_sentences,
    sentences,
)
from reasoning_probe.results.record import SectionRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise, shorten

MOST_DATASETS = 30
MOST_TARGETS = 10
MOST_BYTES = 58_000
MOST_SENTENCE_BYTES = 20_000
"""The limit of the sentences in bytes, which leaves room for the gate after them."""
_SPECIAL = re.compile(r"[\\`*_\[\]#|~$@:<>&!]|(?<=www)\.", re.IGNORECASE)
"""What Markdown, HTML or GitHub reads as more than text: it makes links of ``https://``, ``www.`` and ``@name``."""


def markdown_summary(run: Run) -> str:
    """Return the findings as GitHub's Markdown, under 60 kB however many datasets and targets there are."""
    datasets = list(run.summary["datasets"].items())
    parts = [f"## reasoning-probe: {plain(run.summary['model']['name'])}", plain(accuracy_sentence(run), 300)]
    more = (path_sentences, circuit_sentences, control_sentences, screening_sentences, race_sentences, curve_sentences)
    findings = [*sentences(run), *(sentence for part in more for sentence in part(run))]
    bullets = "\n".join(f"- {plain(sentence, 600)}" for sentence in findings[:MOST_DATASETS])
    parts.append("\n\n".join(within([bullets], MOST_SENTENCE_BYTES)))
    parts.append(_gate(run))
    rows = [
        [
            plain(name),
            f"{entry['correct']:,} of {entry['items']:,}",
            percent(entry["accuracy"]),
            f"{percent(entry['ci95'][0])} to {percent(entry['ci95'][1])}",
        ]
        for name, entry in datasets[:MOST_DATASETS]
    ]
    parts.append(table(["dataset", "right", "accuracy", "95 % interval"], rows))
    if len(datasets) > MOST_DATASETS:
        parts.append(f"and {pluralise(len(datasets) - MOST_DATASETS, 'more dataset')}")
    judged = [group for group in groups(run) if group.significant or group.finding == "none"]
    parts += [_targets(group) for group in judged[:MOST_DATASETS]]
    if counts := list(error_counts(run, ablated=False).items())[:MOST_TARGETS]:
        parts.append("Mistakes: " + ", ".join(f"{plain(category)} {number:,}" for category, number in counts))
    if changes := change_sentences(run, MOST_DATASETS, MOST_TARGETS):
        parts.append(f"Mistakes that change most with a target off: {'; '.join(plain(each, 600) for each in changes)}")
    parts += map(_user_section, (run.summary.get("sections") or ())[:MOST_TARGETS])
    return "\n\n".join(within([part for part in parts if part], MOST_BYTES)) + "\n"


def within(parts: Sequence[str], room: int) -> list[str]:
    """Return at most *room* bytes of *parts*, cut between two lines; a last line says that something was cut."""
    whole_parts: list[str] = []
    for part in parts:
        lines: list[str] = []
        for line in part.split("\n"):
            room -= len(line.encode()) + 2
            if room < 0:
                return [*whole_parts, *(["\n".join(lines)] if lines else []), "There is more in run.json."]
            lines.append(line)
        whole_parts.append(part)
    return whole_parts


def _gate(run: Run) -> str:
    gate = run.summary.get("gate")
    if not gate:
        return ""
    marks = {True: "✅", False: "❌", None: "⚪"}
    verdict = {True: "passed", False: "failed", None: "undecided"}[gate["passed"]]
    lines = [f"{marks[gate['passed']]} **Gate {verdict}**", ""]
    for check in gate["checks"][:MOST_DATASETS]:
        p = "" if check.get("p_value") is None else f", p {p_value(check['p_value']).replace('<', '&lt;')}"
        lines.append(f"- {marks[check['passed']]} {plain(check['line'], 400)}{p}")
    lines += [f"- {plain(line, 300)}" for line in (gate.get("notes") or ())[:MOST_TARGETS]]
    lines += [f"- {plain(line, 400)}" for line in reference_lines(gate)]
    worse = gate.get("regressions") or []
    for item in worse[:MOST_TARGETS]:
        answer = "nothing" if item["answer"] is None else item["answer"]
        change = f"{plain(item['dataset'], 40)} {plain(item['item'], 60)}: {plain(answer, 60)}"
        names = owner(run, item["dataset"])
        owned = f", owner {plain(names, 200)}" if names else ""
        lines.append(f"- right in the reference, wrong now: {change} instead of {plain(item['expected'], 60)}{owned}")
    if len(worse) > MOST_TARGETS:
        lines.append(f"- and {pluralise(len(worse) - MOST_TARGETS, 'more item')} that got worse")
    return "\n".join(lines)


def _targets(group: EffectGroup) -> str:
    ranked = ranking(group, SUMMARY_COLUMNS, MOST_TARGETS)
    rows = []
    for row in ranked.rows:
        points, *cells = (cell.replace("<", "&lt;") for cell in row.cells.values())
        rows.append([plain(row.target), points + (" \\*" if row.significant else ""), *cells])
    return f"**{plain(group.dataset)}**, {plain(group.ablation)} ablation\n\n{table(ranked.columns, rows)}"


def _user_section(section: SectionRecord) -> str:
    """Return a section from a user's hook."""
    width = max(map(len, [section["head"], *section["rows"]]))
    rows = [
        [plain(cell) for cell in (*cells, *[""] * (width - len(cells)))] for cells in section["rows"][:MOST_TARGETS]
    ]
    head = [plain(cell) for cell in (*section["head"], *[""] * (width - len(section["head"])))]
    parts = [f"### {plain(section['title'])}", plain(section["text"], 1000), table(head, rows) if rows else ""]
    return "\n\n".join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(text: str, width: int = 80) -> str:
    """Return untrusted text on one line, escaped so that nothing in it is read as Markdown or HTML."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", shorten(text, width))
