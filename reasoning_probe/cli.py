"""``reasoning-probe show DIR`` and ``reasoning-probe report DIR``: a finished run again, without its model."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from reasoning_probe.store import RunError, read_run, write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 where a run's files cannot be read or a page written."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a dataset's name may not fit the terminal's encoding
    try:
        if options.command == "show":
            _show(options.folder)
        else:
            _report(options.folder, options.output)
    except RunError as problem:
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
    return parser


def _show(folder: Path) -> None:
    from reasoning_probe.report.terminal import summary_lines
    from reasoning_probe.report.text import one_line
    from reasoning_probe.report.verdict import accuracy_sentence

    run = read_run(folder)
    width = shutil.get_terminal_size().columns
    print("\n".join([one_line(accuracy_sentence(run), width), *summary_lines(run, width)]))


def _report(folder: Path, output: Path | None) -> None:
    from reasoning_probe.report.page import standalone_page

    page = output or folder / "report.html"
    write_text(page, standalone_page(read_run(folder)))
    print(page)
