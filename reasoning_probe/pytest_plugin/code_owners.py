"""Who owns a probe: its argument ``owner=``, else what the repository's ``CODEOWNERS`` says of its file."""

from __future__ import annotations

import re
from pathlib import Path

from reasoning_probe.utils.regular_files import read_bytes

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""Where GitHub looks for the file; it reads the first that there is."""

MOST_BYTES = 3_000_000
"""How long the file may be; GitHub ignores a longer one."""


MOST_LINE = 10_000
"""Characters of a line; the time that reading one takes grows with their square."""

MOST_STARS = 8
"""Stars of a line; the time that matching one takes grows with the path's length to their power."""

_REPEATED = re.compile(r"(\*\*/)+")


def owners_of(file: Path, rootdir: Path) -> list[str]:
    """Return the owners of *file* by the ``CODEOWNERS`` of its repository; empty where there is none.

    The repository is the nearest folder above the file that git knows, else *rootdir*.
    """
    root = next((folder for folder in file.parents if (folder / ".git").exists()), rootdir)
    return parse_owners(_code_owners(root), file.relative_to(root).as_posix()) if file.is_relative_to(root) else []


def parse_owners(text: str, path: str) -> list[str]:
    r"""Return whom the content *text* of a ``CODEOWNERS`` names for *path*, which is relative to the repository.

    The last pattern that matches counts, and a pattern without owners takes them away; a line that cannot be read is
    passed over, as GitHub does, and so is one that is too long or has too many stars.

    >>> parse_owners("* @everyone  # by default\nprobes/ @octo-org/probes qa@example.org", "probes/test_logic.py")
    ['@octo-org/probes', 'qa@example.org']
    """
    from codeowners import CodeOwners

    for whole in reversed(text.splitlines()):
        line = _REPEATED.sub("**/", whole)
        if len(line) > MOST_LINE or line.count("*") > MOST_STARS:
            continue
        try:
            owners, number, *_ = CodeOwners(re.split(r"\s#", line)[0]).matching_line(path)
        except (ValueError, re.error):
            continue
        if number is not None:
            return [name for _, name in owners]
    return []


def _code_owners(root: Path) -> str:
    """Return the content of the ``CODEOWNERS`` of the repository *root*; empty where there is none that can be read."""
    for place in PLACES:
        try:
            content = read_bytes(root / place, MOST_BYTES)
        except OSError:
            continue
        return "" if len(content) > MOST_BYTES else content.decode("utf-8", "replace")
    return ""
