"""The command line ``reasoning-probe``: commands on finished runs, which need no model, and on the outcome store.

The options of ``pytest`` are in ``pytest_plugin/options.py``.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from reasoning_probe.engine.cache.store import FOLDER, CacheError, entries, find_folder, folder_in, prune, size
from reasoning_probe.results.cards.choice import AUTO, parse_describe
from reasoning_probe.results.export import TABLES, ExtraError, csv_file, parquet_file
from reasoning_probe.results.gate_rules import EVERY, MAX_DROP, GateRules, parse_limits, parse_share
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import RUN_FILE, Run, RunError, check_folder, read_run, write_run, write_summary
from reasoning_probe.utils.files import atomic_write_bytes, atomic_write_text, is_stream, make_folder
from reasoning_probe.utils.text import one_line, printable

T = TypeVar("T")

_DESCRIPTION = "Inspect, compare and export finished runs; show and prune the outcome store."

_FORMATS = {"csv": csv_file, "parquet": parquet_file}
_OTHERS = ("inspect", "lm-eval", "eee")
"""The formats of other tools: folders of files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    It is 0, or 1 if the gate did not pass, or 2 if files cannot be read or written.
    """
    try:
        try:
            options = _parser().parse_args(arguments)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="backslashreplace")  # a dataset's name may not fit its encoding
            return int(options.function(options) or 0)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be written is said here, not while Python ends
    except (RunError, CacheError, ExtraError) as error:
        return _complain(str(error))
    except MemoryError:
        return _complain("this run does not fit into the memory: use a machine with more, or a part of the run")
    except OSError as error:
        if error.filename is None and isinstance(error, FileNotFoundError):  # of Path.cwd
            return _complain("the current folder no longer exists: change to another one")
        if error.filename is None:
            _drop_output()
        return _complain(f"cannot write {error.filename or 'the output'}: {error.strerror}")


def _drop_output() -> None:
    """Let what is still to be printed go nowhere: nobody reads it any more, or the disk is full."""
    with suppress(OSError, ValueError):  # ValueError where the output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: str) -> int:
    """Print *error*, which may quote names and files of others, and return the exit status for it."""
    print(f"reasoning-probe: {one_line(error, 2000)}", file=sys.stderr)
    return 2


def _print_path(path: Path) -> None:
    """Print where something was written, unless it was written into a stream: that may be the output itself."""
    if not is_stream(path):
        print(printable(str(path)))


def _path(text: str) -> Path:
    if "\0" in text:
        raise argparse.ArgumentTypeError("no file has a name with a NUL")
    return Path(os.path.expanduser(text))  # a shell leaves the ~ that follows an equals sign


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasoning-probe", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, function: object, help: str, *folders: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        command.set_defaults(function=function)
        for folder in folders:
            command.add_argument(
                folder.lower(), type=_path, metavar=folder, help="folder with run.json and outcomes.jsonl"
            )
        return command

    show = add("show", _show, "print the findings of a run", "DIR")
    compare = add("compare", _compare, "compare run B with the earlier run A, or several runs in their order", "A", "B")
    compare.add_argument("more", type=_path, nargs="*", metavar="MORE", help="later runs: accuracy and heads by run")
    compare.add_argument("--common", action="store_true", help="compare the items that both runs asked")
    compare.add_argument("-o", "--output", type=_path, metavar="FILE", help="write a page (.html) or Markdown (.md)")
    for command, rows in ((show, 10), (compare, 20)):
        command.add_argument("--most", type=int, default=rows, metavar="N", help=f"rows of a table (default: {rows})")
    report = add("report", _report, "write the page of a run again from its files", "DIR")
    report.add_argument("-o", "--output", type=_path, metavar="FILE", help="the page (default: DIR/report.html)")
    report.add_argument(
        "--describe",
        type=_describe,
        metavar="auto|N|TARGETS",
        help="make the cards of these heads anew, also in run.json",
    )
    report.add_argument("--figures", action="store_true", help="write the figures as SVG and PNG files, too")
    merge = add("merge", _merge, "merge shards, or other parts of one sweep, into one run with its page")
    merge.add_argument("folders", type=_path, nargs="+", metavar="DIR", help="folder of a part")
    merge.add_argument("-o", "--output", type=_path, metavar="DIR", required=True, help="folder of the whole")
    _add_export_arguments(add("export", _export, "write a run as a table, or in another tool's format", "DIR"))
    gate = add("gate", _gate, "check a run, or merged shards, against limits; exit status 1 if it does not pass", "DIR")
    gate.add_argument("--min-accuracy", type=_limits, metavar="LIMITS", help="0.9, or arithmetic=0.9,logic=0.5")
    gate.add_argument("--reference", type=_path, metavar="PATH", help="an earlier run over the same items")
    gate.add_argument(
        "--max-drop",
        type=_share,
        default=MAX_DROP,
        metavar="SHARE",
        help="how far the accuracy may fall below it (default: %(default)s)",
    )
    cache = add("cache", _cache, "show the outcome store, or prune it")
    cache.add_argument(
        "folder", type=_path, nargs="?", metavar="DIR", help=f"the store's folder (default: {FOLDER} here)"
    )
    cache.add_argument(
        "--prune", type=_days, metavar="DAYS", help="remove what no run has used for so many days; 0 removes all"
    )
    return parser


def _add_export_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format",
        choices=(*_FORMATS, *_OTHERS),
        required=True,
        help="csv; parquet, which needs reasoning-probe[export]; Inspect's log; lm-evaluation-harness's files; eee, an"
        " Every Eval Ever record",
    )
    command.add_argument(
        "--table", choices=TABLES, default="outcomes", help="csv, parquet: one row per outcome, or per target"
    )
    command.add_argument(
        "--target", default=BASELINE, help="other formats: the target whose answers are exported (default: %(default)s)"
    )
    command.add_argument("--ablation", metavar="NAME", help="the target's ablation, where the run has several")
    command.add_argument(
        "-o", "--output", type=_path, metavar="PATH", help="the file, or folder (default: DIR/TABLE.FORMAT, DIR/FORMAT)"
    )


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('reasoning-probe')}")
        parser.exit()


def _show(options: argparse.Namespace) -> None:
    from reasoning_probe.report.terminal.show import print_run
    from reasoning_probe.report.terminal.tables import console

    print_run(read_run(options.dir), console(), max(0, options.most))


def _compare(options: argparse.Namespace) -> None:
    from reasoning_probe.report.terminal.tables import console
    from reasoning_probe.results.compare import compare

    output: Path | None = options.output
    if output is not None and output.suffix not in (".html", ".md"):
        raise RunError(f"{output} is neither a page nor Markdown: name a file that ends in .html or .md")
    first, second, *more = ((folder, read_run(folder)) for folder in (options.a, options.b, *options.more))
    if more:
        _history([first, second, *more], output)
        return
    comparison = compare(first, second, common=options.common)
    if output is None:
        from reasoning_probe.report.terminal.compare import show_comparison

        show_comparison(comparison, first, second, console(), max(0, options.most))
    elif output.suffix == ".html":
        from reasoning_probe.report.html.comparison import comparison_page

        _write(output, comparison_page(comparison, first, second))
    else:
        from reasoning_probe.report.ci.comparison import comparison_markdown

        _write(output, comparison_markdown(comparison, first, second))


def _history(runs: Sequence[tuple[Path, Run]], output: Path | None) -> None:
    """Show *runs* in their order, or write that to *output*."""
    from reasoning_probe.report.terminal.tables import console
    from reasoning_probe.results.history import history

    view = history(runs)
    if output is None:
        from reasoning_probe.report.terminal.compare import show_history

        show_history(view, console())
    elif output.suffix == ".html":
        from reasoning_probe.report.html.comparison import history_page

        _write(output, history_page(view))
    else:
        from reasoning_probe.report.ci.comparison import history_markdown

        _write(output, history_markdown(view))


def _write(file: Path, text: str) -> None:
    atomic_write_text(file, text)
    _print_path(file)


def _report(options: argparse.Namespace) -> None:
    from reasoning_probe.report.html.page import standalone_page
    from reasoning_probe.results.cards.describe import with_cards

    page: Path = options.output or options.dir / "report.html"
    if options.figures and is_stream(page):
        raise RunError(f"--figures writes beside the page, and {page} is not a file: name one with -o")
    run = read_run(options.dir)
    if options.describe is not None or "heads" not in run.summary:  # earlier versions wrote no cards
        run = with_cards(run, options.describe or AUTO)
    if options.describe is not None:
        write_summary(options.dir, run)
    atomic_write_text(page, standalone_page(run))
    _print_path(page)
    if options.figures:
        from reasoning_probe.report.figures.run_figures import FOLDER, write_figures

        write_figures(page.parent / FOLDER, run)
        _print_path(page.parent / FOLDER)


def _merge(options: argparse.Namespace) -> None:
    from reasoning_probe.data.shards import missing
    from reasoning_probe.report.html.page import standalone_page
    from reasoning_probe.results.merge import merge_runs
    from reasoning_probe.utils.text import join_names, pluralise

    output: Path = options.output
    if output.resolve() in {folder.resolve() for folder in options.folders}:
        raise RunError(f"{output} is one of the parts: name another folder for the whole")
    check_folder(output)
    run = merge_runs({folder: read_run(folder) for folder in options.folders})
    write_run(output, run)
    atomic_write_text(output / "report.html", standalone_page(run))
    if shard := run.summary.get("shard"):
        absent = missing(shard)
        print(f"reasoning-probe: {pluralise(len(absent), 'shard')} missing: {join_names(absent, 12)}", file=sys.stderr)
    _print_path(output / "report.html")


def _export(options: argparse.Namespace) -> None:
    if options.format in _OTHERS:
        _export_files(options)
        return
    file: Path = options.output or options.dir / f"{options.table}.{options.format}"
    rows = read_run(options.dir).rows(options.table)
    atomic_write_bytes(file, _FORMATS[options.format](options.table, rows))
    _print_path(file)


def _export_files(options: argparse.Namespace) -> None:
    """Write a run in another tool's format; its time is that of its files."""
    from datetime import datetime, timezone

    from reasoning_probe.results.interop.every_eval_ever import every_eval_ever_files
    from reasoning_probe.results.interop.inspect_log import inspect_files
    from reasoning_probe.results.interop.lm_eval_files import lm_eval_files
    from reasoning_probe.results.interop.selection import select

    files_of = dict(zip(_OTHERS, (inspect_files, lm_eval_files, every_eval_ever_files), strict=True))
    folder: Path = options.output or options.dir / options.format
    run = read_run(options.dir)
    file = options.dir / RUN_FILE
    try:
        time = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except OSError as error:
        raise RunError(f"cannot read {file}: {error.strerror}; a run's folder holds {RUN_FILE}") from None
    except (ValueError, OverflowError):  # an archive may set any
        raise RunError(f"{file} was changed in a year that no calendar has: touch it") from None
    for name, text in files_of[options.format](select(run, time, options.target, options.ablation)).items():
        file = folder / name
        make_folder(file.parent, options.output or options.dir)
        atomic_write_text(file, text)
        _print_path(file)


