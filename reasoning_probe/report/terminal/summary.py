"""A run in a dozen lines for the terminal.

A line is made of pieces, each with the style that a terminal with colours gives it; the text alone says the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import product
from textwrap import wrap
from typing import Literal, NamedTuple, get_args

from reasoning_probe.report.cards import MOST_SENTENCES, card_lines
from reasoning_probe.report.circuits import circuit_sentences
from reasoning_probe.report.effects import error_counts, groups
from reasoning_probe.report.format import p_value, percent, points
from reasoning_probe.report.mistakes import change_sentences
from reasoning_probe.report.next_steps import next_steps
from reasoning_probe.report.owners import worse_sentences
from reasoning_probe.report.paths import path_sentences
from reasoning_probe.report.races import race_sentences
from reasoning_probe.report.ranking import p_discrete, strongest
from reasoning_probe.report.run_notes import reference_lines, setting_sentences, skipped_sentence
from reasoning_probe.report.sampling import figure_words, sampled_figures
from reasoning_probe.report.sentences import control_sentences, curve_sentences, findings, screening_sentences
from reasoning_probe.results.naming import significant_on_page
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.record import EffectRecord, TimingRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import break_commands, pluralise, printable, shorten

MOST_DATASETS, MOST_TARGETS, MOST_STEPS = 8, 3, 2
MOST_CONTINUED = 3
"""Lines that a command to run next may take."""
VERBOSE_DATASETS, VERBOSE_TARGETS = 100, 40
_BARS = (16, 8, 4)
"""The widths of a bar, of which a line takes the first that fits."""

Style = Literal["", "good", "bad", "warning", "strong", "faint"]
_Part = Literal[
    "load_s",
    "proof_s",
    "screen_s",
    "baseline_s",
    "control_s",
    "directions_s",
    "describe_s",
    "paths_s",
    "circuits_s",
    "curve_s",
]
_ALWAYS: tuple[_Part, ...] = ("load_s", "proof_s", "baseline_s", "control_s")
"""The parts that are named where they took no time, too."""


class Piece(NamedTuple):
    """A part of a line."""

    text: str
    style: Style = ""


Line = tuple[Piece, ...]


def plain(line: Line) -> str:
    """Return a line's text."""
    return "".join(piece.text for piece in line)


def summary(run: Run, width: int = 80, verbosity: int = 0) -> list[Line]:
    """Return accuracy by dataset, the strongest targets, the mistakes, the sentences, what to run next and the gate.

    *verbosity* is pytest's: -1 (``-q``) leaves out effects, mistakes and times, -2 all but the gate; 1 (``-v``) lists
    more targets, how the mistakes change, those of each dataset by kind, and how the answers were computed.
    """
    if verbosity <= -2:
        return _cut(_gate(run, width), width)
    lines = _accuracies(run, width, VERBOSE_DATASETS if verbosity > 0 else MOST_DATASETS)
    if verbosity >= 0:
        rows = strongest(run, VERBOSE_TARGETS if verbosity > 0 else MOST_TARGETS)
        several = len({group.ablation for group in groups(run)}) > 1
        lines += [_fitting(_target_shapes(row, with_ablation=several), width) for row in rows]
        lines += _mistakes(run, width)
    if verbosity > 0:
        lines += _mistake_changes(run, width)
        lines += _kinds(run, width)
    for sentence, warns in findings(run):
        if warns or verbosity >= 0:
            lines += _wrapped(shorten(sentence, 1000), width, "warning" if warns else "")
    more = [
        *(card_lines(run, VERBOSE_TARGETS) if verbosity > 0 else card_lines(run, MOST_SENTENCES, without_role=False)),
        *screening_sentences(run),
        *race_sentences(run),
        *curve_sentences(run),
        *(sentence.replace("→", "->") for sentence in path_sentences(run)),  # some terminals know ASCII alone
        *circuit_sentences(run),
        *control_sentences(run),
    ]
    for sentence in more if verbosity >= 0 else ():
        lines += _wrapped(shorten(sentence, 1000), width)
    for sentence in setting_sentences(run):
        lines += _wrapped(shorten(sentence, 600), width, "warning")
    if skipped := skipped_sentence(run):
        lines += _wrapped(shorten(skipped, 300), width, "warning")
    if verbosity >= 0:
        lines += _next_steps(run, width, None if verbosity > 0 else MOST_STEPS)
    if verbosity > 0:
        lines += _wrapped(_engine_line(run), width, "faint")
    lines += _wrapped(_store_line(run), width, "faint") if verbosity >= 0 else _wrapped(_trouble(run), width, "warning")
    return _cut([*lines, *_gate(run, width)], width)


def _wrapped(text: str, width: int, style: Style = "", indent: int = 2) -> list[Line]:
    parts = wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)
    return [(Piece(part, style),) for part in parts]


