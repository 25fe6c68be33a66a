"""Wording: other people's words made fit for a message of ours, which is one line that a terminal may print."""

from __future__ import annotations


def printable(text: object, most: int = 600) -> str:
    r"""Return *text* on one line of at most *most* characters, without what a terminal would obey.

    Libraries quote the files that they cannot read, and a file may hold anything.

    >>> printable("no such\ntype: \x1b[2J")
    'no such type: ?[2J'
    """
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= most else line[: most - 3] + "..."