def _gate(options: argparse.Namespace) -> int:
    from reasoning_probe.report.terminal.show import STYLES
    from reasoning_probe.report.terminal.summary import gate_lines
    from reasoning_probe.report.terminal.tables import console
    from reasoning_probe.results.gate import evaluate_gate
    from reasoning_probe.results.gate_reference import different_items, read_reference, reference_changes
    from reasoning_probe.utils.text import shorten

    rules = GateRules(options.min_accuracy or {}, options.reference, options.max_drop)
    if not rules.on:
        raise RunError("nothing is asked of the run: give --min-accuracy or --reference")
    run = read_run(options.dir)
    for name in rules.min_accuracy:
        if name not in {EVERY, *run.summary["datasets"]}:
            known = ", ".join(shorten(dataset, 40) for dataset in run.summary["datasets"]) or "none"
            raise RunError(f"{options.dir} has no dataset {name[:40]!r}: it has {known}")
    reference = None if rules.reference is None else read_reference(rules.reference)
    if reference is not None and (difference := different_items(reference, run)):
        raise RunError(f"{rules.reference} was made from other items: {difference}; ask the same ones")
    gate = evaluate_gate(run, rules, reference)
    if rules.reference is not None:
        gate["since"] = reference_changes(rules.reference, run)
    run = replace(run, summary=run.summary | {"gate": gate})
    write_summary(options.dir, run)  # for "show" and "report"
    for line, style in gate_lines(run):
        console().print(line, style=STYLES.get(style))
    return 0 if gate["passed"] else 1


def _limits(text: str) -> dict[str, float]:
    return _parse(parse_limits, text)


def _describe(text: str) -> str:
    return _parse(parse_describe, text)


def _share(text: str) -> float:
    return _parse(parse_share, text)


def _parse(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 on")
    return days


def _cache(options: argparse.Namespace) -> None:
    from datetime import datetime

    from reasoning_probe.utils.text import pluralise, shorten

    folder = find_folder(Path.cwd()) if options.folder is None else folder_in(options.folder)
    if options.prune is not None:
        print(f"removed {pluralise(prune(folder, unused_days=options.prune), 'outcome')}")
    models = entries(folder)
    stored = pluralise(sum(entry.outcomes for entry in models), "outcome")
    print(f"{printable(str(folder))}: {stored}, {size(folder) / 1e6:.1f} MB")
    for entry in models:
        facts = [str(entry.facts.get(name)) for name in ("name", "architecture", "weights", "dtype", "device")]
        used = datetime.fromtimestamp(entry.used).isoformat(" ", "minutes")
        print(f"{entry.outcomes:>9,}  {shorten(' '.join(facts), 90)}, used {used}")