def _cut(lines: Sequence[Line], width: int) -> list[Line]:
    """Return *lines* cut to *width* characters; none begins with what a CI system would obey, wrapped or not."""
    cut_lines = []
    for line in lines:
        room = width
        pieces: list[Piece] = []
        for piece in line:
            text = break_commands(piece.text) if not pieces else piece.text
            pieces.append(Piece(text[:room], piece.style))
            room -= len(pieces[-1].text)
        cut_lines.append(tuple(piece for piece in pieces if piece.text))
    return cut_lines


def _fitting(shapes: Iterator[Line], width: int) -> Line:
    """Return the first of *shapes*, the widest first, that fits into *width*, or the last if none does."""
    line: Line = ()
    for line in shapes:
        if len(plain(line).rstrip()) <= width:
            break
    return line


def _accuracies(run: Run, width: int, most: int) -> list[Line]:
    entries = list(run.summary["datasets"].items())
    names = [shorten(name, 16) for name, _ in entries[:most]]
    pad = max(map(len, names), default=0)
    lines = []
    for name, (_, entry) in zip(names, entries, strict=False):
        low, high = entry["ci95"]
        filled = entry["accuracy"] or 0.0
        counted = f"{entry['correct']:,} of {entry['items']:,}"
        interval = f" ({percent(low)} to {percent(high)})"
        shapes = (
            (
                Piece(f"{name:{pad}}  "),
                Piece(f"{percent(entry['accuracy']):>6}", "strong"),
                Piece("  "),
                Piece("#" * round(bar * filled), "good"),
                Piece("." * (bar - round(bar * filled)) + ("  " if bar else ""), "faint"),
                Piece(f"{counted}{suffix}"),
            )
            for suffix, bar in (*product((interval, ""), _BARS), ("", 0))
        )
        lines.append(_fitting(shapes, width))
        if figures := sampled_figures(entry):
            whole = ", ".join(figure_words(*figure) for figure in figures)
            short = ", ".join(f"{figure} {percent(value['value'])}" for figure, value in figures)
            lines.append(_fitting(((Piece(f"{'':{pad}}  {text}", "faint"),) for text in (whole, short)), width))
    if len(entries) > most:
        lines.append((Piece(f"and {pluralise(len(entries) - most, 'more dataset')}"),))
    return lines


def _target_shapes(row: EffectRecord, *, with_ablation: bool) -> Iterator[Line]:
    where = shorten(row["dataset"], 12) + (f" ({row['ablation']})" if with_ablation else "")
    loses = row["delta"] < 0
    flips = f"{row['flips_to_wrong']} lost, {row['flips_to_right']} won"
    details = (f", {flips}, p {p_value(_page_p(row))}", f", {flips}", "")
    for detail, bar in (*product(details, _BARS), ("", 0)):
        drawn = ("-" if loses else "+") * max(1, round(bar * min(1.0, abs(row["delta"])))) if bar else ""
        yield (
            Piece(f"{shorten(row['target'], 12):12} ", "strong" if significant_on_page(row) else ""),
            Piece(f"{points(row['delta']):>4}{'*' if significant_on_page(row) else ' '} "),
            Piece(f"{drawn:{bar}}  " if bar else "", "bad" if loses else "good"),
            Piece(f"{where}{detail}"),
        )


def _page_p(row: EffectRecord) -> float:
    p = row.get("p_page")
    return p_discrete(row) if p is None else p


def _mistakes(run: Run, width: int) -> list[Line]:
    """Return the baseline's mistakes by category."""
    counts = error_counts(run, ablated=False)
    listed = ", ".join(f"{shorten(category, 20)} {number:,}" for category, number in counts.items())
    return _wrapped(f"mistakes: {listed}", width) if listed else []


def _mistake_changes(run: Run, width: int) -> list[Line]:
    """Return by dataset how the mistakes of the cases with a target off differ from the baseline's."""
    changes = change_sentences(run, MOST_DATASETS, 20)
    return _wrapped(f"mistakes that change most with a target off: {'; '.join(changes)}", width) if changes else []


def _kinds(run: Run, width: int) -> list[Line]:
    """Return the baseline's mistakes of each dataset by kind."""
    lines: list[Line] = []
    for name in list(run.summary["datasets"])[:VERBOSE_DATASETS]:
        rows = [row for row in run.summary["errors"] if row["dataset"] == name and row["target"] == BASELINE]
        rows.sort(key=lambda row: -int(row["count"]))
        listed = ", ".join(
            f"{shorten(row['category'] or 'unclassified', 20)} ({shorten(row['kind'] or '-', 20)}) {row['count']:,}"
            for row in rows[:20]
        )
        lines += _wrapped(f"{shorten(name, 16)}: {listed}", width) if listed else []
    return lines


def _next_steps(run: Run, width: int, most: int | None) -> list[Line]:
    """Return what to run next: a reason with its time, and below it the command, which a shell takes as it stands.

    At most *most* steps, all of them with ``None``. Where the command is too long there are the options to add to this
    run's; where these are too long as well, the step is left to the page.
    """
    lines: list[Line] = []
    for step in next_steps(run)[:most]:
        reason = shorten(f"{step.reason}{f' ({step.time})' if step.time else ''}", width - 7)
        added = f"  the same command{f' with {printable(step.options)}' if step.options else ''}"
        command = _continued(step.command, width) or ([added] if len(added) <= width else [])
        if command:
            lines += [(Piece("next: ", "strong"), Piece(f"{reason}:")), *((Piece(text),) for text in command)]
    return lines


