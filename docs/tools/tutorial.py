"""Run the commands of ``docs/tutorial.md`` on the bundled model and write their outputs and times into it.

    python docs/tools/tutorial.py

A command stands in an indented block and is run in a folder with a copy of ``probes``. A ``text`` block below it holds
what the tutorial shows of its output, and ``<!-- time -->about 20 s<!-- -->`` above it how long it took: the seconds of
the processor, which do not depend on what else the machine does.
``tests/project/test_tutorial.py`` runs the first command and compares its output.
"""

from __future__ import annotations

import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "tutorial.md"
PROBES = TUTORIAL.parents[1] / "probes"
PROGRAMS = {
    "pytest": ["-m", "pytest"],
    "reasoning-probe": ["-c", "from reasoning_probe.cli import main; raise SystemExit(main())"],
}

_COMMAND = re.compile(r"^ {4}((?:pytest|reasoning-probe) .*)$", re.MULTILINE)
_OUTPUT = re.compile(r"(?<=```text\n).*?(?=```)", re.DOTALL)
_TIME = re.compile(r"(?<=<!-- time -->).*?(?=<!-- -->)")
_FLOATING = re.compile(r"\d+(?:\.\d+)? s(?:econds?)?\b|about \d+ (?:s|min)\b")
"""Times, which differ from run to run."""


@dataclass(frozen=True)
class Step:
    """A command of the tutorial with the places of its output and of its time, where the text has them."""

    command: str
    output: tuple[int, int] | None
    time: tuple[int, int] | None


def steps(text: str) -> list[Step]:
    """Return the commands of *text*, each with the output below it and the time above it, up to the next command."""
    commands = [match for match in _COMMAND.finditer(text) if "--model gpt2" not in match[1]]
    found = []
    for index, match in enumerate(commands):
        before = commands[index - 1].end() if index else 0
        after = commands[index + 1].start() if index + 1 < len(commands) else len(text)
        output, spent = _OUTPUT.search(text, match.end(), after), _TIME.search(text, before, match.start())
        found.append(Step(match[1], output.span() if output else None, spent.span() if spent else None))
    return found


def run(command: str, folder: Path) -> tuple[str, float]:
    """Return what *command* prints in *folder*, and how many seconds of the processor it takes."""
    program, *arguments = shlex.split(command)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, *PROGRAMS[program], *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def excerpt(command: str, output: str) -> str:
    """Return what the tutorial shows of *output*: the tests with ``-v``, the summary of a sweep, or the sentences."""
    lines = output.splitlines()
    if command.startswith("reasoning-probe"):
        shown = [line for line in lines if line.startswith("- ")]
    elif " -v" in command:
        shown = [line for line in lines if "::" in line]
    else:
        first = next(place for place, line in enumerate(lines) if re.fullmatch("=+ reasoning-probe =+", line))
        shown = [line for line in lines[first + 1 :] if not line.startswith(("=", "page: ", "files: "))]
    return "".join(f"{line}\n" for line in shown)


def masked(text: str) -> str:
    """Return *text* without its times.

    >>> masked("next: Ask more items (about 40 s): 3 passed in 1.25s, 2.5 s in all")
    'next: Ask more items (TIME): 3 passed in 1.25s, TIME in all'
    """
    return _FLOATING.sub("TIME", text)


def rewritten(text: str, folder: Path) -> Iterator[str]:
    """Yield *text* with the output and the time of one command more, each run in *folder* after the one before."""
    for number in range(len(steps(text))):
        step = steps(text)[number]
        output, seconds = run(step.command, folder)
        if step.output:
            start, end = step.output
            text = text[:start] + excerpt(step.command, output) + text[end:]
        if step.time:  # it stands before the output
            start, end = step.time
            text = text[:start] + _about(seconds) + text[end:]
        print(f"{seconds:6.1f} s  {step.command}", flush=True)
        yield text


def _about(seconds: float) -> str:
    return f"about {max(10, round(seconds, -1)):.0f} s" if seconds < 100 else f"about {round(seconds / 60)} min"


@contextmanager
def project() -> Iterator[Path]:
    """Yield a folder with a copy of the probes, as in a clone of the repository."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(PROBES, folder / PROBES.name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly\n", encoding="utf-8")
        yield folder


def main() -> None:
    """Rewrite the tutorial."""
    with project() as folder:
        for text in rewritten(TUTORIAL.read_text(encoding="utf-8"), folder):
            TUTORIAL.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
