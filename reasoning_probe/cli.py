"""``reasoning-probe show | report DIR``: a finished run again, without its model; ``cache``: the outcome store."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from reasoning_probe.cache import FOLDER, CacheError, entries, find_folder, prune, size
from reasoning_probe.store import RunError, read_run, write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 where a run's files cannot be read or a page written."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a dataset's name may not fit the terminal's encoding
    try:
        if options.command == "show":
            _show(options.folder)
        elif options.command == "cache":
            _cache(options.folder, options.prune)
        else:
            _report(options.folder, options.output)
    except (RunError, CacheError) as problem:
        print(f"reasoning-probe: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        print(f"reasoning-probe: cannot write {problem.filename}: {problem.strerror}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasoning-probe", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print what a run found")
    report = commands.add_parser("report", help="write the page of a run again from its files")
    for command in (show, report):
        command.add_argument("folder", type=Path, metavar="DIR", help="folder with run.json and outcomes.jsonl")
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: DIR/report.html)")
    cache = commands.add_parser("cache", help="show the outcome store, or prune it")
    cache.add_argument("folder", type=Path, nargs="?", metavar="DIR", help=f"its folder (default: {FOLDER} here)")
    cache.add_argument(
        "--prune", type=_days, metavar="DAYS", help="remove what no run has used for so many days; 0 removes all"
    )
    return parser


def _show(folder: Path) -> None:
    from reasoning_probe.report.terminal import summary_lines
    from reasoning_probe.report.text import one_line
    from reasoning_probe.report.verdict import accuracy_sentence

    run = read_run(folder)
    width = shutil.get_terminal_size().columns
    print("\n".join([one_line(accuracy_sentence(run), width), *summary_lines(run, width)]))


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < float("inf"):
        raise ValueError(text)
    return days


def _cache(folder: Path | None, days: float | None) -> None:
    from datetime import datetime

    from reasoning_probe.report.text import count, one_line

    folder = folder or find_folder(Path.cwd())
    if days is not None:
        print(f"removed {count(prune(folder, unused_days=days), 'outcome')}")
    held = entries(folder)
    print(f"{folder}: {count(sum(entry.outcomes for entry in held), 'outcome')}, {size(folder) / 1e6:.1f} MB")
    for entry in held:
        facts = [str(entry.facts.get(name)) for name in ("name", "architecture", "weights", "dtype", "device")]
        used = datetime.fromtimestamp(entry.used).isoformat(" ", "minutes")
        print(f"{entry.outcomes:>9,}  {one_line(' '.join(facts), 90)}, used {used}")


def _report(folder: Path, output: Path | None) -> None:
    from reasoning_probe.report.page import standalone_page

    page = output or folder / "report.html"
    write_text(page, standalone_page(read_run(folder)))
    print(page)