def _continued(command: str, width: int) -> list[str]:
    """Return *command* in lines of which all but the last end in a backslash; empty where it takes too many."""
    lines = [" "]
    for word in map(shlex.quote, shlex.split(command)):
        if len(lines[-1]) + len(word) + 3 > width:  # a blank before the word, and one with the backslash after it
            lines.append("   ")
        lines[-1] += f" {printable(word)}"
    whole = [f"{line} \\" for line in lines[:-1]] + lines[-1:]
    return whole if len(whole) <= MOST_CONTINUED and all(len(line) <= width for line in whole) else []


def _gate(run: Run, width: int) -> list[Line]:
    """Return a line for each of the gate's checks, in which only the verdict is coloured."""
    lines: list[Line] = []
    for text, style in gate_lines(run):
        first, *rest = wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
        mark = first.find(":")
        lines.append((Piece(first[:mark], style), Piece(first[mark:])))
        lines += [(Piece(part),) for part in rest]
    return lines


def gate_lines(run: Run) -> list[tuple[str, Style]]:
    """Return the gate's verdict in a line for each check and note, with its style."""
    gate = run.summary.get("gate") or {"passed": True, "checks": []}
    lines = []
    for check in gate["checks"]:
        word, style = gate_word(check["passed"])
        p = check.get("p_value")
        lines.append(
            (f"gate {word}: {shorten(check['line'], 400)}" + ("" if p is None else f", p {p_value(p)}"), style)
        )
    quiet: Style = "warning" if gate["passed"] is None else ""
    changed = reference_lines(gate)[1:]  # the date alone is no news
    return (
        lines
        + [(f"gate: {shorten(note, 400)}", quiet) for note in [*(gate.get("notes") or ()), *changed]]
        + [(f"gate: {shorten(sentence, 400)}", "") for sentence in worse_sentences(run)]
    )


def gate_word(passed: bool | None) -> tuple[str, Style]:
    """Return the word for a check's verdict, and its style."""
    return ("undecided", "warning") if passed is None else ("passed", "good") if passed else ("FAILED", "bad")


def _trouble(run: Run) -> str:
    """Return the errors of the outcome store and of the work after the sweep, which ended no run."""
    problems = [run.summary["engine"].get(name) for name in ("store", "afterwards")]
    return "; ".join(shorten(str(error), 400) for error in problems if error)


def engine_lines(run: Run) -> list[str]:
    """Return lines on how and where the rows were settled, and how many the outcome store held."""
    return [line for line in (_engine_line(run), _cluster_line(run), _store_line(run)) if line]


def _engine_line(run: Run) -> str:
    """Say how long the sweep took, how its rows were settled, and the most memory that was in use."""
    engine, timing = run.summary["engine"], run.summary["timing"]
    if not engine["rows"]:
        return ""
    singly, verified, decoded = (engine.get(name) or 0 for name in ("settled_singly", "verified", "decoded"))
    settled = f", {singly:,} too close to call in a batch and settled singly"
    peak = engine.get("peak_bytes")
    return (
        f"{_before(timing)}sweep {timing.get('sweep_s') or 0.0:.1f} s"
        f" ({shorten(str(engine.get('path', '')), 20)} path): {verified:,} of"
        f" {engine['rows']:,} rows repeat the baseline's answer, {decoded:,} were decoded"
        f"{settled if singly else ''}{f'; peak memory {peak / 1e9:.1f} GB' if peak else ''}"
    )


def _cluster_line(run: Run) -> str:
    """Say on how many nodes of a cluster the sweep ran, and what went wrong there."""
    engine = run.summary["engine"]
    if not engine.get("replicas"):
        return ""
    lost = f", {pluralise(engine['lost'], 'replica')} lost" if engine.get("lost") else ""
    notes = f"; {shorten(str(engine['notes']), 400)}" if engine.get("notes") else ""
    where = f"{pluralise(engine['replicas'], 'replica')} on {pluralise(engine.get('nodes', 0), 'node')}"
    return f"{where}, {pluralise(engine.get('chunks', 0), 'chunk')}{lost}{notes}"


def _store_line(run: Run) -> str:
    """Say how many outcomes an earlier run had computed, and what is wrong with the outcome store."""
    recalled = run.summary["engine"].get("recalled")
    known = f"{pluralise(recalled, 'outcome')} known from earlier runs" if recalled else ""
    return "; ".join(part for part in (known, _trouble(run)) if part)


def _before(timing: TimingRecord) -> str:
    """Return the seconds of the parts of the work beside the sweep."""
    parts: tuple[_Part, ...] = get_args(_Part)
    return "".join(
        f"{part.removesuffix('_s')} {timing.get(part) or 0.0:.1f} s, "
        for part in parts
        if timing.get(part) or (part in timing and part in _ALWAYS)
    )
