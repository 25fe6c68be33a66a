"""A run in a dozen plain lines for the terminal, and what is said of single cases."""

from __future__ import annotations

from textwrap import wrap

from reasoning_probe.outcome import Outcome
from reasoning_probe.report.controls import control_sentences
from reasoning_probe.report.curves import curve_sentences, screening_sentences
from reasoning_probe.report.text import count, one_line, p_value, percent, points
from reasoning_probe.report.verdict import Row, error_counts, groups, sentences, significant
from reasoning_probe.store import Run

MOST_DATASETS = 8
MOST_TARGETS = 5
_BAR = 16


def summary_lines(run: Run, width: int = 80) -> list[str]:
    """Return accuracy by dataset, the strongest targets, the mistakes, what was found and what could not be."""
    lines = [*_accuracies(run), *_strongest(run)]
    for label, ablated in (("mistakes", False), ("mistakes with a target off", True)):
        counts = error_counts(run, ablated=ablated)
        if counts:
            said = ", ".join(f"{one_line(category, 20)} {number:,}" for category, number in counts.items())
            lines += wrap(f"{label}: {said}", width, subsequent_indent="  ")
    for sentence in [*sentences(run), *screening_sentences(run), *curve_sentences(run), *control_sentences(run)]:
        lines += wrap(one_line(sentence, 1000), width, subsequent_indent="  ", break_on_hyphens=False)
    skipped = run.summary["skipped"]
    if skipped:
        lines += wrap(f"skipped {count(len(skipped), 'item')}: {one_line(skipped[0]['reason'], 200)}", width)
    for line in engine_lines(run):
        lines += wrap(line, width, subsequent_indent="  ")
    return [line[:width] for line in lines]


def engine_lines(run: Run) -> list[str]:
    """Say how the rows were settled, where, and what the outcome store knew."""
    return [line for line in (_engine_line(run), _cluster_line(run), _store_line(run)) if line]


def _engine_line(run: Run) -> str:
    """Say how long the sweep took, how its rows were settled, and the most memory that was in use."""
    engine, timing = run.summary["engine"], run.summary["timing"]
    if not engine["rows"]:
        return ""
    settled = f", {engine['settled_singly']:,} too close to call in a batch and settled singly"
    peak = engine.get("peak_bytes")
    return (
        f"{_before(timing)}sweep {timing['sweep_s']:.1f} s"
        f" ({one_line(str(engine.get('path', '')), 20)} path): {engine['verified']:,} of"
        f" {engine['rows']:,} rows repeat the baseline's answer, {engine['decoded']:,} were decoded"
        f"{settled if engine['settled_singly'] else ''}{f'; peak memory {peak / 1e9:.1f} GB' if peak else ''}"
    )


def _cluster_line(run: Run) -> str:
    """Say on how many nodes of a cluster the sweep ran, and what went wrong there."""
    engine = run.summary["engine"]
    if not engine.get("replicas"):
        return ""
    lost = f", {count(engine['lost'], 'replica')} lost" if engine.get("lost") else ""
    notes = f"; {one_line(str(engine['notes']), 400)}" if engine.get("notes") else ""
    where = f"{count(engine['replicas'], 'replica')} on {count(engine.get('nodes', 0), 'node')}"
    return f"{where}, {count(engine.get('chunks', 0), 'chunk')}{lost}{notes}"


def _store_line(run: Run) -> str:
    """Say how many outcomes an earlier run had computed, and what is wrong with the outcome store."""
    recalled, problem = run.summary["engine"].get("recalled"), run.summary["engine"].get("store")
    known = f"{count(recalled, 'outcome')} known from earlier runs" if recalled else ""
    problems = [problem, run.summary["engine"].get("afterwards")]
    return "; ".join([known] * bool(known) + [one_line(str(problem), 400) for problem in problems if problem])


def _before(timing: dict[str, float]) -> str:
    parts = [
        f"{name} {timing[f'{name}_s']:.1f} s, "
        for name in ("load", "proof", "screen", "baseline", "control", "curve")
        if timing.get(f"{name}_s") or (f"{name}_s" in timing and name not in ("screen", "curve"))
    ]
    return "".join(parts)


def _accuracies(run: Run) -> list[str]:
    entries = list(run.summary["datasets"].items())
    names = [one_line(name, 16) for name, _ in entries[:MOST_DATASETS]]
    pad = max(map(len, names), default=0)
    lines = []
    for name, (_, entry) in zip(names, entries, strict=False):
        low, high = entry["ci95"]
        filled = round(_BAR * (entry["accuracy"] or 0.0))
        lines.append(
            f"{name:{pad}}  {percent(entry['accuracy']):>6}  {'#' * filled:.<{_BAR}}"
            f"  {entry['correct']:,} of {entry['items']:,} ({percent(low)} to {percent(high)})"
        )
    if len(entries) > MOST_DATASETS:
        lines.append(f"and {count(len(entries) - MOST_DATASETS, 'more dataset')}")
    return lines


def _strongest(run: Run) -> list[str]:
    """Return the strongest targets: the significant ones, then those of datasets with enough items to tell."""
    shown = [group for group in groups(run) if group.finding != "floor"]
    rows = [(group.finding == "few_items", row) for group in shown for row in group.rows if row["delta"]]
    rows.sort(key=lambda pair: (not significant(pair[1]), pair[0], -abs(pair[1]["delta"])))
    return [_target_line(row) for _, row in rows[:MOST_TARGETS]]


def _target_line(row: Row) -> str:
    bar = ("-" if row["delta"] < 0 else "+") * max(1, round(_BAR * min(1.0, abs(row["delta"]))))
    return (
        f"{one_line(row['target'], 12):12} {points(row['delta']):>4}{'*' if significant(row) else ' '} {bar:{_BAR}}"
        f"  {one_line(row['dataset'], 12)}, {row['flips_to_wrong']} lost, {row['flips_to_right']} won,"
        f" p {p_value(row['p_adjusted'])}"
    )


def failure_text(outcome: Outcome) -> str:
    """Return what a failed baseline case says: question, expected, answered, category."""
    answer = "nothing" if outcome.answer is None else one_line(outcome.answer, 60)
    reason = f": {one_line(outcome.reason, 160)}" if outcome.reason else ""
    return "\n".join(
        [
            f"question  {one_line(outcome.question, 200)}",
            f"expected  {one_line(outcome.expected, 60)}",
            f"answered  {answer}",
            f"response  {one_line(outcome.response, 120)}",
            f"mistake   {_category(outcome)}{reason}",
        ]
    )


def ablated_line(outcome: Outcome, baseline: Outcome | None) -> str:
    """Return why an ablated case is wrong: ``L3H7 off: wrong_operation, baseline was right``."""
    was = "" if baseline is None else f", baseline was {'right' if baseline.correct else 'wrong too'}"
    return f"{one_line(outcome.target, 60)} off: {_category(outcome)}{was}"


def _category(outcome: Outcome) -> str:
    return one_line(outcome.category or "unclassified", 40)
